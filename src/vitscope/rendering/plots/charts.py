"""Plots of numbers against each other: leaderboards with intervals, curves with bands, scatter plots."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from vitscope.errors import RenderingError
from vitscope.rendering.colour import categories
from vitscope.rendering.plots.figure import new_figure, style_axes, theme_of
from vitscope.rendering.plots.matrices import correlation_matrix, head_matrix
from vitscope.rendering.typography import fixed

__all__ = ["bars", "correlation_matrix", "curves", "head_matrix", "scatter"]

Band = tuple[ArrayLike, ArrayLike]

_DASHES = ("-", (0, (5, 1.5)), (0, (1.5, 1.2)), (0, (5, 1.5, 1.2, 1.5)))
"""Line patterns beside the colours, so that curves differ in print without colour too."""

_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "h")


def bars(
    names: Sequence[str],
    values: ArrayLike,
    low: ArrayLike | None = None,
    high: ArrayLike | None = None,
    *,
    title: str | None = None,
    label: str = "",
    sort: bool = True,
    highlight: Sequence[str] = (),
    controls: Sequence[str] = (),
    theme: str = "light",
) -> Figure:
    """A leaderboard: one horizontal bar per name with its interval from ``low`` to ``high`` and its number.

    Sorted downwards unless ``sort`` is false; names in ``controls`` are pale, those in ``highlight`` strong (none
    given: all are). A value that is not finite has no bar and says "no value".
    Raises ``RenderingError`` when the lengths differ or an interval does not hold its value.
    """
    look = theme_of(theme)
    heights = _vector("values", values, len(names))
    lower = _vector("low", heights if low is None else low, len(names))
    upper = _vector("high", heights if high is None else high, len(names))
    wrong = [name for name, a, v, b in zip(names, lower, heights, upper, strict=True) if a > v or v > b]
    if wrong:
        raise RenderingError(f"expected low ≤ value ≤ high, not so for {wrong[0]!r}; give ends, not widths")
    falling = np.where(np.isfinite(heights), -heights, np.inf)
    order = np.argsort(falling, kind="stable") if sort else np.arange(len(names))
    figure, axes = new_figure(6.4, 0.9 + 0.3 * max(1, len(names)), look)
    span = float(np.nanmax([*np.abs(lower), *np.abs(upper), 0.0])) or 1.0
    for place, index in enumerate(order):
        name, value = names[index], heights[index]
        if not np.isfinite(value):
            axes.text(0, place, " no value", va="center", fontsize=8, color=look.soft)
            continue
        strong = name in highlight if highlight else name not in controls
        axes.barh(place, value, height=0.66, color=look.accent if strong else look.muted, linewidth=0)
        ends = lower[index], upper[index]
        if np.isfinite(ends).all() and ends[1] > ends[0]:
            axes.plot(ends, (place, place), color=look.ink, linewidth=1.3, solid_capstyle="butt")
            axes.plot(ends, (place, place), "|", color=look.ink, markersize=6, markeredgewidth=1.3)
        edge = np.nanmax([value, ends[1], 0.0]) if value >= 0 else np.nanmin([value, ends[0], 0.0])
        shift, side = (4, "left") if value >= 0 else (-4, "right")
        axes.annotate(
            fixed(float(value), span),
            (float(edge), place),
            xytext=(shift, 0),
            textcoords="offset points",
            va="center",
            ha=side,
            fontsize=8,
            color=look.ink,
        )
    axes.set_yticks(range(len(names)), [str(names[index]) for index in order])
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.margins(x=0.12)
    axes.axvline(0, color=look.soft, linewidth=0.8)
    axes.set_xlim(*_padded(axes.get_xlim(), span))
    style_axes(axes, look, title=title, x=label, lines="x")
    axes.tick_params(axis="y", length=0, labelsize=9, labelcolor=look.ink)
    axes.spines["left"].set_visible(False)
    return figure


def curves(
    x: ArrayLike,
    series: Mapping[str, ArrayLike],
    bands: Mapping[str, Band] | None = None,
    *,
    title: str | None = None,
    x_label: str = "",
    y_label: str = "",
    highlight: Sequence[str] = (),
    zero: bool = False,
    theme: str = "light",
) -> Figure:
    """Curves over ``x`` (n,), each of ``series`` (n,) with an optional band (low (n,), high (n,)).

    At most ten curves have colours; with ``highlight`` all others are drawn grey and there may be any number.
    NaN leaves a gap. ``zero`` draws the zero line. Names stand at the right, in the order of the last values.
    """
    look = theme_of(theme)
    places = np.asarray(x, dtype=np.float64)
    lines = {name: _vector(name, values, places.size) for name, values in series.items()}
    strong = [name for name in lines if not highlight or name in highlight]
    shades = dict(zip(strong, categories(len(strong), look.paper), strict=True))
    figure, axes = new_figure(6.8, 3.8, look)
    for name in sorted(lines, key=lambda name: name in shades):
        shade = shades.get(name, look.muted)
        dash = _DASHES[strong.index(name) % len(_DASHES)] if name in shades else "-"
        width = 1.9 if name in shades else 1.0
        if bands and name in bands:
            lower, upper = (_vector(f"band of {name}", edge, places.size) for edge in bands[name])
            axes.fill_between(places, lower, upper, color=shade, alpha=0.18, linewidth=0)
        axes.plot(places, lines[name], color=shade, linestyle=dash, linewidth=width)
    if zero:
        axes.axhline(0, color=look.soft, linewidth=0.8)
    axes.margins(x=0.02)
    style_axes(axes, look, title=title, x=x_label, y=y_label)
    ends = {name: _last(lines[name]) for name in shades}
    handles = [
        axes.plot(
            [], [], color=shades[name], linestyle=_DASHES[strong.index(name) % len(_DASHES)], linewidth=1.9
        )[0]
        for name in sorted(shades, key=lambda name: -ends[name])
    ]
    if handles:
        axes.legend(
            handles,
            sorted(shades, key=lambda name: -ends[name]),
            loc="center left",
            bbox_to_anchor=(1.01, 0.5),
            frameon=False,
            fontsize=8.5,
            labelcolor=look.ink,
            handlelength=2.6,
        )
    return figure


def scatter(
    x: ArrayLike,
    y: ArrayLike,
    *,
    groups: Sequence[str] | None = None,
    names: Sequence[str] | None = None,
    title: str | None = None,
    x_label: str = "",
    y_label: str = "",
    diagonal: bool = False,
    theme: str = "light",
) -> Figure:
    """Points (n,) against (n,); ``groups`` (n) colours and shapes them, ``names`` (n) writes beside them.

    An empty name writes nothing. ``diagonal`` draws the line of equality. Points that are not finite are left
    out and counted in a corner.
    """
    look = theme_of(theme)
    across = np.asarray(x, dtype=np.float64).ravel()
    up = _vector("y", y, across.size)
    kinds = list(dict.fromkeys(groups)) if groups is not None else [""]
    member = (
        np.array([kinds.index(group) for group in groups])
        if groups is not None
        else np.zeros(across.size, int)
    )
    if member.size != across.size:
        raise RenderingError(f"expected {across.size} groups, got {member.size}; give one per point")
    shades = categories(len(kinds), look.paper) if groups is not None else [look.accent]
    figure, axes = new_figure(5.6, 4.4, look)
    finite = np.isfinite(across) & np.isfinite(up)
    for kind, (name, shade) in enumerate(zip(kinds, shades, strict=True)):
        chosen = finite & (member == kind)
        axes.scatter(
            across[chosen],
            up[chosen],
            s=26 if chosen.sum() < 400 else 7,
            marker=_MARKERS[kind % len(_MARKERS)],
            color=shade,
            alpha=0.85,
            linewidths=0.4,
            edgecolors=look.paper,
            label=name or None,
        )
    if diagonal and finite.any():
        axes.axline((0, 0), slope=1, color=look.soft, linewidth=0.8, linestyle=(0, (4, 3)))
    for index, text in enumerate(names or []):
        if text and finite[index]:
            axes.annotate(
                text,
                (across[index], up[index]),
                xytext=(5, 3),
                textcoords="offset points",
                fontsize=8,
                color=look.ink,
            )
    missing = int((~finite).sum())
    if missing:
        note = f"{missing} point{'s' if missing > 1 else ''} without a value not shown"
        axes.text(
            0.99, 0.01, note, transform=axes.transAxes, ha="right", va="bottom", fontsize=8, color=look.soft
        )
    style_axes(axes, look, title=title, x=x_label, y=y_label, lines="both")
    if groups is not None:
        axes.legend(
            loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False, fontsize=8.5, labelcolor=look.ink
        )
    return figure


def _vector(name: str, values: ArrayLike, length: int) -> NDArray[np.float64]:
    vector = np.asarray(values, dtype=np.float64).ravel()
    if vector.size != length:
        raise RenderingError(
            f"expected {length} numbers for {name!r}, got {vector.size}; give one per name or place"
        )
    return vector


def _last(values: NDArray[np.float64]) -> float:
    finite = values[np.isfinite(values)]
    return float(finite[-1]) if finite.size else -np.inf


def _padded(limits: tuple[float, float], span: float) -> tuple[float, float]:
    """Room for the numbers beyond the bars."""
    low, high = limits
    return low - (0.05 * span if low < 0 else 0.0), high + (0.08 * span if high > 0 else 0.0)
