"""One view, one address: reload, Back, two tabs, deep links, undo; behind a base path and a token."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

import numpy as np
import pytest

from tests.app.browser.app import App
from tests.app.browser.conftest import FIRST
from tests.app.browser.serving import serving

SECOND = "01-crescent.png"


def test_reload_shows_the_same(app: App) -> None:
    app.open().explain(FIRST)
    app.choose_method("daam").go_to_block(2)
    app.click_cell(3, 3)
    view, pixels, shown = app.view, app.map_pixels(), app.probabilities()
    app.page.reload()
    app.ready()
    assert app.view == view and app.probabilities() == shown
    np.testing.assert_array_equal(app.map_pixels(), pixels)


def test_back_and_forward_go_through_the_views(app: App) -> None:
    app.open()
    app.page.wait_for_timeout(950)  # quick changes of one kind are one step
    app.explain(FIRST)
    first = app.map_pixels()
    app.page.wait_for_timeout(950)
    app.choose_method("rollout")
    second = app.map_pixels()
    assert not np.array_equal(first, second)
    app.page.go_back()
    app.settled()
    np.testing.assert_array_equal(app.map_pixels(), first)
    app.page.go_back()
    app.settled()
    assert app.pictures.count() == 12, "the library again"
    app.page.go_forward()
    app.page.go_forward()
    app.settled()
    np.testing.assert_array_equal(app.map_pixels(), second)


def test_undo_and_redo(app: App) -> None:
    app.open().explain(FIRST)
    app.choose_method("daam")
    app.button("Undo").click()
    app.settled()
    assert app.page.get_by_role("combobox", name="Method").input_value() == "dart"
    app.button("Redo").click()
    app.settled()
    assert app.page.get_by_role("combobox", name="Method").input_value() == "daam"


def test_two_tabs_do_not_disturb_each_other(app: App, new_app: Callable[..., App]) -> None:
    other = new_app()
    app.open().explain(FIRST)
    other.open().explain(SECOND)
    app.choose_method("daam")
    other.choose_method("rollout")
    assert app.view["method"] == "daam" and other.view["method"] == "rollout"
    assert app.view["picture"] != other.view["picture"]
    mine = app.map_pixels()
    other.go_to_block(1)
    np.testing.assert_array_equal(app.map_pixels(), mine)


def test_a_link_of_another_version_opens_with_what_is_understood(app: App, ids: dict[str, str]) -> None:
    app.open(
        screen="explain", picture=ids[FIRST], method="no-such-method", block="999", curve="loud", later="1"
    )
    assert app.map.is_visible()
    assert app.page.get_by_role("combobox", name="Method").input_value() == "dart"


def test_a_link_to_a_picture_that_is_gone_says_so(app: App) -> None:
    app.watch.expected.append("404")
    app.open(screen="explain", picture="0" * 32)
    assert app.alert.first.inner_text()
    app.screen("Library")
    assert app.pictures.count() == 12


def test_behind_a_base_path_and_a_token(study: Path, app: App) -> None:
    with serving(study, "--base-path", "/lens", "--token", "a-long-secret-of-mine", "--port", "0") as served:
        address, _, secret = served.url.partition("?token=")
        assert address.endswith("/lens/") and secret == "a-long-secret-of-mine"
        for closed in ("", "api/about", "api/pictures"):
            with pytest.raises(HTTPError, match="401"):
                urlopen(address + closed)
        app.open(served.url)
        assert "secret" not in app.page.url, "the token does not stay in the address"
        app.explain(FIRST)
        assert app.page.url.startswith(address) and app.map_pixels().any()
        [cookie] = app.page.context.cookies()
        assert cookie["httpOnly"] and cookie["sameSite"] == "Strict"
        app.page.reload()
        app.ready()
        assert app.map.is_visible()
