"""The Heads screen as a person uses it, over a small study with every analysis of heads."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

import vitscope as vs
from tests.app.browser.app import App
from tests.app.browser.serving import Served, serving
from vitscope.app import tensors
from vitscope.studies import PatternsChoice

HEADS = [(block, head) for block in range(6) for head in range(4)]
METRIC = "js_divergence"
REST = (208, 212, 217)
_READ = """canvas => {
    const copy = document.createElement('canvas');
    [copy.width, copy.height] = [canvas.width, canvas.height];
    const context = copy.getContext('2d');
    context.drawImage(canvas, 0, 0);
    const pixels = context.getImageData(0, 0, copy.width, copy.height).data;
    let text = '';
    for (let at = 0; at < pixels.length; at += 8192)
        text += String.fromCharCode(...pixels.subarray(at, at + 8192));
    return { width: copy.width, height: copy.height, pixels: btoa(text) };
}"""


def studied(place: Path, images: Path, model: str, patterns: dict[str, Any], **more: Any) -> vs.Study:
    """A finished study with every analysis of heads. patterns: options beside those that keep it quick."""
    quick = PatternsChoice(
        coder="pca",
        repeats=0,
        display="pca",
        autoencoder=vs.heads.AutoencoderOptions(epochs=1, width=1, latent=6),
        **patterns,
    )
    study = vs.Study.create(
        place,
        model=model,
        images=str(images),
        analyses={"importance": {}, "strength": {}, "patterns": quick},
        arrays=("features",),
        **more,
    )
    assert study.run().whole
    return study


@pytest.fixture(scope="session")
def headed(picture_files: list[Path], tmp_path_factory: pytest.TempPathFactory) -> vs.Study:
    """A finished study with every analysis of heads."""
    place = tmp_path_factory.mktemp("headed") / "shapes"
    return studied(place, picture_files[0].parent, "bundled/shapes", {"per_head": 12, "k": 5})


@pytest.fixture(scope="session")
def headed_served(headed: vs.Study) -> Iterator[Served]:
    """Its server."""
    with serving(str(headed.place)) as running:
        yield running


@pytest.fixture(scope="session")
def deit_headed(assets: Path, tmp_path_factory: pytest.TempPathFactory) -> vs.Study:
    """The same of the real DeiT-Tiny on three sample photographs."""
    photographs = tmp_path_factory.mktemp("photographs")
    header, *rows = (assets / "images" / "sample" / "labels.csv").read_text().splitlines()
    rows = sorted(rows)[:3]
    for row in rows:
        name = row.partition(",")[0]
        (photographs / name).symlink_to(assets / "images" / "sample" / name)
    (photographs / "labels.csv").write_text("\n".join([header, *rows]) + "\n")
    weights = str(assets / "models" / "deit_tiny_patch16_224.safetensors")
    place = tmp_path_factory.mktemp("deit") / "study"
    return studied(place, photographs, "timm/deit_tiny_patch16_224", {"k": 8}, weights=weights)


@pytest.fixture(scope="session")
def deit_served(deit_headed: vs.Study) -> Iterator[Served]:
    """Its server."""
    with serving(str(deit_headed.place)) as running:
        yield running


class Heads:
    """The Heads screen in a tab."""

    def __init__(self, app: App, study: vs.Study) -> None:
        self.app, self.page, self.study = app, app.page, study

    @cached_property
    def table(self) -> pd.DataFrame:
        """What every head matters, by block and head; of a finished study."""
        return self.study.heads().to_pandas().set_index(["block", "head"])

    def panel(self, name: str) -> Any:
        return self.page.get_by_role("region", name=name)

    def cell(self, block: int, head: int) -> Any:
        return self.page.locator(f"[role=gridcell][data-head='{block}.{head}']")

    def tab(self, words: str) -> None:
        self.app.button(words).click()
        self.app.settled()

    @property
    def selected(self) -> set[tuple[int, int]]:
        """The heads that the matrix shows as selected."""
        names = self.page.locator("[role=gridcell][aria-selected=true]").evaluate_all(
            "cells => cells.map(cell => cell.dataset.head)"
        )
        return {(int(name.split(".")[0]), int(name.split(".")[1])) for name in names}

    def counted(self) -> list[int]:
        """Heads, pictures and points that are selected."""
        found = self.page.get_by_test_id("selection").locator("b").all_inner_texts()
        return [int(text.replace(",", "")) for text in found]

    def chosen_maps(self) -> list[int]:
        """How many selected maps each pattern has."""
        tiles = self.page.locator("[data-cluster]")
        return [int(each) for each in tiles.evaluate_all("tiles => tiles.map(tile => tile.dataset.chosen)")]

    def pixels(self, testid: str) -> NDArray[np.uint8]:
        """What is painted on a canvas of points, (height, width, 4)."""
        self.page.wait_for_timeout(100)
        read = self.page.get_by_test_id(testid).evaluate(_READ)
        flat = np.frombuffer(base64.b64decode(read["pixels"]), np.uint8)
        return flat.reshape(read["height"], read["width"], 4)


def first_five_have_their_patterns(heads: Heads, patterns: int, counted: list[int]) -> None:
    """The five heads that matter most, chosen by a click, have the patterns that the study's array says (T8)."""
    heads.tab("List")
    heads.app.button("Select the first 5").click()
    heads.app.settled()
    top = heads.table.sort_values(METRIC, ascending=False).index.tolist()[:5]
    clusters = heads.study.array("patterns/clusters")[:].astype(int)
    mine = np.concatenate([clusters[:, block, head] for block, head in top])
    assert heads.chosen_maps() == np.bincount(mine, minlength=patterns).tolist()
    assert heads.counted() == counted


def codes_inside_trigger_their_pictures(heads: Heads, served: Served) -> None:
    """A lasso around codes chooses their heads and orders pictures by how many of them lie inside (T9)."""
    with urlopen(f"{served.url}api/heads/codes") as answer:
        places = tensors.decode(answer.read())[0]["places"]
    lasso(heads, "pattern-points", 0.4)
    inside = left_of(places, 0.4)
    assert heads.counted()[2] == inside.sum() > 0
    per_head = inside.sum(0)
    assert heads.selected == {(int(b), int(h)) for b, h in np.argwhere(per_head > 0)}
    heads.tab("By selection")
    counts = inside.reshape(len(inside), -1).sum(1)
    tiles = heads.page.locator("[data-picture][data-count]")
    shown = tiles.evaluate_all("all => all.map(one => Number(one.dataset.count))")
    assert shown == sorted(counts[counts > 0].tolist(), reverse=True)
    first = tiles.first.get_attribute("data-picture")
    assert first == heads.study.table("pictures")["content"][int(np.argmax(counts))]


@pytest.fixture
def heads(app: App, headed_served: Served, headed: vs.Study) -> Heads:
    """The screen, opened."""
    app.open(headed_served.url, screen="heads", theme="light")
    return Heads(app, headed)


def lasso(heads: Heads, testid: str, to: float) -> None:
    """Draw around the left part of a map of points."""
    box = heads.page.get_by_test_id(testid).bounding_box()
    corners = [(0.0, 0.0), (to, 0.0), (to, 0.999), (0.0, 0.999)]
    places = [(box["x"] + across * box["width"], box["y"] + down * box["height"]) for across, down in corners]
    heads.page.mouse.move(*places[0])
    heads.page.mouse.down()
    for place in places[1:]:
        heads.page.mouse.move(*place)
    heads.page.mouse.up()
    heads.app.settled()


def left_of(places: NDArray[Any], share: float) -> NDArray[np.bool_]:
    """Which points lie in the left part of the frame, that shows all of them with a little air around."""
    x = places[..., 0]
    low, high = np.nanmin(x), np.nanmax(x)
    return np.asarray((x - (low + high) / 2) / (1.08 * (high - low)) + 0.5 < share)
