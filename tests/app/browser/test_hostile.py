"""Attacks and accidents, seen from the browser: what is dropped, who asks, a model's process that dies."""

from __future__ import annotations

import io
import json
import os
import signal
import struct
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import numpy as np
import pytest
from PIL import Image

import vitscope as vs
from tests.app.browser.app import App
from tests.app.browser.conftest import FIRST
from tests.app.browser.expected import colours
from tests.app.browser.serving import Served

PATIENCE = 60_000
"""Milliseconds for what waits behind other jobs of the one model."""
SLOW = {"method": "rise", "options": json.dumps({"masks": 100_000})}


def cut_off() -> bytes:
    whole = io.BytesIO()
    Image.effect_noise((64, 64), 50).save(whole, "JPEG")
    return whole.getvalue()[:900]


def bomb() -> bytes:
    """A PNG of a few bytes that says it has 3.6 billion pixels."""
    head = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)

    def chunk(kind: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        )

    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    )


HOSTILE = {
    "drawing.svg": b"<svg xmlns='http://www.w3.org/2000/svg'><script>document.title='owned'</script></svg>",
    "cut.jpg": cut_off(),
    "bomb.png": bomb(),
    "empty.png": b"",
    "page.png": b"<!doctype html><script>document.title='owned'</script>",
    "<img src=x onerror=alert(1)>.png": b"no picture",
}


def test_what_is_no_picture_is_refused_in_a_line(app: App, tmp_path: Path) -> None:
    app.watch.expected.append(r"status of 4\d\d")
    app.open()
    for name, content in HOSTILE.items():
        (tmp_path / name).write_bytes(content)
        app.drop(tmp_path / name)
        words = app.alert.inner_text()
        assert words and len(words.splitlines()) <= 2 and "Traceback" not in words, name
        assert "owned" not in app.page.title()
        app.button("Close the message").click()
        assert app.alert.count() == 0
    app.explain(FIRST)  # and the app goes on
    assert app.alert.count() == 0 and app.map.is_visible()


def test_a_name_is_text_and_nothing_else(app: App, tmp_path: Path) -> None:
    name = "<b onmouseover=alert(1)>&amp; 'name'.png"
    Image.new("RGB", (40, 30), (90, 120, 60)).save(tmp_path / "ok.png")
    (tmp_path / "ok.png").rename(tmp_path / name)
    app.open().drop(tmp_path / name)
    assert app.page.locator("b[onmouseover]").count() == 0
    assert name in app.page.get_by_role("contentinfo").inner_text()


def test_another_host_name_is_refused(served: Served) -> None:
    for host in ("evil.test", "127.0.0.1.evil.test", "evil.test:80"):
        with pytest.raises(HTTPError, match="403"):
            urlopen(Request(f"{served.url}api/about", headers={"Host": host}))


@pytest.mark.parametrize(
    "path",
    ["../../../etc/passwd", "..%2f..%2f..%2fetc%2fpasswd", "assets/../../settings.py", "//etc/passwd", "%00"],
)
def test_nothing_outside_the_page_is_served(served: Served, path: str) -> None:
    try:
        with urlopen(Request(served.url + path)) as answer:
            text = answer.read()
    except HTTPError as error:
        assert error.code in (400, 403, 404)
    else:
        assert b"root:" not in text and b"Settings" not in text


def test_a_page_of_another_origin_learns_nothing(app: App, served: Served) -> None:
    app.watch.expected += ["left the origin", "CORS", "Failed to load", "ERR_", "fetch"]
    app.page.route(
        "http://evil.test/",
        lambda route: route.fulfill(content_type="text/html", body="<!doctype html><title>evil</title>"),
    )
    app.page.goto("http://evil.test/")
    got = app.page.evaluate(
        """async url => {
            const tries = {};
            const note = async (name, asked) => {
                tries[name] = await asked.then(answer => answer.type, () => "no");
            };
            await note('read', fetch(url + 'api/about'));
            await note('post', fetch(url + 'api/pictures', { method: 'POST', body: 'x' }));
            await note('blind', fetch(url + 'api/pictures', { method: 'POST', body: 'x', mode: 'no-cors' }));
            tries.image = await new Promise(done => {
                const image = new Image();
                image.onload = () => done('loaded');
                image.onerror = () => done('no');
                image.src = url + 'icon.svg';
            });
            tries.frame = await new Promise(done => {
                const frame = document.createElement('iframe');
                frame.onload = () => done(frame.contentDocument ? 'readable' : 'closed');
                frame.src = url;
                document.body.append(frame);
                setTimeout(() => done('never'), 3000);
            });
            return tries;
        }""",
        served.url,
    )
    assert got["read"] == "no" and got["post"] == "no" and got["frame"] != "readable"
    with urlopen(f"{served.url}api/pictures") as answer:
        assert not any(json.load(answer)["columns"]["added"]), "nothing was added from over there"


def model_process(served: Served) -> int:
    """The process that owns the model."""
    children = Path(f"/proc/{served.process.pid}/task").glob("*/children")
    for child in {int(number) for file in children for number in file.read_text().split()}:
        if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes():
            return child
    raise AssertionError("no model process")


def start_slow(app: App, picture: str) -> Any:
    """A map that takes minutes is being computed; its line in the status bar."""
    app.watch.expected.append(r"status of (409|503)")
    app.page.goto("about:blank")
    app.page.goto(f"{app.url}#v=1&screen=explain&picture={picture}&method=rise&options={SLOW['options']}")
    app.page.get_by_text("rise takes 100,000 forward and 0 backward passes").wait_for(timeout=PATIENCE)
    app.page.get_by_role("button", name="Compute").click()
    line = app.page.get_by_test_id("job").filter(has=app.page.locator("progress[max]"))
    line.wait_for(timeout=PATIENCE)
    return line


def test_the_model_process_is_killed_in_mid_job(
    app: App, served: Served, vit: vs.Vit, picture_files: list[Path], ids: dict[str, str]
) -> None:
    start_slow(app, ids[FIRST])
    before = model_process(served)
    os.kill(before, signal.SIGKILL)
    app.alert.wait_for()
    assert len(app.alert.inner_text().splitlines()) <= 2
    app.choose_method("daam")
    app.page.get_by_role("combobox", name="Method").select_option("rollout")
    app.settled()
    app.plain()
    expected = vs.explain(vit, [picture_files[0]], "rollout").maps[0]
    until = time.monotonic() + 60
    while time.monotonic() < until and not np.array_equal(
        app.map_pixels()[..., :3], colours(expected, False)
    ):
        app.page.wait_for_timeout(200)
    np.testing.assert_array_equal(app.map_pixels()[..., :3], colours(expected, False))
    assert model_process(served) != before


def test_a_job_is_cancelled_by_its_button(app: App, ids: dict[str, str]) -> None:
    line = start_slow(app, ids[FIRST])
    line.get_by_role("button", name="Cancel").click()
    line.wait_for(state="detached")
    app.choose_method("daam")
    assert app.map_pixels().any()


def test_a_tab_that_is_closed_ends_its_job(
    app: App, new_app: Callable[..., App], ids: dict[str, str]
) -> None:
    start_slow(app, ids[FIRST])
    other = new_app().open()
    other.page.get_by_test_id("job").first.wait_for(timeout=PATIENCE)
    app.page.goto("about:blank")
    other.page.get_by_test_id("job").first.wait_for(state="detached", timeout=PATIENCE)
