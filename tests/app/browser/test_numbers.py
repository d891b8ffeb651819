"""What is painted and written on the page is what the Python API gives, cell by cell."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import vitscope as vs
from tests.app.browser.app import App, pixels_of
from tests.app.browser.conftest import FIRST
from tests.app.browser.expected import colours, cover, probabilities
from vitscope.rendering.typography import numeral


@pytest.fixture
def app(one_tab: App) -> App:
    """These tests only look, so one tab serves them all."""
    return one_tab


def test_the_library_says_what_the_model_answers(
    app: App, vit: vs.Vit, picture_files: list[Path], sample: Any
) -> None:
    app.open()
    assert app.page.get_by_test_id("counted").inner_text() == "12 of 12 shown"
    for file in picture_files:
        answer = probabilities(vit, file)
        name = vit.class_names[int(answer.argmax())]
        cell = app.page.get_by_role("option", name=f"{file.name}, {name} ")
        assert f"{100 * answer.max():.0f} %" in cell.inner_text()


def test_thumbnails_are_the_pictures(app: App, sample: Any) -> None:
    app.open()
    source = app.pictures.first.locator("img").get_attribute("src")
    assert source.startswith("api/pictures/"), "relative, so that it works behind any base path"
    size = app.pictures.first.locator("img").evaluate("image => [image.naturalWidth, image.naturalHeight]")
    assert 0 < max(size) <= 96


@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("daam", {}),
        ("gradcam", {}),
        ("dart", {}),
        ("rollout", {"start_block": 2}),
        ("gmar", {"norm": "l2"}),
        ("saliency", {}),
    ],
)
def test_a_linked_map_is_the_map_of_python(
    app: App,
    vit: vs.Vit,
    picture_files: list[Path],
    ids: dict[str, str],
    method: str,
    options: dict[str, Any],
) -> None:
    app.open(screen="explain", picture=ids[FIRST], method=method, options=json.dumps(options), ground="plain")
    expected = vs.explain(vit, [picture_files[0]], method, **options)
    signed = vs.methods.get_method(method).signed
    np.testing.assert_array_equal(app.map_pixels()[..., :3], colours(expected.maps[0], signed))
    low, _, high = app.page.get_by_test_id("colourbar").locator("span").all_inner_texts()[-3:]
    least, greatest = float(expected.maps[0].min()), float(expected.maps[0].max())
    assert float(low.replace("−", "-")) == pytest.approx(least, rel=0.01, abs=1e-6)
    assert float(high.replace("−", "-")) == pytest.approx(greatest, rel=0.01, abs=1e-6)
    limit = app.page.get_by_test_id("limit").all_inner_texts()
    assert limit == ([f"Full colour at ±{numeral(max(-least, greatest))}."] if signed else [])


@pytest.mark.parametrize("curve", ["sqrt", "rank"])
def test_curves_are_those_of_every_other_drawing(
    app: App, vit: vs.Vit, picture_files: list[Path], ids: dict[str, str], curve: str
) -> None:
    app.open(screen="explain", picture=ids[FIRST], method="daam", ground="plain")
    app.page.get_by_role("radio", name=curve).check()
    app.settled()
    expected = vs.explain(vit, [picture_files[0]], "daam").maps[0]
    np.testing.assert_allclose(app.map_pixels()[..., :3].astype(int), colours(expected, False, curve), atol=2)


def test_on_the_photograph_the_cover_grows_with_the_value(
    app: App, vit: vs.Vit, picture_files: list[Path], ids: dict[str, str]
) -> None:
    app.open(screen="explain", picture=ids[FIRST], method="dart", block=3)
    expected = vs.explain(vit, [picture_files[0]], "dart")
    np.testing.assert_array_equal(app.map_pixels()[..., 3], cover(expected.flow[0, 3], signed=True))
    strip = app.page.get_by_role("listbox", name="Blocks")
    for block in range(6):
        thumb = strip.get_by_role("option", name=f"block {block}", exact=True).locator("canvas")
        np.testing.assert_array_equal(
            pixels_of(thumb)[..., 3], cover(expected.flow[0, block], signed=True), err_msg=f"block {block}"
        )


def test_one_scale_for_all_blocks_when_asked(
    app: App, vit: vs.Vit, picture_files: list[Path], ids: dict[str, str]
) -> None:
    app.open(screen="explain", picture=ids[FIRST], method="daam", ground="plain", scale="global", block=1)
    flow = vs.explain(vit, [picture_files[0]], "daam").flow[0]
    together = colours(flow.reshape(-1, 12), False).reshape(6, 12, 12, 3)
    np.testing.assert_array_equal(app.map_pixels()[..., :3], together[1])


def test_an_option_is_a_control_and_changes_the_map(
    app: App, vit: vs.Vit, picture_files: list[Path], ids: dict[str, str]
) -> None:
    app.open(screen="explain", picture=ids[FIRST], method="gmar", ground="plain")
    app.page.get_by_text("Options", exact=True).click()
    app.page.get_by_role("combobox", name="norm").select_option("l2")
    app.settled()
    expected = vs.explain(vit, [picture_files[0]], "gmar", norm="l2")
    np.testing.assert_array_equal(app.map_pixels()[..., :3], colours(expected.maps[0], False))


def test_what_does_not_apply_is_greyed_with_its_reason(app: App, vit: vs.Vit, ids: dict[str, str]) -> None:
    app.open(screen="explain", picture=ids[FIRST])
    menu = app.page.get_by_role("combobox", name="Method")
    for info in vs.methods():
        option = menu.locator(f"option[value='{info.name}']")
        reason = info.why_not(vit.anatomy)
        assert option.is_disabled() == (reason is not None), info.name
        if reason is not None:
            assert reason in option.inner_text()


def test_the_matrix_is_that_of_the_head(
    app: App, vit: vs.Vit, picture_files: list[Path], ids: dict[str, str]
) -> None:
    app.open(screen="explain", picture=ids[FIRST], block=2, head="2.3", drawer=1)
    matrix = vit.trace([picture_files[0]], gradient=False).sites[2].attention()[0, 3].numpy()
    unit = matrix.max(1, keepdims=True) / 255
    sent = (np.rint(matrix / unit) * unit).astype(np.float32)  # as many levels as a view needs, for each row
    shown = pixels_of(app.page.get_by_test_id("matrix"))[..., :3].astype(int)
    assert shown.shape == (145, 145, 3)
    np.testing.assert_allclose(shown, colours(sent, False, "sqrt"), atol=4)


def test_bars_of_heads_are_their_importance(
    app: App, vit: vs.Vit, picture_files: list[Path], ids: dict[str, str]
) -> None:
    app.open(screen="explain", picture=ids[FIRST], block=4)
    group = app.page.get_by_role("group", name="Heads of block 4")
    words = group.locator(".importance").evaluate_all("bars => bars.map(bar => bar.title)")
    expected = vs.heads.importance(vit, [picture_files[0]], exact=False)["first_order"][0, 4]
    assert len(words) == len(expected) == 4
    for said, value in zip(words, expected, strict=True):
        assert float(said.rpartition(" ")[2]) == pytest.approx(float(value), rel=2e-3, abs=1e-6)
