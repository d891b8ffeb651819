"""Models whose heads are hard to show, and a study that is still made: shown, or greyed with the reason."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import vitscope as vs
from tests.app.browser.app import App
from tests.app.browser.heads_screen import METRIC, Heads, lasso
from tests.app.heads.conftest import drawn
from tests.app.heads.shapes import SIZE
from vitscope.app.model.opening import StudiedOpening
from vitscope.app.serving import Background
from vitscope.app.settings import Settings
from vitscope.studies import ImportanceChoice, PatternsChoice, Sizes

PICTURES = 4
PREPROCESS = {"size": SIZE, "mean": 0.5, "std": 0.5}
PATTERNS = PatternsChoice(
    per_head=4, k=3, coder="pca", repeats=0, display="pca",
    autoencoder=vs.heads.AutoencoderOptions(epochs=1, width=1, latent=3),
)  # fmt: skip
EVERYTHING = {"importance": {}, "strength": {}, "patterns": PATTERNS}
ANALYSES: dict[str, dict[str, Any]] = {
    "many": {**EVERYTHING, "importance": ImportanceChoice(exact=False)},
    "unequal": EVERYTHING,
    "towers": EVERYTHING,
    "class_attention": EVERYTHING,
}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return drawn(tmp_path_factory.mktemp("drawn"), PICTURES)


@pytest.fixture(scope="module")
def studied(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], vs.Study]:
    """A finished study of a model of ``tests.app.heads.shapes``, made once."""
    made: dict[str, vs.Study] = {}

    def of(shape: str) -> vs.Study:
        if shape not in made:
            made[shape] = vs.Study.create(
                tmp_path_factory.mktemp(shape) / shape,
                model=f"tests.app.heads.shapes:{shape}",
                images=pictures,
                analyses=ANALYSES[shape],
                arrays=("features",),
                preprocess=None if shape == "class_attention" else PREPROCESS,
            )
            assert made[shape].run().whole
        return made[shape]

    return of


@pytest.fixture
def open_heads(
    studied: Callable[[str], vs.Study], new_app: Callable[..., App]
) -> Iterator[Callable[..., Heads]]:
    """``open_heads("unequal")``: the screen over such a study; with ``model`` what needs the model is on."""
    servers: list[Background] = []

    def open_(shape: str, model: bool = False, viewport: tuple[int, int] = (1440, 900), **view: Any) -> Heads:
        study = studied(shape)
        settings = (
            Settings(study=str(study.place), opening=StudiedOpening(str(study.place)))
            if model
            else Settings(study=str(study.place), why_no_model="none is needed")
        )
        servers.append(Background(settings))
        server = servers[-1].__enter__()
        app = new_app(viewport={"width": viewport[0], "height": viewport[1]})
        app.open(server.address, screen="heads", theme="light", **view)
        return Heads(app, study)

    yield open_
    for server in servers:
        server.__exit__(None, None, None)


def cells(heads: Heads) -> dict[str, float]:
    """What the matrix shows of every head."""
    found = heads.page.locator("[role=gridcell][data-head]").evaluate_all(
        "cells => cells.map(cell => [cell.dataset.head, Number(cell.dataset.value)])"
    )
    return dict(found)


def test_24_blocks_of_16_heads(open_heads: Callable[..., Heads]) -> None:
    heads = open_heads("many")
    expected = heads.table["first_order"]
    shown = cells(heads)
    assert len(shown) == 384 and heads.counted() == [384, PICTURES, 384 * PICTURES]
    for (block, head), value in expected.items():
        assert shown[f"{block}.{head}"] == pytest.approx(value, rel=1e-5)
    heads.cell(23, 15).scroll_into_view_if_needed()
    heads.cell(23, 15).click()
    heads.app.settled()
    assert heads.selected == {(23, 15)} and heads.counted() == [1, PICTURES, PICTURES]
    assert json.loads(heads.app.view["heads"])["pinned"] == "23.15"
    assert heads.page.locator("button[data-head='23.15'] svg").count() == 1, "its profile is there, too"
    heads.tab("Head mixes")
    assert heads.page.locator("[data-mix]").count() == 384
    heads.tab("Trend")
    assert heads.panel("C Attention strength").locator("circle").count() == 384
    assert heads.app.sideways <= 0


def test_heads_that_differ_in_number(open_heads: Callable[..., Heads]) -> None:
    heads = open_heads("unequal", model=True)
    there = {"0.0", "0.1", "0.2", "0.3", "1.0", "2.0", "2.1"}
    assert set(cells(heads)) == there and heads.counted() == [7, PICTURES, 7 * PICTURES]
    assert heads.page.get_by_role("gridcell", name="no such head").count() == 5
    profiles = heads.page.get_by_role("group", name="Attention by hops of every head").locator("[data-head]")
    assert {one.get_attribute("data-head") for one in profiles.all()} == there
    lasso(heads, "pattern-points", 0.999)
    assert {f"{block}.{head}" for block, head in heads.selected} <= there
    heads.app.button("Select all").click()
    heads.cell(2, 1).click()
    heads.app.settled()
    assert heads.selected == {(2, 1)}
    # The arrow keys stop where no head is.
    heads.cell(0, 1).focus()
    heads.page.keyboard.press("ArrowDown")
    heads.page.keyboard.press("Enter")
    assert heads.selected == {(0, 1)}
    heads.app.button("Select all").click()
    heads.tab("Cumulative")
    heads.app.button("Remove heads").click()
    heads.page.get_by_test_id("removal-words").wait_for(timeout=90_000)
    assert "of 7 heads can go" in heads.page.get_by_test_id("removal-words").inner_text()


def test_two_chains_of_attention(open_heads: Callable[..., Heads]) -> None:
    heads = open_heads("towers", model=True)
    shown = cells(heads)
    assert len(shown) == 16
    for (block, head), value in heads.table[METRIC].items():
        assert shown[f"{block}.{head}"] == pytest.approx(value, rel=1e-5)
    assert "2 separate chains of attention" in heads.page.get_by_test_id("chains").inner_text()


def test_blocks_in_which_the_class_token_alone_looks(open_heads: Callable[..., Heads]) -> None:
    heads = open_heads("class_attention")
    assert len(cells(heads)) == 16 and heads.study.strength().blocks == (0, 1)
    greyed = heads.page.get_by_role("group", name="Attention by hops of every head").locator(
        "[data-head]:disabled"
    )
    assert {one.get_attribute("data-head") for one in greyed.all()} == {
        f"{block}.{head}" for block in (2, 3) for head in range(4)
    }
    assert "no attention between patches" in greyed.first.get_attribute("title")
    heads.cell(3, 0).click()
    heads.app.settled()
    heads.tab("Patterns")
    assert "no attention between patches" in heads.panel("Head 3.0").inner_text()
    heads.tab("Distance")
    assert "no attention between patches" in heads.panel("Head 3.0").inner_text()
    codes = heads.study.array("patterns/codes")[:]
    assert np.isnan(codes[:, 2:]).all(), "or the model is another one than this test means"
    assert "0 of 32 maps selected" in heads.panel("D Attention patterns").inner_text()


def test_a_telephone(open_heads: Callable[..., Heads]) -> None:
    heads = open_heads("many", viewport=(390, 844))
    assert heads.app.sideways <= 0
    heads.cell(0, 0).click()
    heads.app.settled()
    assert heads.selected == {(0, 0)}
    for words in ("List", "Two metrics", "Cumulative", "Agreement", "Matrix", "Trend", "Head mixes"):
        heads.page.locator("section header button", has_text=words).first.click()
        heads.app.settled()
        assert heads.app.sideways <= 0, words


@pytest.mark.parametrize("shape", ["unequal", "class_attention"])
def test_axe_finds_nothing_with_hard_shapes(open_heads: Callable[..., Heads], shape: str) -> None:
    heads = open_heads(shape, heads=json.dumps({"pinned": "2.0", "importance": "cumulative"}))
    for words in (None, "Matrix", "Distance", "Head mixes"):
        if words:
            heads.page.locator("section header button", has_text=words).first.click()
            heads.app.settled()
        assert heads.app.mistakes() == []


def test_a_study_grows_on_screen(pictures: Path, new_app: Callable[..., App], tmp_path: Path) -> None:
    study = vs.Study.create(
        tmp_path / "growing",
        model="tests.app.heads.shapes:unequal",
        images=pictures,
        analyses={"importance": {}, "strength": {}},
        arrays=("features",),
        preprocess=PREPROCESS,
        sizes=Sizes(shard_size=2, batch_size=2),
    )
    with Background(Settings(study=str(study.place), why_no_model="none is needed")) as server:
        app = new_app().open(server.address, screen="heads", theme="light")
        assert "No picture of growing is computed yet" in app.page.locator("main").inner_text()
        study.run(limit=1)
        app.page.get_by_text("growing: 2 of 4 pictures computed").wait_for()
        heads = Heads(app, study)
        app.settled()
        assert heads.counted() == [7, 2, 14]
        assert "when all pictures are computed" in heads.panel("C Attention strength").inner_text()
        heads.cell(0, 1).click()
        half = cells(heads)["0.1"]
        study.run()
        app.page.get_by_text("growing:").wait_for(state="detached")
        app.settled()
        heads.page.locator("button[data-head='2.1'] svg").wait_for()
        assert heads.counted() == [1, 4, 4] and heads.selected == {(0, 1)}, "the brush stays"
        whole = study.heads().to_pandas().set_index(["block", "head"])[METRIC]
        assert cells(heads)["0.1"] == pytest.approx(whole[(0, 1)], rel=1e-5) != half
