"""Tables of a page: sortable ones with intervals, matrices as coloured cells, colour bars, shares as bars."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from markupsafe import Markup
from numpy.typing import ArrayLike

from vitscope.errors import RenderingError
from vitscope.rendering.colour import check_colour, colourise, css_gradient, default_colour, ink_on, to_hex
from vitscope.rendering.maps.colourbar import Bar
from vitscope.rendering.pages.markup import HERE
from vitscope.rendering.pages.templating import part
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
) -> Markup:
    """See ``Page.table``. Raises ``RenderingError`` when a row's length differs from the columns'."""
    heads = [Column(column) if isinstance(column, str) else column for column in columns]
    for row in rows:
        if len(row) != len(heads):
            raise RenderingError(
                f"expected rows of {len(heads)} cells, got one of {len(row)}; fill gaps with None"
            )
    spans = [_span([row[index] for row in rows]) for index in range(len(heads))]
    best = [_best_value(head, [row[index] for row in rows]) for index, head in enumerate(heads)]
    body = [[_cell(cell, heads[i], spans[i], best[i]) for i, cell in enumerate(row)] for row in rows]
    return part(HERE, "tables.html", "table", heads, body, caption, sortable)


def heat_table(
    values: ArrayLike,
    row_names: Sequence[str],
    column_names: Sequence[str],
    *,
    caption: str = "",
    corner: str = "",
    signed: bool = False,
    colour: str | None = None,
) -> Markup:
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
        cells: list[dict[str, Any] | None] = []
        for place, value in enumerate(row):
            if not math.isfinite(value):
                cells.append(None)
                continue
            shade = shades[index, place]
            cells.append(
                {
                    "paper": to_hex(shade),
                    "ink": to_hex(ink_on(shade)),
                    "peak": value == top and len(column_names) > 1,
                    "title": f"{value:.6g}",
                    "text": numeral(float(value), 2),
                }
            )
        rows.append({"name": row_name, "cells": cells})
    bar = colour_bar(name, numeral(low), numeral((low + high) / 2), numeral(high))
    return part(HERE, "tables.html", "heat", rows, list(column_names), caption, corner, bar)


def colour_bar(name: str, low: str, middle: str, high: str) -> Markup:
    """A horizontal colour bar with three labels."""
    return part(HERE, "tables.html", "colour_bar", css_gradient(name), low, middle, high)


def share_bars(entries: Sequence[tuple[str, float]], *, marked: str | None = None) -> Markup:
    """Names with shares between 0 and 1 as bars with percentages; the ``marked`` name is emphasised."""
    rows = []
    for name, share in entries:
        length = min(1.0, max(0.0, share)) if math.isfinite(share) else 0.0
        words = f"{100 * share:.1f} %".replace("-", "−") if math.isfinite(share) else "no value"
        rows.append({"name": name, "words": words, "width": f"{100 * length:.2f}", "marked": name == marked})
    return part(HERE, "tables.html", "shares", rows)


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


def _cell(cell: Any, column: Column, span: float, best: float | None) -> dict[str, Any]:
    """What the template shows of a cell: its text (None for no value), interval, number to sort by, classes."""
    value = _number(cell)
    found = [("number", column.numeric), ("best", value is not None and value == best)]
    classes = " ".join(word for word, wanted in found if wanted) or None
    shown: dict[str, Any] = {"value": value, "classes": classes, "interval": None, "measure": False}
    if isinstance(cell, Measure):
        low, high = cell.low, cell.high
        if low is not None and high is not None and math.isfinite(low) and math.isfinite(high):
            shown["interval"] = f"{fixed(low, span)} to {fixed(high, span)}"
        return {**shown, "text": fixed(cell.value, span), "measure": True}
    if value is not None:
        return {**shown, "text": str(cell) if isinstance(cell, (int, np.integer)) else fixed(value, span)}
    if cell is None or (isinstance(cell, float) and math.isnan(cell)):
        return {**shown, "text": None}
    return {**shown, "text": cell if isinstance(cell, Markup) else str(cell)}


def blended_bar(bar: Bar) -> Markup:
    """The colour bar of a map that is laid on a photograph, with its labels where their values are."""
    return part(HERE, "tables.html", "blended_bar", bar.css(), bar.texts, f"{100 * bar.at[1]:.4g}%")
