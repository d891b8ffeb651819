"""The page as a person uses it: by roles and accessible names, and by what is painted."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urljoin

import numpy as np
from numpy.typing import NDArray

from tests.conftest import REPOSITORY
from tests.needed import needed

_READ_CANVAS = """canvas => {
    const { width, height } = canvas;
    const pixels = canvas.getContext('2d').getImageData(0, 0, width, height).data;
    let text = '';
    for (let at = 0; at < pixels.length; at += 8192)
        text += String.fromCharCode(...pixels.subarray(at, at + 8192));
    return { width, height, pixels: btoa(text) };
}"""


AXE = REPOSITORY / "ui" / "node_modules" / "axe-core" / "axe.min.js"
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


def pixels_of(canvas: Any) -> NDArray[np.uint8]:
    """What is painted on a canvas, (height, width, 4)."""
    read = canvas.evaluate(_READ_CANVAS)
    flat = np.frombuffer(base64.b64decode(read["pixels"]), np.uint8)
    return flat.reshape(read["height"], read["width"], 4)


def mistakes_in(found: dict[str, Any]) -> list[str]:
    """The violations of an answer of axe, a line for each place."""
    return [
        f"{each['id']}: {node['target']} {node['failureSummary']}"
        for each in found["violations"]
        for node in each["nodes"]
    ]


class App:
    """One tab of the app.

    Args:
        page: The tab.
        url: Where the server is; ends in a slash.
        fresh: Whether each opening loads the page anew; else a view is followed in the page that is open, as a link is.
    """

    def __init__(self, page: Any, url: str = "", fresh: bool = True) -> None:
        self.page, self.url, self.fresh = page, url, fresh
        self._asked: set[Any] = set()
        page.on("request", self._note)
        for ended in ("requestfinished", "requestfailed"):
            page.on(ended, lambda request: self._asked.discard(request))

    def _note(self, request: Any) -> None:
        if not request.url.endswith("/api/events"):  # which never ends
            self._asked.add(request)

    def axe(self) -> dict[str, Any]:
        """What axe finds in the page as it is: ``passes`` and ``violations``."""
        if not AXE.is_file():
            needed("axe-core is not installed; run: make page")
        self.page.evaluate(AXE.read_text())
        found: dict[str, Any] = self.page.evaluate(
            "rules => axe.run(document, { runOnly: { type: 'tag', values: rules } })", RULES
        )
        return found

    def mistakes(self) -> list[str]:
        """What axe has against the page, a line each."""
        return mistakes_in(self.axe())

    @property
    def sideways(self) -> int:
        """By how many pixels the page itself can be scrolled to the side; none or less where it fits."""
        return int(self.page.evaluate("document.documentElement.scrollWidth - innerWidth"))

    # ---- places ------------------------------------------------------------------------------------------------------
    def open(self, url: str | None = None, **view: Any) -> App:
        """Open the page, at a view where one is given, and wait until it is painted."""
        if url is not None:
            self.url = url
        where = f"#{urlencode({'v': 1, **view})}" if view else ""
        if not self.fresh and self.page.url.partition("#")[0] == self.url:
            return self.follow(**view)
        self.page.goto("about:blank")  # the same page with another hash would not be loaded anew
        self.page.goto(self.url + where)
        return self.ready()

    def follow(self, **view: Any) -> App:
        """Go to a view in the page that is open, by its address."""
        self.page.evaluate("hash => { location.hash = hash; }", f"#{urlencode({'v': 1, **view})}")
        return self.settled()

    def ready(self) -> App:
        """Wait for the first screen, and until nothing is computed any more."""
        self.page.wait_for_selector("html[data-ready]")
        return self.settled()

    def settled(self) -> App:
        """Wait until nothing is asked for and nothing is computed any more, and it is painted."""
        quiet = 0
        for _ in range(1500):
            self.page.evaluate("() => new Promise(done => requestAnimationFrame(() => setTimeout(done)))")
            busy = self._asked or self.page.evaluate("document.documentElement.hasAttribute('data-busy')")
            quiet = 0 if busy else quiet + 1
            if quiet == 2:
                return self
            if busy:
                self.page.wait_for_timeout(15)
        raise AssertionError(f"still busy: {[request.url for request in self._asked]}")

    @property
    def view(self) -> dict[str, str]:
        """What stands in the URL."""
        hash_ = self.page.evaluate("location.hash").removeprefix("#")
        return {name: values[0] for name, values in parse_qs(hash_, keep_blank_values=True).items()}

    def api(self, path: str, **query: Any) -> str:
        """The address of an answer of the server."""
        return urljoin(self.url, f"api/{path}") + (f"?{urlencode(query)}" if query else "")

    # ---- what is there -----------------------------------------------------------------------------------------------
    def button(self, name: str, exact: bool = True) -> Any:
        return self.page.get_by_role("button", name=name, exact=exact)

    @property
    def pictures(self) -> Any:
        """The cells of the library."""
        return self.page.get_by_role("listbox", name="Pictures").get_by_role("option")

    @property
    def map(self) -> Any:
        """The canvas of the map."""
        return self.page.get_by_test_id("map")

    @property
    def readout(self) -> Any:
        """The value under the pointer."""
        return self.page.get_by_test_id("readout")

    @property
    def alert(self) -> Any:
        """What went wrong, in one line."""
        return self.page.get_by_role("alert")

    def map_pixels(self) -> NDArray[np.uint8]:
        """What is painted of the map, one pixel for each cell."""
        return pixels_of(self.map)

    def probabilities(self) -> dict[int, float]:
        """Class and probability of each line of the prediction, the first on top."""
        rows = self.page.get_by_test_id("prediction").all()
        return {
            int(row.get_attribute("data-class")): float(row.get_attribute("data-probability")) for row in rows
        }

    # ---- what a person does ------------------------------------------------------------------------------------------
    def screen(self, name: str) -> App:
        """Go to a screen by its button."""
        self.page.get_by_role("navigation", name="Screens").get_by_role("button", name=name).click()
        return self.settled()

    def explain(self, name: str) -> App:
        """From the library to the explanation of a picture."""
        self.pictures.and_(self.page.get_by_role("option", name=name)).dblclick()
        self.map.wait_for()
        return self.settled()

    def drop(self, *files: Path) -> App:
        """Drop files on the page, as from a folder."""
        held = self._held(files, "")
        for event in ("dragover", "drop"):
            self.page.dispatch_event("main", event, {"dataTransfer": held})
        return self.settled()

    def paste(self, file: Path) -> App:
        """Paste a picture, as copied from another program."""
        self.page.evaluate(
            "held => window.dispatchEvent(new ClipboardEvent('paste', { clipboardData: held, bubbles: true }))",
            self._held([file], "image/png"),
        )
        return self.settled()

    def pick(self, file: Path) -> App:
        """Choose a file in the browser's dialog."""
        self.page.locator("input[type=file]").first.set_input_files(str(file))
        return self.settled()

    def _held(self, files: Sequence[Path], kind: str) -> Any:
        """What a drop or the clipboard holds."""
        return self.page.evaluate_handle(
            """([files, type]) => {
                const transfer = new DataTransfer();
                for (const [name, text] of files) {
                    const bytes = Uint8Array.from(atob(text), letter => letter.charCodeAt(0));
                    transfer.items.add(new File([bytes], name, { type }));
                }
                return transfer;
            }""",
            [[[file.name, base64.b64encode(file.read_bytes()).decode()] for file in files], kind],
        )

    def plain(self) -> App:
        """The map alone, without the photograph: its colours are exact."""
        self.page.get_by_label("photo", exact=True).uncheck()
        return self.settled()

    def choose_method(self, name: str) -> App:
        self.page.get_by_role("combobox", name="Method").select_option(name)
        return self.settled()

    def go_to_block(self, block: int) -> App:
        self.page.get_by_role("option", name=f"block {block}", exact=True).click()
        return self.settled()

    def hover_cell(self, row: int, column: int) -> None:
        """Point at the middle of a cell of the map."""
        box = self.map.bounding_box()
        rows, columns = (int(self.map.get_attribute(f"data-{name}")) for name in ("rows", "columns"))
        self.page.mouse.move(
            box["x"] + (column + 0.5) * box["width"] / columns, box["y"] + (row + 0.5) * box["height"] / rows
        )

    def click_cell(self, row: int, column: int) -> App:
        """Click on a patch."""
        self.hover_cell(row, column)
        self.page.mouse.down()
        self.page.mouse.up()
        return self.settled()

    def export(self, words: str) -> Path:
        """Save what is on screen, and give the file."""
        self.button("Export").click()
        with self.page.expect_download() as coming:
            self.page.get_by_role("menuitem", name=words, exact=True).click()
        return Path(coming.value.path())
