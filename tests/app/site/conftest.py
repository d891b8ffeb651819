"""A site of a small study, written once, and a plain web server that shows it from a sub-folder."""

from __future__ import annotations

import contextlib
import functools
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

import vitscope as vs
from tests.app.browser.app import App
from tests.app.browser.conftest import browser as browser
from tests.app.browser.conftest import chromium as chromium
from tests.app.browser.conftest import page_is_built as page_is_built
from vitscope.app.site.making import Site, write_site
from vitscope.studies import EvaluateChoice, Sizes

METHODS = ("dart", "daam")
PICTURES = 12


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Files as they are, and nothing said of it."""

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture(scope="session")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished study with scores, maps and flows; one of its files is no picture."""
    folder = tmp_path_factory.mktemp("site")
    sample = vs.worlds.world("shapes").sample(PICTURES, seed=5)
    for number, (picture, name) in enumerate(zip(sample.images(), sample.names(), strict=True)):
        place = folder / "pictures" / name
        place.mkdir(parents=True, exist_ok=True)
        picture.save(place / f"{number:02d}.png")
    (folder / "pictures" / sample.names()[0] / "zz-broken.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    protocol = vs.Protocol(steps=4, random_draws=1)
    made = vs.Study.create(
        folder / "study",
        model="bundled/shapes",
        images=folder / "pictures",
        analyses={
            "explain": {},
            "evaluate": EvaluateChoice(metrics=("srg",), protocol=protocol, controls=("random",)),
        },
        methods=METHODS,
        arrays=("maps", "flow"),
        sizes=Sizes(shard_size=8, batch_size=4),
    )
    made.run()
    return folder / "study"


@pytest.fixture(scope="session")
def site(study: Path, page_is_built: None, tmp_path_factory: pytest.TempPathFactory) -> Site:
    """The study as files, in a folder below the one that is shown."""
    return write_site(str(study), tmp_path_factory.mktemp("hosted") / "reports" / "shapes")


@pytest.fixture(scope="session")
def address(site: Site) -> Iterator[str]:
    """Where the site is shown."""
    with hosted(site.folder) as found:
        yield found


@contextlib.contextmanager
def hosted(folder: Path) -> Iterator[str]:
    """Where a web server that knows nothing of vitscope shows a site: below two folders."""
    handler = functools.partial(Quiet, directory=str(folder.parents[1]))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/{folder.parent.name}/{folder.name}/"
        server.shutdown()


@contextlib.contextmanager
def site_tab(browser: Any, address: str) -> Iterator[Any]:
    """One tab; whatever it asks for lies in the site and is there, and it complains of nothing."""
    context = browser.new_context(viewport={"width": 1360, "height": 860})
    context.set_default_timeout(15_000)
    tab = context.new_page()
    wrong: list[str] = []
    tab.on("console", lambda message: message.type == "error" and wrong.append(message.text))
    tab.on("pageerror", lambda error: wrong.append(str(error)))
    tab.on("response", lambda answer: answer.status >= 400 and wrong.append(f"{answer.status} {answer.url}"))

    def inside(request: Any) -> None:
        if urlsplit(request.url).scheme not in ("data", "blob") and not request.url.startswith(address):
            wrong.append(f"left the site: {request.url}")

    tab.on("request", inside)
    yield tab
    context.close()
    assert wrong == []


def opened(page: Any, address: str, view: str = "") -> App:
    """The site in the tab, ready."""
    page.goto(f"{address}#{view}")
    page.wait_for_selector("html[data-ready]")
    return App(page, address).settled()
