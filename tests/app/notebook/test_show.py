"""``study.show()``: inside a page behind a proxy, a link elsewhere, and nothing left when it is stopped."""

from __future__ import annotations

import importlib.util
import json
import multiprocessing
import re
import socket
import sys
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest

import vitscope as vs
from tests.app.browser.app import App
from tests.app.browser.expected import colours
from tests.app.browsing import Client
from tests.app.notebook.conftest import BASE, Hub
from vitscope.app.notebook.proxies import proxy_path
from vitscope.errors import MissingExtraError, OutputError
from vitscope.studies import StudyError
from vitscope.studies.shown_study import ShownStudy

PROXY = f"{BASE}/proxy/{{port}}/"


def models() -> int:
    """How many processes of models this one has."""
    return sum(each.name == "vitscope model" for each in multiprocessing.active_children())


def port_of(shown: ShownStudy) -> int:
    port = urlsplit(shown.url).port
    assert port is not None
    return port


def is_open(port: int) -> bool:
    with socket.socket() as asking:
        return asking.connect_ex(("127.0.0.1", port)) == 0


def test_without_a_proxy_it_is_a_link_and_stopped_nothing_is_left(study: vs.Study) -> None:
    before = models()
    shown = study.show()
    try:
        assert shown.path is None and shown.running and models() == before + 1
        assert str(shown) == f"few is shown at {shown.url}" and shown.url in repr(shown)
        text = shown._repr_html_()
        assert f'href="{shown.url}"' in text and "<iframe" not in text
        client = Client(shown.url)
        about = client.get("api/about")
        assert about.json["study"]["name"] == "few" and about.json["can_compute"]
        assert "frame-ancestors 'none'" in about.headers["content-security-policy"]
        assert client.ask("GET", "/api/about", Host="stranger.example").status == 403
        id = client.get("api/pictures").json["columns"]["id"][0]
        assert client.get(f"api/pictures/{id}/map", method="rollout").status == 200, "the model computes"
    finally:
        shown.stop()
    assert not shown.running and not is_open(port_of(shown)) and models() == before
    shown.stop()
    assert "stopped" in repr(shown) and "no longer shown" in shown._repr_html_() and "no longer" in str(shown)


def test_behind_a_proxy_it_stands_in_the_page_of_the_notebook(
    study: vs.Study, hub: str, browser: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with study.show(proxy=PROXY, height=700) as shown:
        port = port_of(shown)
        cell = shown._repr_html_()
        assert (
            re.search(rf'<iframe src="{BASE}/proxy/{port}/\?token=[\w-]+"', cell) and 'height="700"' in cell
        )
        monkeypatch.setattr(Hub, "cell", cell)
        context = browser.new_context(viewport={"width": 1300, "height": 900})
        page = context.new_page()
        page.set_default_timeout(15_000)
        page.goto(f"{hub}{BASE}/cell")
        frame = page.frame_locator("iframe")
        frame.get_by_role("listbox", name="Pictures").get_by_role("option").nth(2).wait_for()
        inner = next(each for each in page.frames if f"/proxy/{port}/" in each.url)
        assert "token" not in inner.url, "it went into a cookie"
        ids = inner.evaluate(
            "fetch('api/pictures').then(answer => answer.json()).then(told => told.columns.id)"
        )
        inner.evaluate(f"location.hash = 'v=1&screen=explain&ground=plain&method=daam&picture={ids[1]}'")
        frame.get_by_test_id("map").wait_for()
        app = App(inner, "")  # reads the canvas
        expected = colours(study.array("maps/daam")[1], signed=False)
        for _ in range(100):
            if np.array_equal(app.map_pixels()[..., :3], expected):
                break
            page.wait_for_timeout(50)
        np.testing.assert_array_equal(app.map_pixels()[..., :3], expected)
        context.close()


def test_behind_a_proxy_any_name_is_answered_but_nobody_without_the_token(study: vs.Study) -> None:
    with study.show(proxy=PROXY) as shown:
        client, token = Client(shown.url), shown.path.rpartition("=")[2]  # type: ignore[union-attr]
        known = {"Host": "hub.example.org", "Authorization": f"Bearer {token}"}
        assert client.ask("GET", "/api/about", Host="hub.example.org").status == 401
        assert client.ask("GET", "/api/about", **{**known, "Authorization": "Bearer wrong"}).status == 401
        answer = client.ask("GET", "/api/about", **known)
        assert answer.status == 200
        assert "frame-ancestors 'self'" in answer.headers["content-security-policy"]
        assert answer.headers["x-frame-options"] == "SAMEORIGIN"
        foreign = {**known, "Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}
        assert client.ask("GET", "/api/about", **foreign).status == 403
        let_in = client.ask("GET", f"{shown.path}&x=1", Host="hub.example.org")
        assert let_in.status == 303 and f"Path={BASE}/proxy/{port_of(shown)}/" in let_in.headers["set-cookie"]


def test_a_model_that_only_its_maker_has_shows_what_is_kept(elsewhere: vs.Study) -> None:
    before = models()
    with elsewhere.show() as shown:
        client = Client(shown.url)
        about = client.get("api/about").json
        assert not about["can_compute"] and "only its maker has" in about["why_not"] and models() == before
        assert about["model"]["blocks"] == 6, "its facts are known"
        id = client.get("api/pictures").json["columns"]["id"][0]
        arrays, _ = client.get(f"api/pictures/{id}/map", method="daam").arrays
        np.testing.assert_array_equal(arrays["map"], elsewhere.array("maps/daam")[0])


def test_two_studies_are_shown_beside_each_other(study: vs.Study, elsewhere: vs.Study) -> None:
    with study.show(beside=elsewhere) as shown:
        about = Client(shown.url).get("api/about").json
        assert about["beside"]["study"] == "own"
        assert Client(shown.url).get("beside/api/about").json["study"]["pictures"] == 1


@pytest.mark.parametrize(
    ("given", "error", "said"),
    [
        ({"proxy": "/proxy/7860/"}, OutputError, r"with \{port\} in it"),
        ({"proxy": "//evil.example/{port}/"}, OutputError, r"expected proxy as a path"),
        ({"height": 5}, StudyError, "height"),
        ({"beside": "a-study"}, StudyError, "beside"),
    ],
)
def test_what_cannot_be_shown_is_one_line_and_starts_nothing(
    study: vs.Study, given: dict[str, Any], error: type[Exception], said: str
) -> None:
    before = models()
    with pytest.raises(error, match=said) as refused:
        study.show(**given)
    assert "\n" not in str(refused.value) and models() == before


def test_the_same_study_is_not_shown_beside_itself(study: vs.Study) -> None:
    with pytest.raises(StudyError, match="the same study; name another one"):
        study.show(beside=vs.Study.open(study.place))


def test_without_the_packages_of_the_app_the_line_says_so(
    study: vs.Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    for name in [name for name in sys.modules if name.startswith("vitscope.app.")]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(MissingExtraError, match="uvicorn"):
        study.show()


def test_the_proxy_of_the_notebook_is_found_by_what_its_server_tells_the_kernel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = importlib.util.find_spec
    there = {"jupyter_server_proxy", "jupyter_core"}
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *more: name if name in there else find(name, *more)
    )
    paths = ModuleType("jupyter_core.paths")
    paths.jupyter_runtime_dir = lambda: str(tmp_path)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "jupyter_core", ModuleType("jupyter_core"))
    monkeypatch.setitem(sys.modules, "jupyter_core.paths", paths)
    (tmp_path / "jpserver-41.json").write_text(json.dumps({"base_url": "/", "port": 8888}))
    (tmp_path / "jpserver-42.json").write_text(json.dumps({"base_url": "/lab/of/ada/", "port": 8888}))
    (tmp_path / "jpserver-43.json").write_text("half wri")
    assert proxy_path({}) is None
    assert proxy_path({"JPY_PARENT_PID": "41"}) == "/proxy/{port}/"
    assert proxy_path({"JPY_PARENT_PID": "42"}) == "/lab/of/ada/proxy/{port}/"
    assert proxy_path({"JPY_PARENT_PID": "43"}) is proxy_path({"JPY_PARENT_PID": "44"}) is None
    assert proxy_path({"JPY_PARENT_PID": "no number"}) is None
    hub = {"JUPYTERHUB_SERVICE_PREFIX": "/user/ada/", "JPY_PARENT_PID": "44"}
    assert proxy_path(hub) == "/user/ada/proxy/{port}/"
    there.discard("jupyter_server_proxy")
    assert proxy_path(hub) is None
