"""A real Chromium, a small real study of the bundled model, and one server for the whole session."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import pytest

import vitscope as vs
from tests.app.browser.app import App
from tests.app.browser.heads_screen import deit_headed as deit_headed
from tests.app.browser.heads_screen import deit_served as deit_served
from tests.app.browser.heads_screen import headed as headed
from tests.app.browser.heads_screen import headed_served as headed_served
from tests.app.browser.heads_screen import heads as heads
from tests.app.browser.serving import Served, serving
from tests.conftest import REPOSITORY
from tests.needed import needed
from vitscope.worlds import Sample

FLAGS = ["--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--no-sandbox", "--disable-dev-shm-usage"]
PAGE = REPOSITORY / "src" / "vitscope" / "app" / "page" / "index.html"
MODEL, WORLD, PICTURES = "bundled/shapes", "shapes", 12
METHODS = ["dart", "daam", "rollout"]
FIRST = "00-triangle.png"
"""The name of the first picture."""
WRONG = 4
"""The picture whose label says another class than the one that is on it."""


@pytest.fixture(scope="session")
def page_is_built() -> None:
    """The page is there."""
    if not PAGE.is_file():
        needed("the page is not built; run: make page")


@pytest.fixture(scope="session")
def chromium() -> str:
    """Where the browser is: ``CHROMIUM_PATH``, else the system's."""
    names = ("chromium", "chromium-browser", "google-chrome")
    found = os.environ.get("CHROMIUM_PATH") or next(filter(None, map(shutil.which, names)), None)
    if not found or not Path(found).exists():
        needed(f"no browser{f' at {found}' if found else ''}; install chromium, or set CHROMIUM_PATH")
    return str(found)


# Not for the whole session: while Playwright is open an event loop counts as running, in other rooms' tests too.
@pytest.fixture(scope="package")
def browser(chromium: str, page_is_built: None) -> Iterator[Any]:
    """One Chromium for this folder's tests."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        yield opened
        opened.close()


# ---- what is served --------------------------------------------------------------------------------------------------
@pytest.fixture(scope="session")
def vit() -> vs.Vit:
    """The model of the study, in this process: what the page shows is held against it."""
    return vs.open_model(MODEL)


@pytest.fixture(scope="session")
def sample() -> Sample:
    """The pictures of the study."""
    return vs.worlds.world(WORLD).sample(PICTURES, seed=21)


@pytest.fixture(scope="session")
def picture_files(sample: Sample, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The same as files in a folder with labels, one of which is wrong."""
    folder = tmp_path_factory.mktemp("pictures")
    files = [folder / f"{n:02d}-{name.replace(' ', '-')}.png" for n, name in enumerate(sample.names())]
    classes = len(vs.open_model(MODEL).class_names or ())
    with (folder / "labels.csv").open("w", newline="") as table:
        rows = csv.writer(table)
        rows.writerow(["file", "class_index"])
        for number, (file, image) in enumerate(zip(files, sample.images(), strict=True)):
            image.save(file)
            rows.writerow([file.name, (int(sample.labels[number]) + (number == WRONG)) % classes])
    return files


@pytest.fixture(scope="session")
def study(picture_files: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished study of these pictures."""
    place = tmp_path_factory.mktemp("study") / "shapes"
    images = str(picture_files[0].parent)
    made = vs.Study.create(
        place,
        model=MODEL,
        images=images,
        analyses=("explain", "importance"),
        methods=METHODS,
        arrays=("maps", "flow", "features"),
    )
    assert made.run().whole
    return place


@pytest.fixture(scope="session")
def served(study: Path) -> Iterator[Served]:
    """One server of that study for the session."""
    with serving(study) as running:
        yield running


@pytest.fixture(scope="session")
def ids(served: Served) -> dict[str, str]:
    """The ids of the study's pictures by their names."""
    with urlopen(f"{served.url}api/pictures") as answer:
        columns = json.load(answer)["columns"]
    return dict(zip(columns["name"], columns["id"], strict=True))


# ---- the tabs of a test ----------------------------------------------------------------------------------------------
class Watch:
    """What a tab did that it must not do: errors on the console, requests that leave the origin."""

    def __init__(self, page: Any) -> None:
        self.wrong: list[str] = []
        self.expected: list[str] = []
        """Patterns of what this test provokes."""
        page.on("console", lambda message: self._note("console", message.text, message.type == "error"))
        page.on("pageerror", lambda error: self._note("exception", str(error), True))
        page.on("request", lambda request: self._request(page, request.url))

    def _note(self, kind: str, text: str, bad: bool) -> None:
        if bad:
            self.wrong.append(f"{kind}: {text}")

    def _request(self, page: Any, url: str) -> None:
        home, asked = urlsplit(page.url), urlsplit(url)
        inside = asked.scheme in ("data", "blob", "about") or page.url == "about:blank"
        if not inside and (asked.scheme, asked.netloc) != (home.scheme, home.netloc):
            self.wrong.append(f"left the origin: {url}")

    def unexpected(self) -> list[str]:
        return [each for each in self.wrong if not any(re.search(known, each) for known in self.expected)]


def forget_added(url: str) -> None:
    """Forget the pictures that a test has added, so that the next one finds the study alone."""
    with urlopen(f"{url}api/pictures") as answer:
        columns = json.load(answer)["columns"]
    for picture, added in zip(columns["id"], columns["added"], strict=True):
        if added:
            urlopen(Request(f"{url}api/pictures/{picture}", method="DELETE")).close()


@contextlib.contextmanager
def tabs(browser: Any, served: Served, fresh: bool = True) -> Iterator[Callable[..., App]]:
    """Makes tabs, each with a profile of its own; none may complain or leave the origin until the block is left."""
    opened: list[tuple[Any, App]] = []

    def make(**options: Any) -> App:
        context = browser.new_context(**{"viewport": {"width": 1360, "height": 860}, **options})
        context.set_default_timeout(15_000)
        app = App(context.new_page(), served.url, fresh)
        app.watch = Watch(app.page)
        opened.append((context, app))
        return app

    yield make
    forget_added(served.url)
    wrong = [each for _, app in opened for each in app.watch.unexpected()]
    for context, _ in opened:
        context.close()
    assert wrong == []


@pytest.fixture
def new_app(browser: Any, served: Served) -> Iterator[Callable[..., App]]:
    """``new_app(viewport=…)`` is another tab."""
    with tabs(browser, served) as make:
        yield make


@pytest.fixture(scope="module")
def one_tab(browser: Any, served: Served) -> Iterator[App]:
    """One tab for all tests of a file that only look: it is loaded once, and goes from view to view."""
    with tabs(browser, served, fresh=False) as make:
        yield make()


@pytest.fixture
def app(new_app: Callable[..., App]) -> App:
    """One tab, not yet opened."""
    return new_app()
