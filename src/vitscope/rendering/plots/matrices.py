"""Matrices as heat maps with their numbers: blocks × heads, and correlations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import ArrayLike, NDArray

from vitscope.errors import RenderingError
from vitscope.rendering.colour import (
    INVALID_DARK,
    INVALID_LIGHT,
    MAGNITUDE_COLOURS,
    SIGNED_COLOURS,
    check_colour,
    colourise,
    default_colour,
    ink_on,
    to_hex,
)
from vitscope.rendering.plots.figure import Theme, new_figure, style_axes, theme_of
from vitscope.rendering.typography import numeral

_MOST_NUMBERED = 24
"""Numbers are written into the cells up to this many columns; beyond, they would not be readable."""


def head_matrix(
    values: ArrayLike,
    *,
    title: str | None = None,
    label: str = "",
    signed: bool = False,
    colour: str | None = None,
    numbers: bool | None = None,
    second: ArrayLike | None = None,
    second_label: str = "",
    block_labels: Sequence[str] | None = None,
    head_labels: Sequence[str] | None = None,
    theme: str = "light",
) -> Figure:
    """Blocks (rows, the first on top) × heads (columns) as colours with numbers; ``values`` (L, H).

    ``signed`` takes a diverging map with zero in the middle. ``block_labels`` and ``head_labels`` stand beside the rows
    and below the columns; without them nothing does. ``second`` (L, H)
    is drawn as a small square in each cell's corner, larger for a larger magnitude. A head without a
    value (NaN; blocks may have different numbers of heads) is hatched.
    """
    matrix = _matrix(values)
    look = theme_of(theme)
    rows, columns = matrix.shape
    name = check_colour(colour or default_colour(signed), signed)
    finite = matrix[np.isfinite(matrix)]
    limit = float(np.abs(finite).max()) if finite.size else 0.0
    low, high = (-limit, limit) if signed else _range(finite)
    figure, axes = new_figure(1.9 + 0.5 * min(columns, 40), 1.2 + 0.33 * rows, look)
    _heat(axes, matrix, low, high, name, look, columns <= _MOST_NUMBERED if numbers is None else numbers)
    if second is not None:
        other = _matrix(second)
        if other.shape != matrix.shape:
            raise RenderingError(f"expected a second matrix of shape {matrix.shape}, got {other.shape}")
        _corner_squares(axes, other, look)
    step = max(1, columns // 24)
    axes.set_xticks(range(0, columns, step), _labels(head_labels, columns)[::step])
    axes.set_yticks(range(rows), _labels(block_labels, rows))
    note = f"head\n▪ size: {second_label}" if second is not None and second_label else "head"
    _finish(figure, axes, look, title, note, "block")
    _bar(figure, axes, low, high, name, label, look)
    return figure


def correlation_matrix(
    values: ArrayLike,
    names: Sequence[str],
    *,
    title: str | None = None,
    label: str = "rank correlation",
    colour: str | None = None,
    theme: str = "light",
) -> Figure:
    """Correlations (n, n) from −1 to 1 with their numbers; zero is pale, whatever the values."""
    matrix = _matrix(values)
    if matrix.shape != (len(names), len(names)):
        raise RenderingError(
            f"expected a {len(names)} × {len(names)} matrix for the names, got {matrix.shape}"
        )
    if np.nanmax(np.abs(matrix), initial=0.0) > 1 + 1e-6:
        raise RenderingError("expected correlations within −1 and 1; use head_matrix for other values")
    look = theme_of(theme)
    name = check_colour(colour or default_colour(True), True)
    count = len(names)
    figure, axes = new_figure(max(4.8, 2.6 + 0.55 * count), 1.7 + 0.42 * count, look)
    _heat(axes, matrix, -1.0, 1.0, name, look, count <= _MOST_NUMBERED, digits=2)
    axes.set_xticks(range(count), list(names), rotation=40, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(count), list(names))
    _finish(figure, axes, look, title, "", "")
    _bar(figure, axes, -1.0, 1.0, name, label, look)
    return figure


def _labels(labels: Sequence[str] | None, count: int) -> list[str]:
    """The given labels, or empty ones; raises ``RenderingError`` when their number differs."""
    if labels is not None and len(labels) != count:
        raise RenderingError(f"expected {count} labels, got {len(labels)}; give one for each row and column")
    return [""] * count if labels is None else list(labels)


def _matrix(values: ArrayLike) -> NDArray[np.float64]:
    matrix = np.array(values, dtype=np.float64)
    if matrix.ndim != 2 or matrix.size == 0:
        raise RenderingError(
            f"expected a matrix with rows and columns, got shape {matrix.shape}; give two axes"
        )
    matrix[~np.isfinite(matrix)] = np.nan
    return matrix


def _range(finite: NDArray[np.float64]) -> tuple[float, float]:
    """From the smallest to the largest value; from zero when all values are equal."""
    if finite.size == 0:
        return 0.0, 1.0
    low, high = float(finite.min()), float(finite.max())
    if high > low:
        return low, high
    return (min(0.0, low), max(0.0, low)) if low else (0.0, 1.0)


def _heat(
    axes: Axes,
    matrix: NDArray[np.float64],
    low: float,
    high: float,
    name: str,
    look: Theme,
    numbers: bool,
    digits: int | None = None,
) -> None:
    extent = (high - low) or 1.0
    shades = colourise((matrix - low) / extent, name)
    axes.imshow(shades, interpolation="nearest", aspect="auto")
    for row, column in np.argwhere(np.isnan(matrix)):
        corner = (column - 0.5, row - 0.5)
        hatch: dict[str, Any] = {
            "facecolor": to_hex(INVALID_LIGHT),
            "edgecolor": to_hex(INVALID_DARK),
            "linewidth": 0,
        }
        axes.add_patch(Rectangle(corner, 1, 1, hatch="////", **hatch))
    for edge in np.arange(0.5, matrix.shape[1] - 1):
        axes.axvline(edge, color=look.paper, linewidth=1.2)
    for edge in np.arange(0.5, matrix.shape[0] - 1):
        axes.axhline(edge, color=look.paper, linewidth=1.2)
    if not numbers:
        return
    for (row, column), value in np.ndenumerate(matrix):
        if np.isfinite(value):
            text = numeral(float(value), 2) if digits is None else f"{value:.{digits}f}".replace("-", "−")
            ink = to_hex(ink_on(shades[row, column]))
            axes.text(column, row, text, ha="center", va="center", fontsize=7.5, color=ink)


def _corner_squares(axes: Axes, second: NDArray[np.float64], look: Theme) -> None:
    """Squares whose area follows the magnitude of the second metric, in the upper right corner of each cell."""
    top = float(np.nanmax(np.abs(second), initial=0.0)) or 1.0
    for (row, column), value in np.ndenumerate(second):
        if np.isfinite(value):
            side = 0.34 * float(np.sqrt(abs(value) / top))
            place = (column + 0.46 - side * 0.66, row - 0.46)
            axes.add_patch(
                Rectangle(place, side * 0.66, side, facecolor=look.paper, edgecolor=look.ink, linewidth=0.6)
            )


def _finish(figure: Figure, axes: Axes, look: Theme, title: str | None, x: str, y: str) -> None:
    style_axes(axes, look, title=title, x=x, y=y, lines="")
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.tick_params(length=0, labelsize=8.5, labelcolor=look.ink)


def _bar(figure: Figure, axes: Axes, low: float, high: float, name: str, label: str, look: Theme) -> None:
    known = {**MAGNITUDE_COLOURS, **SIGNED_COLOURS}
    scale = mpl.cm.ScalarMappable(mpl.colors.Normalize(low, high), mpl.colormaps[known[name]])
    bar = figure.colorbar(scale, ax=axes, fraction=0.04, pad=0.02, aspect=24)
    bar.set_ticks([low, (low + high) / 2, high], labels=[numeral(v) for v in (low, (low + high) / 2, high)])
    bar.ax.tick_params(colors=look.soft, labelsize=8, length=2, labelcolor=look.ink)
    bar.outline.set_edgecolor(look.line)
    if label:
        bar.set_label(label, fontsize=9, color=look.soft)
