"""A small study, and a notebook's server with a proxy: a page of its own, and any port of the machine."""

from __future__ import annotations

import contextlib
import http.client
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import vitscope as vs
from tests.app.browser.conftest import browser as browser
from tests.app.browser.conftest import chromium as chromium
from tests.app.browser.conftest import page_is_built as page_is_built

BASE = "/user/ada"


class Hub(http.server.BaseHTTPRequestHandler):
    """A notebook's server: ``/user/ada/proxy/PORT/...`` is asked of that port without what stands before, as
    jupyter-server-proxy does; ``/user/ada/cell`` is the page with a cell's output."""

    protocol_version = "HTTP/1.1"
    cell = ""

    def do_GET(self) -> None:
        """Answer one request."""
        if self.path == f"{BASE}/cell":
            content = f"<!doctype html><title>notebook</title>{self.cell}".encode()
            self._send(200, [("Content-Type", "text/html; charset=utf-8")], content)
            return
        port, _, rest = self.path.removeprefix(f"{BASE}/proxy/").partition("/")
        if not self.path.startswith(f"{BASE}/proxy/") or not port.isdigit():
            self._send(404, [], b"")
            return
        if rest.startswith("api/events"):  # an endless stream is for the app's own tests
            self._send(503, [], b"")
            return
        connection = http.client.HTTPConnection("127.0.0.1", int(port), timeout=60)
        try:
            connection.request("GET", f"/{rest}", headers=dict(self.headers))
            answer = connection.getresponse()
            skipped = ("transfer-encoding", "connection", "content-length")
            kept = [pair for pair in answer.getheaders() if pair[0].lower() not in skipped]
            self._send(answer.status, kept, answer.read())
        except OSError:
            self._send(502, [], b"")
        finally:
            connection.close()

    def _send(self, status: int, headers: list[tuple[str, str]], content: bytes) -> None:
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        with contextlib.suppress(OSError):
            self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture(scope="session")
def hub() -> Iterator[str]:
    """Where the notebook's server is."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture(scope="session")
def study(tmp_path_factory: pytest.TempPathFactory) -> vs.Study:
    """A finished study of three pictures."""
    folder = tmp_path_factory.mktemp("shown")
    (folder / "pictures").mkdir()
    for number, image in enumerate(vs.worlds.world("shapes").sample(3, seed=4).images()):
        image.save(folder / "pictures" / f"{number}.png")
    made = vs.Study.create(
        folder / "few", model="bundled/shapes", images=folder / "pictures", methods=["daam"]
    )
    assert made.run().whole
    return made


@pytest.fixture
def elsewhere(tmp_path: Path) -> vs.Study:
    """A study of a model that only this process has."""
    vs.worlds.world("shapes").sample(1, seed=9).images()[0].save(tmp_path / "one.png")
    vit = vs.open_model("bundled/shapes")
    made = vs.Study.create(tmp_path / "own", model=vit, images=tmp_path / "one.png", methods=["daam"])
    assert made.run().whole
    return made
