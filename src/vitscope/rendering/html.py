"""A small builder of self-contained pages: sections, sortable tables, figures, heat maps, commands.

Nothing outside the file is ever asked for: pictures are data URIs, style and script are inline, and a content
security policy forbids the rest. All text is escaped.
"""

from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike
from PIL import Image

from vitscope.errors import RenderingError
from vitscope.rendering.colour import check_colour, colourise, css_gradient, default_colour, ink_on, to_hex
from vitscope.rendering.figure import figure_svg
from vitscope.rendering.files import write_atomically
from vitscope.rendering.markup import Child, Html, data_uri, element, join, png_uri
from vitscope.rendering.typography import numeral


@dataclass(frozen=True)
class Column:
    """A table's column: its title, whether it holds numbers, which end is best ("high", "low" or None), a hint."""

    title: str
    numeric: bool = False
    best: str | None = None
    hint: str = ""


@dataclass(frozen=True)
class Measure:
    """A number with its interval, for a cell of a table."""

    value: float
    low: float | None = None
    high: float | None = None


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
        signed: bool | None = None,
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
    return resources.files("vitscope.rendering").joinpath("static", name).read_text(encoding="utf-8")


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


def table(
    columns: Sequence[Column | str],
    rows: Sequence[Sequence[Any]],
    *,
    caption: str = "",
    sortable: bool = True,
) -> Html:
    """See ``Page.table``. Raises ``RenderingError`` when a row's length differs from the columns'."""
    heads = [Column(column) if isinstance(column, str) else column for column in columns]
    for row in rows:
        if len(row) != len(heads):
            raise RenderingError(
                f"expected rows of {len(heads)} cells, got one of {len(row)}; fill gaps with None"
            )
    best = [_best_value(head, [row[index] for row in rows]) for index, head in enumerate(heads)]
    header = []
    for head in heads:
        label: Child = head.title
        if sortable:
            arrow = element("span", class_="arrow", aria_hidden="true")
            label = element("button", head.title, arrow, type="button", title=head.hint or None)
        classes = "number" if head.numeric else None
        header.append(
            element("th", label, scope="col", class_=classes, title=None if sortable else head.hint or None)
        )
    body = []
    for row in rows:
        cells = []
        for index, cell in enumerate(row):
            value = _number(cell)
            classes = " ".join(
                word
                for word, wanted in (
                    ("number", heads[index].numeric),
                    ("best", value is not None and value == best[index]),
                )
                if wanted
            )
            tag = {"scope": "row"} if index == 0 else {}
            cells.append(
                element(
                    "th" if index == 0 else "td", _cell(cell), class_=classes or None, data_value=value, **tag
                )
            )
        body.append(element("tr", cells))
    return element(
        "div",
        element(
            "table",
            element("caption", caption) if caption else None,
            element("thead", element("tr", header)),
            element("tbody", body),
            class_="data sortable" if sortable else "data",
        ),
        class_="table-scroll",
        tabindex="0",
        role="region",
        aria_label=caption or "Table",
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
    return element("figure", themed, element("figcaption", caption) if caption else None, class_=kind)


def heat_table(
    values: ArrayLike,
    row_names: Sequence[str],
    column_names: Sequence[str],
    *,
    caption: str = "",
    corner: str = "",
    signed: bool | None = None,
    colour: str | None = None,
) -> Html:
    """See ``Page.heat_map``. The largest value of each row is marked; cells without a value are hatched."""
    matrix = np.asarray(values, dtype=np.float64)
    if matrix.shape != (len(row_names), len(column_names)):
        raise RenderingError(
            f"expected a matrix of {len(row_names)} × {len(column_names)} for the names, got {matrix.shape}; "
            "name every row and column"
        )
    finite = matrix[np.isfinite(matrix)]
    diverging = bool((finite < 0).any()) if signed is None else signed
    name = check_colour(colour or default_colour(diverging), diverging)
    limit = float(np.abs(finite).max()) if finite.size else 0.0
    low, high = (
        (-limit, limit)
        if diverging
        else (float(finite.min()), float(finite.max()))
        if finite.size
        else (0, 0)
    )
    shades = colourise((matrix - low) / ((high - low) or 1.0), name)
    rows = []
    for index, row_name in enumerate(row_names):
        row = matrix[index]
        top = np.nanmax(np.where(np.isfinite(row), row, -np.inf)) if row.size else np.nan
        cells = [element("th", row_name, scope="row")]
        for place, value in enumerate(row):
            if not math.isfinite(value):
                cells.append(element("td", "–", class_="none", title="no value"))
                continue
            shade = shades[index, place]
            paint = f"background:{to_hex(shade)};color:{to_hex(ink_on(shade))}"
            peak = "peak" if value == top and len(column_names) > 1 else None
            cells.append(
                element("td", numeral(float(value), 2), style=paint, class_=peak, title=f"{value:.6g}")
            )
        rows.append(element("tr", cells))
    head = element("tr", element("td", corner), [element("th", name, scope="col") for name in column_names])
    return element(
        "div",
        element(
            "table",
            element("caption", caption) if caption else None,
            element("thead", head),
            element("tbody", rows),
            class_="heat",
        ),
        colour_bar(name, numeral(low), numeral((low + high) / 2), numeral(high)),
        class_="heat-block table-scroll",
        tabindex="0",
        role="region",
        aria_label=caption or "Heat map",
    )


def colour_bar(name: str, low: str, middle: str, high: str) -> Html:
    """A horizontal colour bar with three labels."""
    return element(
        "div",
        element("div", class_="ramp", style=f"background:{css_gradient(name)}"),
        element("div", element("span", low), element("span", middle), element("span", high), class_="ends"),
        class_="colour-bar",
    )


def share_bars(entries: Sequence[tuple[str, float]], *, marked: str | None = None) -> Html:
    """Names with shares between 0 and 1 as bars with percentages; the ``marked`` name is emphasised."""
    rows = []
    for name, share in entries:
        length = min(1.0, max(0.0, share)) if math.isfinite(share) else 0.0
        words = f"{100 * share:.1f} %".replace("-", "−") if math.isfinite(share) else "no value"
        fill = element("span", class_="fill", style=f"width:{100 * length:.2f}%")
        rows.append(
            element(
                "li",
                element("span", name, class_="name"),
                element("span", words, class_="share"),
                element("span", fill, class_="track", aria_hidden="true"),
                class_="marked" if name == marked else None,
            )
        )
    return element("ol", rows, class_="shares")


def _svg_uri(figure: Figure, *, transparent: bool) -> str:
    return data_uri(figure_svg(figure, transparent=transparent), "image/svg+xml")


def _number(cell: Any) -> float | None:
    value = cell.value if isinstance(cell, Measure) else cell
    if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
        return None
    return float(value) if math.isfinite(value) else None


def _best_value(column: Column, cells: Sequence[Any]) -> float | None:
    numbers = [number for number in map(_number, cells) if number is not None]
    if column.best is None or len(numbers) < 2:
        return None
    return max(numbers) if column.best == "high" else min(numbers)


def _cell(cell: Any) -> Child:
    if isinstance(cell, Measure):
        interval = None
        if (
            cell.low is not None
            and cell.high is not None
            and math.isfinite(cell.low)
            and math.isfinite(cell.high)
        ):
            words = f"{numeral(cell.low)} to {numeral(cell.high)}"
            interval = element("span", words, class_="interval")
        return [element("span", numeral(cell.value)), interval]
    number = _number(cell)
    if number is not None:
        return str(cell) if isinstance(cell, (int, np.integer)) else numeral(number)
    if cell is None or (isinstance(cell, float) and math.isnan(cell)):
        return element("span", "–", title="no value")
    return cell if isinstance(cell, Html) else str(cell)
