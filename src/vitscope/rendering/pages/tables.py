"""Tables of a page: sortable ones with intervals, matrices as coloured cells, colour bars, shares as bars."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from vitscope.errors import RenderingError
from vitscope.rendering.colour import check_colour, colourise, css_gradient, default_colour, ink_on, to_hex
from vitscope.rendering.pages.markup import Child, Html, element
from vitscope.rendering.typography import fixed, numeral


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
    spans = [_span([row[index] for row in rows]) for index in range(len(heads))]
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
            tag, scope = ("th", "row") if index == 0 else ("td", None)
            content = _cell(cell, spans[index])
            cells.append(element(tag, content, class_=classes or None, data_value=value, scope=scope))
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


def heat_table(
    values: ArrayLike,
    row_names: Sequence[str],
    column_names: Sequence[str],
    *,
    caption: str = "",
    corner: str = "",
    signed: bool = False,
    colour: str | None = None,
) -> Html:
    """See ``Page.heat_map``. ``signed`` takes diverging colours with zero in the middle. The largest value of each row
    is marked; cells without a value are hatched."""
    matrix = np.asarray(values, dtype=np.float64)
    if matrix.shape != (len(row_names), len(column_names)):
        raise RenderingError(
            f"expected a matrix of {len(row_names)} × {len(column_names)} for the names, got {matrix.shape}; "
            "name every row and column"
        )
    finite = matrix[np.isfinite(matrix)]
    name = check_colour(colour or default_colour(signed), signed)
    limit = float(np.abs(finite).max()) if finite.size else 0.0
    low, high = (
        (-limit, limit) if signed else (float(finite.min()), float(finite.max())) if finite.size else (0, 0)
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


def _span(cells: Sequence[Any]) -> float:
    """The largest magnitude of a column, which decides its decimals; 0 where that would hide a small value."""
    sizes = [abs(number) for number in map(_number, cells) if number]
    if not sizes:
        return 0.0
    return max(sizes) if min(sizes) >= max(sizes) / 500 else 0.0


def _cell(cell: Any, span: float) -> Child:
    if isinstance(cell, Measure):
        interval = None
        low, high = cell.low, cell.high
        if low is not None and high is not None and math.isfinite(low) and math.isfinite(high):
            words = f"{fixed(low, span)} to {fixed(high, span)}"
            interval = element("span", words, class_="interval")
        return [element("span", fixed(cell.value, span)), interval]
    number = _number(cell)
    if number is not None:
        return str(cell) if isinstance(cell, (int, np.integer)) else fixed(number, span)
    if cell is None or (isinstance(cell, float) and math.isnan(cell)):
        return element("span", "–", title="no value")
    return cell if isinstance(cell, Html) else str(cell)
