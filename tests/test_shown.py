"""What a person looks at is the same in Python, a notebook, the shell and on a page: colours, numbers, words."""

from __future__ import annotations

import dataclasses
import re

import numpy as np
import pytest
import torch
from PIL import Image

import vitscope as vs
from vitscope.errors import MethodError, PictureError, RenderingError
from vitscope.rendering.colour import lookup_table
from vitscope.reports import words
from vitscope.reports.explanations.records import Card

SIGNED, PLAIN = lookup_table("blue-red"), lookup_table("viridis")


@pytest.fixture(scope="module")
def vit() -> vs.Vit:
    return vs.open_model("bundled/shapes")


@pytest.fixture(scope="module")
def pictures() -> list[Image.Image]:
    return vs.worlds.demo_pictures(2, seed=11).images()


@pytest.fixture(scope="module")
def found(vit: vs.Vit, pictures: list[Image.Image]) -> dict[str, vs.Explanation]:
    return vs.explain(vit, pictures, ["gmar", "daam", "dart"])


def has_colour(picture: Image.Image, colour: np.ndarray) -> bool:
    """Whether the colour is on the picture."""
    return bool((np.asarray(picture.convert("RGB")) == colour).all(-1).any())


def test_a_signed_map_without_negative_cells_keeps_its_colours(found: dict[str, vs.Explanation]) -> None:
    """Its largest cell is the red end and its zero pale, never viridis; the other way round for an unsigned one."""
    above = dataclasses.replace(found["dart"], maps=found["dart"].maps.abs(), flow=found["dart"].flow.abs())
    below = dataclasses.replace(found["gmar"], maps=-found["gmar"].maps)
    for drawn in (
        above.overlay(style="map"), above.strip(style="map"), above.frames(style="map")[-1],
        vs.reports.sheet(above, style="map"),
    ):  # fmt: skip
        assert has_colour(drawn, SIGNED[255]) and not has_colour(drawn, PLAIN[255])
    for drawn in (below.overlay(style="map"), vs.reports.sheet(below, style="map")):
        assert has_colour(drawn, PLAIN[255]) and not has_colour(drawn, SIGNED[0])
    page = above.to_html()
    assert page.count('class="layer signed"') == 2 * (1 + 1 + 6) and 'class="layer"' not in page
    assert page.count('class="heads"') == 0


def test_the_gallery_of_a_leaderboard_has_the_colours_of_the_registry(
    vit: vs.Vit, pictures: list[Image.Image], monkeypatch: pytest.MonkeyPatch
) -> None:
    import vitscope.reports.leaderboard.page as page

    board = vs.evaluate(vit, pictures, methods=["dart"], metrics=["srg"], controls=())
    board.maps = {place: np.abs(values) for place, values in board.maps.items()}
    scalings = []
    monkeypatch.setattr(
        page, "overlay", lambda *_, scaling: scalings.append(scaling) or Image.new("RGB", (2, 2))
    )
    board.to_html()
    assert scalings and set(scalings) == {"signed"}


def test_blocks_are_counted_from_0_on_strips_frames_and_pages(
    found: dict[str, vs.Explanation], vit: vs.Vit, pictures: list[Image.Image]
) -> None:
    assert words.step_names("block", 3) == ["block 0", "block 1", "block 2"]
    assert words.step_places("block", 3) == ["block 0 of 0–2", "block 1 of 0–2", "block 2 of 0–2"]
    assert words.head_name(3, 0) == "3.0"
    page = vs.reports.page(found)
    names = re.findall(r'class="block-name">(.*?)<', page)
    assert names == [f"block {block}" for block in range(6)] * 4
    assert page.count("block 5 of 0–5</output>") == 4
    # A rollout that starts at block 2 has a flow that starts there, too.
    later = vs.explain(vit, pictures[:1], "rollout", start_block=2)
    assert words.flow_steps(later) == ("block", 4, 2)
    assert words.step_places(*words.flow_steps(later))[0] == "block 2 of 2–5"


def test_what_is_not_there_is_refused_in_one_line(found: dict[str, vs.Explanation]) -> None:
    with pytest.raises(PictureError, match="picture from 0 to 1, got 99"):
        found["gmar"].overlay(99)
    with pytest.raises(RenderingError, match="index as a whole number"):
        found["gmar"].overlay("x")
    with pytest.raises(RenderingError, match="opacity as a finite number"):
        found["gmar"].overlay(opacity="x")
    with pytest.raises(RenderingError, match="size of 1, 2 or 4"):
        vs.reports.Looks(size=3)
    with pytest.raises(MethodError, match="has no flow"):
        dataclasses.replace(found["gmar"], flow=None).strip()
    with pytest.raises(PictureError, match="holds no pictures"):
        dataclasses.replace(found["gmar"], pictures=None).overlay()
    with pytest.raises(PictureError, match="explain all methods at once"):
        vs.reports.sheet([found["gmar"], found["dart"][0]])
    with pytest.raises(RenderingError, match="expected 2 labels"):
        vs.reports.page(found, labels=["one"])


def test_results_show_themselves_in_a_notebook_in_a_few_kilobytes(
    vit: vs.Vit, pictures: list[Image.Image], found: dict[str, vs.Explanation]
) -> None:
    table = vs.heads.head_scores(vit, pictures)
    board = vs.evaluate(vit, pictures, methods=["gmar"], metrics=["srg"], controls=("random",))
    orders = {"gmar_norm": table.order("gmar_norm", most_important_first=False)}
    shown = {
        "gmar": found["gmar"]._repr_html_(),
        "random": board._repr_html_(),
        "block.head": table._repr_html_(),
        "Spearman": vs.heads.agree(table, ["gmar_norm", "first_order"], rounds=2)._repr_html_(),
        "expected hops": vs.heads.strength(vit, pictures)._repr_html_(),
        "whole head": vs.heads.partial_pruning(vit, pictures, 3, 0)._repr_html_(),
        "order": vs.heads.cumulative_pruning(vit, pictures, orders, steps=2)._repr_html_(),
    }
    for word, text in shown.items():
        assert word in text and "data:image/png" in text, word
        assert word == "gmar" or len(text) < 16_000, (word, len(text))
    assert "<img" not in dataclasses.replace(found["gmar"], pictures=None)._repr_html_()


def test_a_flow_that_adds_up_is_what_the_registry_says() -> None:
    assert {info.name for info in vs.methods() if info.accumulates} == {
        "daam", "daam-self", "dart", "dart-removal", "beta-dart", "fullgrad-plus", "libra-fullgrad", "attcat", "agcam",
    }  # fmt: skip
    assert not words.accumulates("maps from elsewhere") and not words.is_signed("maps from elsewhere")
    assert words.is_signed("dart:kappa=1") and not words.is_signed("gmar:norm=l1")


@pytest.mark.parametrize(
    "method",
    ["daam", "dart", "dart-removal", "beta-dart", "fullgrad-plus", "libra-fullgrad", "attcat", "agcam"],
)
def test_steps_of_a_flow_that_adds_up_end_in_the_map(
    method: str, vit: vs.Vit, pictures: list[Image.Image]
) -> None:
    made = vs.explain(vit, pictures[:1], method)
    torch.testing.assert_close(made.flow[:, -1], made.maps)


def test_a_difference_names_both_classes(vit: vs.Vit, pictures: list[Image.Image]) -> None:
    one = vs.explain(vit, pictures[:1], "gae", target="difference:star,heart")
    assert words.explained(one) == "star rather than heart"
    prediction = vs.explain(vit, pictures[:1], "gae")
    assert words.explained(dataclasses.replace(prediction, target="difference:top1,top2")) == (
        f"{words.explained(prediction)} rather than the most likely other"
    )


def test_the_class_that_is_marked_is_the_one_explained_and_not_a_part_of_its_name() -> None:
    card = Card("p", Image.new("RGB", (8, 8)), [("cat", 0.6), ("tabby cat", 0.4)], target="tabby cat")
    page = vs.reports.Report("R", [card]).html()
    assert re.findall(r'<li class="marked"><span class="name">(.*?)</span>', page) == ["tabby cat"]
