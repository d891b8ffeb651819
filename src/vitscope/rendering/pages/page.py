"""A small builder of self-contained pages: sections, sortable tables, figures, heat maps, commands.

Nothing outside the file is ever asked for: pictures are data URIs, style and script are inline, and a content
security policy forbids the rest. All text is escaped.
"""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

from markupsafe import Markup, escape
from matplotlib.figure import Figure
from numpy.typing import ArrayLike
from PIL import Image

from vitscope.rendering.files import write_atomically
from vitscope.rendering.pages.markup import HERE, data_uri, png_uri
from vitscope.rendering.pages.tables import Column, Measure, heat_table, table
from vitscope.rendering.pages.templating import fill, part
from vitscope.rendering.plots.figure import figure_svg

__all__ = ["Column", "Drawing", "Measure", "Page", "figure_block"]

Drawing = Image.Image | Figure | Callable[[str], Figure]
"""What ``Page.figure`` takes: a picture, a plot, or a function from "light" or "dark" to a plot."""


@dataclass(frozen=True)
class Section:
    """A part of a page with a title of its own."""

    title: str
    parts: list[Markup] = field(default_factory=list)


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
        self._styles = ("tokens.css", "page.css", *styles)
        self._scripts = ("page.js", *scripts)
        self._contents = contents
        self._sections: list[Section] = []
        self._top: list[Markup] = []

    def section(self, title: str, text: str = "") -> Page:
        """Start a section; what is added next belongs to it."""
        self._sections.append(Section(title))
        return self.text(text) if text else self

    def add(self, *parts: Markup | str) -> Page:
        """Add markup; plain strings are escaped."""
        target = self._sections[-1].parts if self._sections else self._top
        target.extend(escape(one) for one in parts)
        return self

    def text(self, text: str) -> Page:
        """Add paragraphs, separated by empty lines."""
        texts = [one.strip() for one in text.split("\n\n") if one.strip()]
        return self.add(part(HERE, "parts.html", "paragraphs", texts))

    def metadata(self, entries: Mapping[str, Any]) -> Page:
        """Add what made the results (model, weights, versions, options) as a compact list."""
        return self.add(part(HERE, "parts.html", "metadata", list(entries.items())))

    def commands(self, commands: Sequence[str | tuple[str, str]]) -> Page:
        """Add commands, or (command, note) pairs, each with a button that copies it."""
        pairs = [(entry, "") if isinstance(entry, str) else entry for entry in commands]
        return self.add(*(part(HERE, "parts.html", "command", *pair) for pair in pairs))

    def table(
        self,
        columns: Sequence[Column | str],
        rows: Sequence[Sequence[Any]],
        *,
        caption: str = "",
        sortable: bool = True,
    ) -> Page:
        """Add a table; cells are text, numbers, ``Measure`` with an interval, ``Markup``, or None for no value."""
        return self.add(table(columns, rows, caption=caption, sortable=sortable))

    def figure(self, drawing: Drawing, *, alt: str, caption: str = "", width: int | None = None) -> Page:
        """Add a picture or plot; a function from a theme's name to a plot follows the reader's light or dark."""
        return self.add(figure_block(drawing, alt=alt, caption=caption, width=width))

    def figures(self, entries: Sequence[tuple[Drawing, str, str]]) -> Page:
        """Add several (drawing, alt, caption) side by side where there is room."""
        blocks = [figure_block(drawing, alt=alt, caption=caption) for drawing, alt, caption in entries]
        return self.add(part(HERE, "parts.html", "figures", blocks))

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
        style = Markup("\n".join(static_text(name) for name in self._styles))
        script = Markup("\n".join(static_text(name) for name in self._scripts))
        digest = base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii")
        policy = (
            f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; "
            "base-uri 'none'; form-action 'none'"
        )
        return fill(
            HERE,
            "page.html",
            title=self.title,
            subtitle=self.subtitle,
            policy=policy,
            style=style,
            script=script,
            contents=self._contents and len(self._sections) >= 3,
            top=self._top,
            sections=self._sections,
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


def static_text(name: str) -> str:
    """The text of a file of this package's ``static`` folder."""
    return resources.files("vitscope.rendering.pages").joinpath("static", name).read_text(encoding="utf-8")


def figure_block(drawing: Drawing, *, alt: str, caption: str = "", width: int | None = None) -> Markup:
    """See ``Page.figure``; ``alt`` says in words what can be seen."""
    dark = None  # a drawing with a ground of its own keeps a light card behind it in the dark
    if isinstance(drawing, Image.Image):
        main, natural = png_uri(drawing.convert("RGB")), drawing.width
    elif isinstance(drawing, Figure):
        main, natural = _svg_uri(drawing, transparent=False), round(drawing.get_figwidth() * 100)
    else:
        light = drawing("light")
        main, natural = _svg_uri(light, transparent=True), round(light.get_figwidth() * 100)
        dark = _svg_uri(drawing("dark"), transparent=True)
    return part(HERE, "parts.html", "figure", main, dark, alt, caption, width or natural)


def _svg_uri(figure: Figure, *, transparent: bool) -> str:
    return data_uri(figure_svg(figure, transparent=transparent), "image/svg+xml")
