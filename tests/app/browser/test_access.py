"""For everyone: keyboard alone, axe without findings, 390 pixels, reduced motion, light and dark."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.app.browser.app import App, mistakes_in
from tests.app.browser.conftest import FIRST

SCREENS: dict[str, dict[str, Any]] = {
    "library": {},
    "explain": {"screen": "explain"},
    "attention of a patch": {"screen": "explain", "query": 40, "block": 2, "head": "2.1"},
    "drawer": {"screen": "explain", "block": 3, "drawer": 1},
}


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_but_a_mistake(one_tab: App, ids: dict[str, str], theme: str) -> None:
    page = one_tab.open(theme=theme).page
    for screen, view in SCREENS.items():
        one_tab.open(picture=ids[FIRST], theme=theme, **view)
        found = one_tab.axe()
        assert (screen, mistakes_in(found)) == (screen, []) and len(found["passes"]) > 20
    page.evaluate(
        "document.querySelector('main').insertAdjacentHTML('beforeend', '<img id=mistake src=\"icon.svg\">')"
    )
    found = page.evaluate("axe.run('#mistake')")
    page.evaluate("document.querySelector('#mistake').remove()")
    assert "image-alt" in [each["id"] for each in found["violations"]]


def test_everything_with_the_keyboard_alone(app: App) -> None:
    app.open()
    press = app.page.keyboard.press

    def focused() -> str:
        return app.page.evaluate(
            "document.activeElement.getAttribute('aria-label') ?? document.activeElement.innerText"
        )

    for _ in range(80):  # to the pictures by Tab
        if focused() == "Pictures":
            break
        press("Tab")
    assert focused() == "Pictures"
    press("ArrowRight")
    app.settled()
    press("Enter")
    app.map.wait_for()
    app.settled()
    assert app.view["screen"] == "explain"
    whole = app.map_pixels()
    press("Home")
    app.settled()
    assert app.view["block"] == "0" and not np.array_equal(app.map_pixels(), whole)
    press("ArrowRight")
    app.settled()
    assert app.view["block"] == "1"
    press("2")  # a head alone
    app.settled()
    assert app.view["head"] == "1.2"
    press("x")  # and off
    app.settled()
    assert app.view["off"] == "1.2"
    press("Escape")
    app.settled()
    for _ in range(80):  # to the map by Tab
        if focused() == "Map":
            break
        press("Tab")
    assert focused() == "Map"
    press("ArrowDown")
    press("ArrowDown")
    press("Enter")
    app.settled()
    assert app.view["query"].isdecimal()
    press("a")
    app.page.get_by_test_id("matrix").wait_for()
    press("a")
    assert app.page.get_by_test_id("matrix").count() == 0
    press("?")
    dialog = app.page.get_by_role("dialog", name="Keyboard")
    dialog.wait_for()
    assert dialog.evaluate("dialog => dialog.contains(document.activeElement)")
    press("Escape")
    dialog.wait_for(state="hidden")
    press("s")
    app.page.get_by_role("menu", name="Export").wait_for()
    press("Escape")
    press("l")
    app.settled()
    assert app.pictures.count() == 12


def test_what_has_the_focus_can_be_seen(app: App, ids: dict[str, str]) -> None:
    app.open(screen="explain", picture=ids[FIRST])
    unseen = []
    for _ in range(40):
        app.page.keyboard.press("Tab")
        seen = app.page.evaluate(
            """() => {
                const at = document.activeElement;
                const marks = [at, at.nextElementSibling, at.parentElement].filter(Boolean).map(getComputedStyle);
                const box = at.getBoundingClientRect();
                const drawn = marks.some(style => style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) > 0
                    || style.boxShadow !== 'none');
                return at === document.body || drawn && box.width > 0 ? null : at.outerHTML.slice(0, 120);
            }"""
        )
        if seen:
            unseen.append(seen)
    assert unseen == []


@pytest.mark.parametrize("screen", ["library", "explain"])
def test_390_pixels_are_enough(new_app: Callable[..., App], ids: dict[str, str], screen: str) -> None:
    app = new_app(viewport={"width": 390, "height": 844}, has_touch=True)
    app.open(picture=ids[FIRST], screen=screen)
    wide = app.page.evaluate(
        """() => [document.documentElement, ...document.querySelectorAll('main, main > *, header')]
            .filter(each => each.scrollWidth > each.clientWidth + 1 && getComputedStyle(each).overflowX !== 'auto')
            .map(each => `${each.tagName}.${each.className} ${each.scrollWidth} > ${each.clientWidth}`)"""
    )
    assert wide == []
    if screen == "explain":
        box = app.map.bounding_box()
        assert box["x"] >= 0 and box["x"] + box["width"] <= 390 and box["width"] > 250
        app.go_to_block(5)
        assert app.view["block"] == "5"
        app.page.get_by_role("combobox", name="Method").select_option("daam")
        app.settled()
        assert app.view["method"] == "daam"


def test_reduced_motion_is_honoured(new_app: Callable[..., App], ids: dict[str, str]) -> None:
    app = new_app(reduced_motion="reduce")
    app.open(screen="explain", picture=ids[FIRST])
    moving = app.page.evaluate(
        """() => [...document.querySelectorAll('*')].filter(each => {
            const style = getComputedStyle(each);
            const times = `${style.transitionDuration},${style.animationDuration}`.split(',');
            return times.some(time => parseFloat(time) > 0.01);
        }).map(each => each.outerHTML.slice(0, 80))"""
    )
    assert moving == []
    assert app.page.evaluate("document.getAnimations().length") == 0
    app.button("Play").click()  # a film is played when it is asked for, and only then
    last = app.page.get_by_role("option", name="block 5", exact=True)
    last.and_(app.page.locator("[aria-selected=true]")).wait_for()


@pytest.mark.parametrize(("scheme", "dark"), [("light", False), ("dark", True)])
def test_the_theme_follows_the_system_until_one_is_chosen(
    new_app: Callable[..., App], scheme: str, dark: bool
) -> None:
    app = new_app(color_scheme=scheme)
    app.open()

    def is_dark() -> bool:
        """Whether the page is painted dark, by a pixel of its empty lower edge."""
        with Image.open(io.BytesIO(app.page.screenshot())) as shot:
            return sum(shot.convert("RGB").getpixel((shot.width // 2, shot.height - 3))) < 3 * 128

    assert is_dark() == dark
    app.open(theme="light" if dark else "dark")
    assert is_dark() != dark
