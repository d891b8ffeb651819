"""The Heads screen: painted as it should be with a GPU and without, by keyboard, and for everyone."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import pytest

import vitscope as vs
from tests.app.browser.app import App
from tests.app.browser.heads_screen import REST, Heads, lasso
from tests.app.browser.serving import Served


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


CONTEXT = "[data-drawn-by=WebGL]"
LIVE = """
window.contexts = [];
const own = HTMLCanvasElement.prototype.getContext;
HTMLCanvasElement.prototype.getContext = function (kind, ...rest) {
    const made = own.call(this, kind, ...rest);
    if (made && kind.startsWith('webgl') && !window.contexts.includes(made)) {
        window.contexts.push(made);
        window.most = Math.max(window.most ?? 0, window.contexts.filter(one => !one.isContextLost()).length);
    }
    return made;
};
"""


def test_webgl_that_comes_back_draws_again(heads: Heads) -> None:
    """Lost and given back, as by a driver that starts anew; each canvas by itself, twice."""
    page = heads.page
    before = heads.pixels("pattern-points")
    panel = heads.panel("D Attention patterns")
    canvas = panel.locator(CONTEXT)
    canvas.evaluate("one => { window.loss = one.getContext('webgl2').getExtension('WEBGL_lose_context'); }")
    for _ in range(2):
        page.evaluate("window.loss.loseContext()")
        panel.get_by_text("WebGL was lost: drawn by the CPU").wait_for()
        assert page.locator("[data-mode=WebGL]").count() == 1, "the other map has its own context"
        by_cpu = heads.pixels("pattern-points")
        assert abs(int((by_cpu[..., 3] > 0).sum()) - int((before[..., 3] > 0).sum())) < 0.1 * before.size / 4
        assert (by_cpu[..., 3] > 0).sum() > 500
        heads.cell(0, 3).click()  # what is chosen meanwhile is drawn when it is back
        page.evaluate("window.loss.restoreContext()")
        page.locator("[data-mode=WebGL]").nth(1).wait_for()
        assert panel.get_by_text("WebGL was lost").count() == 0
        assert page.get_by_test_id("pattern-points").get_attribute("data-drawn-by") == "WebGL"
        after = heads.pixels("pattern-points")
        grey = (after[..., :3] == REST).all(-1) & (after[..., 3] > 0)
        assert grey.sum() > 500, "the other heads' points are grey"
        heads.app.button("Select all").click()
        heads.app.settled()
        np.testing.assert_array_equal(heads.pixels("pattern-points"), before)


def test_two_webgl_contexts_at_most(
    new_app: Callable[..., App], headed_served: Served, headed: vs.Study
) -> None:
    app = new_app()
    app.page.add_init_script(LIVE)
    app.open(headed_served.url, screen="heads", theme="light")
    heads = Heads(app, headed)
    for words in ("Head mixes", "All maps", "By selection", "By features") * 3:
        heads.tab(words)
    for screen in ("Library", "Heads") * 3:
        app.screen(screen)
    assert app.page.evaluate("window.contexts.length") > 4, "each time anew"
    assert app.page.evaluate("window.most") == 2
    assert app.page.locator("[data-mode=WebGL]").count() == 2


def test_thumbnails_stand_at_the_points_that_are_selected(heads: Heads) -> None:
    stamps = heads.page.locator("img.stamp")
    contents = heads.study.table("pictures")["content"].tolist()

    def shown() -> list[int]:
        """The rows of the pictures that have a thumbnail; each is the picture of its row."""
        found = []
        for each in stamps.all():
            found.append(int(each.get_attribute("data-point")))
            assert contents[found[-1]] in each.get_attribute("src")
        return found

    whole = shown()
    assert 3 <= len(whole) <= 12
    assert f"{len(whole)} of 12 thumbnails shown" in heads.page.get_by_test_id("stamped").inner_text()
    boxes = [each.bounding_box() for each in stamps.all()]
    for at, one in enumerate(boxes):
        for other in boxes[:at]:
            apart = max(abs(one["x"] - other["x"]), abs(one["y"] - other["y"]))
            assert apart > one["width"] - 1.5, "none lies over another"
    lasso(heads, "picture-points", 0.5)
    chosen = heads.counted()[1]
    assert 0 < len(shown()) <= chosen < 12
    tiles = json.loads(heads.app.view["heads"])["brushes"]
    assert [brush["kind"] for brush in tiles] == ["pictures"]
    # Pointing at one shows it larger, with what the model says.
    box = stamps.first.bounding_box()
    heads.page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    heads.page.get_by_test_id("peek").wait_for()
    assert contents[shown()[0]] in heads.page.get_by_test_id("peek").locator("img").get_attribute("src")
    heads.page.mouse.move(2, 2)
    heads.page.get_by_role("checkbox", name="thumbnails").uncheck()
    heads.app.settled()
    assert stamps.count() == 0 and json.loads(heads.app.view["heads"])["thumbnails"] is False


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
        for canvas in heads.page.locator(CONTEXT).all():
            canvas.evaluate(
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
        assert app.mistakes() == [], view
