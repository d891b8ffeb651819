"""One view, one address: reload, Back, two tabs, deep links, undo; behind a base path and a token."""

from __future__ import annotations

import contextlib
import http.server
import threading
from collections.abc import Callable
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import HTTPRedirectHandler, Request, build_opener, urlopen

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


class Proxy(http.server.BaseHTTPRequestHandler):
    """A small reverse proxy: what lies below its prefix is handed to the app, without the prefix or with it."""

    prefix, behind, keeps = "/lens", "", False

    def do_GET(self) -> None:
        """Hand one question on, and the answer back."""
        if not self.path.startswith(f"{self.prefix}/"):
            self.send_error(404)
            return
        path = self.path if self.keeps else self.path.removeprefix(self.prefix)
        asked = Request(self.behind + path, headers=dict(self.headers.items()))
        try:
            answer = build_opener(Unfollowed).open(asked)
        except HTTPError as error:
            answer = error
        with answer:
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                if name.lower() not in ("transfer-encoding", "connection"):
                    self.send_header(name, value)
            self.end_headers()
            with contextlib.suppress(OSError):  # the page is closed
                while part := answer.read1(65_536):
                    self.wfile.write(part)
                    self.wfile.flush()

    def log_message(self, *_: object) -> None:
        """Nothing is printed."""


class Unfollowed(HTTPRedirectHandler):
    """Redirects are for the browser."""

    def redirect_request(self, *_: object) -> None:  # type: ignore[override]
        return None


def test_behind_a_proxy_with_a_prefix_and_a_token(study: Path, app: App) -> None:
    token = "a-long-secret-of-mine"
    with serving(study, "--base-path", "/lens", "--token", token, "--port", "0") as served:
        behind, _, secret = served.url.partition("/lens/?token=")
        assert secret == token
        for keeps in (False, True):
            handler = type("Handler", (Proxy,), {"behind": behind, "keeps": keeps})
            with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as proxy:
                thread = threading.Thread(target=proxy.serve_forever, daemon=True)
                thread.start()
                address = f"http://127.0.0.1:{proxy.server_address[1]}/lens/"
                for closed in ("", "api/about", "api/pictures"):
                    with pytest.raises(HTTPError, match="401"):
                        urlopen(address + closed)
                app.page.context.clear_cookies()
                app.open(f"{address}?token={token}")
                assert "secret" not in app.page.url, "the token does not stay in the address"
                app.explain(FIRST)
                assert app.page.url.startswith(address) and app.map_pixels().any()
                [cookie] = app.page.context.cookies()
                assert cookie["httpOnly"] and cookie["sameSite"] == "Strict" and cookie["path"] == "/lens/"
                app.page.reload()
                app.ready()
                assert app.map.is_visible()
                app.page.goto("about:blank")
                proxy.shutdown()
