"""The Heads screen: painted as it should be with a GPU and without, by keyboard, and for everyone."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

import vitscope as vs
from tests.app.browser.app import App
from tests.app.browser.heads_screen import REST, Heads, lasso
from tests.app.browser.serving import Served
from tests.app.browser.test_access import AXE, RULES


def test_points_are_painted_and_grey_where_they_are_not_selected(heads: Heads) -> None:
    def counts() -> tuple[int, int]:
        pixels = heads.pixels("pattern-points")
        drawn = pixels[..., 3] > 0
        grey = (pixels[..., :3] == REST).all(-1) & drawn
        return int(drawn.sum() - grey.sum()), int(grey.sum())

    assert heads.page.locator("[data-mode=WebGL]").count() == 2
    coloured, grey = counts()
    assert coloured > 500 and grey == 0
    heads.cell(0, 3).click()
    heads.app.settled()
    fewer, grey = counts()
    assert 0 < fewer < coloured / 4 and grey > coloured / 2
    heads.page.get_by_label("Colour of the maps").select_option("block")
    heads.app.settled()
    pixels = heads.pixels("pattern-points")
    seen = {tuple(colour) for colour in pixels[pixels[..., 3] > 0][:, :3].tolist()}
    assert seen == {REST, (0x00, 0x72, 0xB2)}, "block 0 has the first colour"


def test_the_walk_decodes_where_no_point_is(heads: Heads) -> None:
    box = heads.page.get_by_test_id("pattern-points").bounding_box()
    heads.page.mouse.move(box["x"] + 8, box["y"] + box["height"] - 8)
    heads.page.mouse.move(box["x"] + 10, box["y"] + box["height"] - 6)
    heads.page.get_by_test_id("walk").wait_for()
    assert "decoded" in heads.page.get_by_test_id("walk").inner_text()


@pytest.mark.parametrize("how", ["off", "lost"])
def test_without_webgl_the_cpu_draws_and_says_so(
    new_app: Callable[..., App], headed_served: Served, headed: vs.Study, how: str
) -> None:
    app = new_app()
    if how == "off":
        app.page.add_init_script(
            "const own = HTMLCanvasElement.prototype.getContext;"
            "HTMLCanvasElement.prototype.getContext = function (kind, ...rest) {"
            "  return kind === 'webgl2' ? null : own.call(this, kind, ...rest); };"
        )
    app.open(headed_served.url, screen="heads", theme="light")
    heads = Heads(app, headed)
    if how == "lost":
        for canvas in ("pattern-points", "picture-points"):
            heads.page.get_by_test_id(canvas).evaluate(
                "canvas => canvas.getContext('webgl2').getExtension('WEBGL_lose_context').loseContext()"
            )
    heads.page.locator("[data-mode=CPU]").nth(1).wait_for()
    words = "WebGL is not there" if how == "off" else "WebGL was lost"
    assert heads.page.get_by_text(f"{words}: drawn by the CPU").count() == 2
    pixels = heads.pixels("pattern-points")
    assert (pixels[..., 3] > 0).sum() > 500
    lasso(heads, "pattern-points", 0.4)
    assert 0 < heads.counted()[2] < 288


def test_the_screen_by_keyboard(heads: Heads) -> None:
    press = heads.page.keyboard.press
    heads.cell(0, 0).focus()
    for key in ("ArrowDown", "ArrowDown", "ArrowRight"):
        press(key)
    press("Enter")
    heads.app.settled()
    assert heads.selected == {(2, 1)} and json.loads(heads.app.view["heads"])["pinned"] == "2.1"
    press("ArrowRight")
    press("Shift+Enter")
    heads.app.settled()
    assert heads.selected == {(2, 1), (2, 2)}


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_here(app: App, headed_served: Served, headed: vs.Study, theme: str) -> None:
    for view in (
        {
            "pinned": "0.3",
            "second": "first_order",
            "brushes": [{"op": "and", "kind": "heads", "heads": ["0.3"]}],
        },
        {"pinned": "0.3", "detail": "queries", "importance": "list", "strength": "trend", "pictures": "list"},
        {"pinned": "0.3", "detail": "matrix", "importance": "agreement"},
        {"pinned": "0.3", "detail": "offsets", "importance": "scatter", "second": "first_order"},
    ):
        app.open(headed_served.url, screen="heads", theme=theme, heads=json.dumps(view))
        app.page.evaluate(AXE.read_text())
        found = app.page.evaluate(
            "rules => axe.run(document, { runOnly: { type: 'tag', values: rules } })", RULES
        )
        problems = [
            f"{each['id']}: {node['target']} {node['failureSummary']}"
            for each in found["violations"]
            for node in each["nodes"]
        ]
        assert problems == [], view
