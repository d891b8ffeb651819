"""A small builder of self-contained pages: sections, sortable tables, figures, heat maps, commands.

Nothing outside the file is ever asked for: pictures are data URIs, style and script are inline, and a content
security policy forbids the rest. All text is escaped.
"""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from numpy.typing import ArrayLike
from PIL import Image

from vitscope.rendering.files import write_atomically
from vitscope.rendering.pages.markup import Child, Html, data_uri, element, join, png_uri
from vitscope.rendering.pages.tables import Column, Measure, heat_table, table
from vitscope.rendering.plots.figure import figure_svg

__all__ = ["Column", "Drawing", "Measure", "Page", "command_block", "figure_block", "metadata_list"]

Drawing = Image.Image | Figure | Callable[[str], Figure]
"""What ``Page.figure`` takes: a picture, a plot, or a function from "light" or "dark" to a plot."""


class Page:
    """A page under construction; every method but ``html`` and ``write`` returns the page, so calls can be chained.

    ``styles`` and ``scripts`` are file names in this package's ``static`` folder, beside the page's own.
    """

    def __init__(
        self,
        title: str,
        subtitle: str = "",
        *,
        styles: Sequence[str] = (),
        scripts: Sequence[str] = (),
        contents: bool = True,
    ) -> None:
        self.title = title
        self.subtitle = subtitle
        self._styles = ("page.css", *styles)
        self._scripts = ("page.js", *scripts)
        self._contents = contents
        self._sections: list[tuple[str, str, list[Html]]] = []
        self._top: list[Html] = []

    def section(self, title: str, text: str = "") -> Page:
        """Start a section; what is added next belongs to it."""
        self._sections.append((f"section-{len(self._sections) + 1}", title, []))
        return self.text(text) if text else self

    def add(self, *children: Child) -> Page:
        """Add elements made with ``element``; plain strings are escaped."""
        target = self._sections[-1][2] if self._sections else self._top
        target.append(join(children))
        return self

    def text(self, text: str) -> Page:
        """Add paragraphs, separated by empty lines."""
        return self.add([element("p", part.strip()) for part in text.split("\n\n") if part.strip()])

    def metadata(self, entries: Mapping[str, Any]) -> Page:
        """Add what made the results (model, weights, versions, options) as a compact list."""
        return self.add(metadata_list(entries))

    def commands(self, commands: Sequence[str | tuple[str, str]]) -> Page:
        """Add commands, or (command, note) pairs, each with a button that copies it."""
        return self.add(
            [command_block(*((entry, "") if isinstance(entry, str) else entry)) for entry in commands]
        )

    def table(
        self,
        columns: Sequence[Column | str],
        rows: Sequence[Sequence[Any]],
        *,
        caption: str = "",
        sortable: bool = True,
    ) -> Page:
        """Add a table; cells are text, numbers, ``Measure`` with an interval, ``Html``, or None for no value."""
        return self.add(table(columns, rows, caption=caption, sortable=sortable))

    def figure(self, drawing: Drawing, *, alt: str, caption: str = "", width: int | None = None) -> Page:
        """Add a picture or plot; a function from a theme's name to a plot follows the reader's light or dark."""
        return self.add(figure_block(drawing, alt=alt, caption=caption, width=width))

    def figures(self, entries: Sequence[tuple[Drawing, str, str]]) -> Page:
        """Add several (drawing, alt, caption) side by side where there is room."""
        blocks = [figure_block(drawing, alt=alt, caption=caption) for drawing, alt, caption in entries]
        return self.add(element("div", blocks, class_="figures"))

    def heat_map(
        self,
        values: ArrayLike,
        row_names: Sequence[str],
        column_names: Sequence[str],
        *,
        caption: str = "",
        corner: str = "",
        signed: bool = False,
        colour: str | None = None,
    ) -> Page:
        """Add a matrix (rows, columns) as a table of coloured cells with their numbers."""
        block = heat_table(
            values, row_names, column_names, caption=caption, corner=corner, signed=signed, colour=colour
        )
        return self.add(block)

    def html(self) -> str:
        """The whole page as text."""
        style = Html("\n".join(static_text(name) for name in self._styles))
        script = Html("\n".join(static_text(name) for name in self._scripts))
        digest = base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii")
        policy = (
            f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; "
            "base-uri 'none'; form-action 'none'"
        )
        sections = [
            element(
                "section",
                element("h2", title, id=f"{anchor}-title"),
                parts,
                class_="section",
                id=anchor,
                aria_labelledby=f"{anchor}-title",
            )
            for anchor, title, parts in self._sections
        ]
        return "<!doctype html>\n" + element(
            "html",
            element(
                "head",
                element("meta", charset="utf-8"),
                element("meta", http_equiv="Content-Security-Policy", content=policy),
                element("meta", name="viewport", content="width=device-width, initial-scale=1"),
                element("meta", name="color-scheme", content="light dark"),
                element("meta", name="generator", content="vitscope"),
                element("title", self.title),
                element("style", style),
            ),
            "\n",
            element(
                "body",
                element("a", "Skip to the content", href="#content", class_="skip"),
                element(
                    "header",
                    element("h1", self.title),
                    element("p", self.subtitle, class_="subtitle") if self.subtitle else None,
                    self._navigation(),
                    class_="top",
                ),
                element("main", self._top, sections, id="content"),
                element("script", script),
            ),
            lang="en",
        )

    def finish(self, path: str | os.PathLike[str] | None = None) -> str:
        """The whole page as text, which is also written to ``path`` where one is given."""
        text = self.html()
        if path is not None:
            write_atomically(path, text)
        return text

    def write(self, path: str | Path) -> Path:
        """Write the page, whole or not at all; raises ``OutputError`` when the place cannot be written."""
        return write_atomically(path, self.html())

    def _navigation(self) -> Html | None:
        if not self._contents or len(self._sections) < 3:
            return None
        links = [element("li", element("a", title, href=f"#{anchor}")) for anchor, title, _ in self._sections]
        return element("nav", element("ul", links), aria_label="Sections", class_="contents")


def static_text(name: str) -> str:
    """The text of a file of this package's ``static`` folder."""
    return resources.files("vitscope.rendering.pages").joinpath("static", name).read_text(encoding="utf-8")


def metadata_list(entries: Mapping[str, Any]) -> Html:
    """Name and value pairs."""
    pairs = [element("div", element("dt", key), element("dd", str(value))) for key, value in entries.items()]
    return element("dl", pairs, class_="metadata")


def command_block(command: str, note: str = "") -> Html:
    """A command with a copy button (which only appears where there is a script to serve it)."""
    return element(
        "div",
        element("p", note, class_="command-note") if note else None,
        element(
            "div",
            element("pre", element("code", command), tabindex="0", aria_label="Command"),
            element("button", "Copy", type="button", class_="copy", data_copy=command),
            class_="command-line",
        ),
        class_="command",
    )


def figure_block(drawing: Drawing, *, alt: str, caption: str = "", width: int | None = None) -> Html:
    """See ``Page.figure``; ``alt`` says in words what can be seen."""
    sources: list[Html] = []
    if isinstance(drawing, Image.Image):
        main = png_uri(drawing.convert("RGB"))
        natural: int | None = drawing.width
    elif isinstance(drawing, Figure):
        main, natural = _svg_uri(drawing, transparent=False), round(drawing.get_figwidth() * 100)
    else:
        light, dark = drawing("light"), drawing("dark")
        main, natural = _svg_uri(light, transparent=True), round(light.get_figwidth() * 100)
        sources = [
            element("source", srcset=_svg_uri(dark, transparent=True), media="(prefers-color-scheme: dark)")
        ]
    image = element("img", src=main, alt=alt, width=width or natural, loading="lazy")
    themed = element("picture", sources, image) if sources else image
    # A drawing with a ground of its own keeps a light card behind it in the dark.
    kind = "figure" if sources else "figure paper"
    scroll = element("div", themed, class_="figure-scroll")
    return element("figure", scroll, element("figcaption", caption) if caption else None, class_=kind)


def _svg_uri(figure: Figure, *, transparent: bool) -> str:
    return data_uri(figure_svg(figure, transparent=transparent), "image/svg+xml")
