"""Display scalings: how raw values become a position between 0 and 1 on a colour bar.

Display only. Raw maps are read and never written; what comes back is a new float32 array together with the raw
values that stand at the two ends and in the middle of the colour bar, so that a drawn map can still be read.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vitscope.errors import RenderingError, nearest

Extent = tuple[float, float, float, float]
"""A part of a picture: top, left, bottom and right edge as shares of its height and width."""

WHOLE: Extent = (0.0, 0.0, 1.0, 1.0)

Floats = NDArray[np.floating[Any]]

SCALINGS: dict[str, str] = {
    "minmax": "linear from minimum to maximum",
    "percentile": "linear between percentiles",
    "sqrt": "square root from minimum to maximum",
    "rank": "rank of each cell",
    "signed": "linear, zero in the middle",
    "daam": "linear over the whole flow (DAAM paper)",
    "daam-sigmoid": "sigmoid stretch, then linear per block (DAAM, newer display)",
}
"""Every scaling by name, with the words that a caption uses for it."""

SCOPES: dict[str, str] = {
    "map": "per map",
    "block": "per block",
    "flow": "per flow",
    "global": "over all maps",
}
"""Which maps share one scale: a map alone, one index of the first axis, the last leading axis, or all."""

_FLAT = 1e-6
"""A relative range below this is rounding of float32 and drawn as constant, not stretched into a pattern."""

_SIGMOID_SLOPE = 5.0
"""The slope in the released DAAM code (``utils/DAAM.py``): σ(5 x / maximum of the flow)."""


@dataclass(frozen=True)
class ScaledMaps:
    """Maps ready to be coloured.

    ``values`` (..., h, w) float32 lie in [0, 1], NaN where the raw value was not finite. ``low``, ``middle`` and
    ``high`` (...) are the raw values at 0, ½ and 1 of the colour bar (NaN for a map without finite cells).
    ``constant`` (...) marks maps whose scale has no extent, ``invalid`` (...) counts their cells that are not
    finite. ``diverging`` says that ½ is zero; ``clipped`` that the ends of the bar also stand for what lies beyond.
    ``extent`` is the part of the picture that the cells cover.
    """

    values: NDArray[np.float32]
    low: NDArray[np.float64]
    middle: NDArray[np.float64]
    high: NDArray[np.float64]
    constant: NDArray[np.bool_]
    invalid: NDArray[np.int64]
    scaling: str
    scope: str
    diverging: bool = False
    clipped: bool = False
    extent: Extent = WHOLE

    def at(self, *index: int) -> ScaledMaps:
        """The scaled maps at ``index`` of the leading axes, as a record of their own."""
        return ScaledMaps(
            self.values[index],
            np.asarray(self.low[index]),
            np.asarray(self.middle[index]),
            np.asarray(self.high[index]),
            np.asarray(self.constant[index]),
            np.asarray(self.invalid[index]),
            self.scaling,
            self.scope,
            self.diverging,
            self.clipped,
            self.extent,
        )

    @property
    def span(self) -> tuple[float, float]:
        """The positions on the colour bar from the lowest to the highest of the maps' finite values; (0, 1) without
        any, and for scalings that have no even positions in between."""
        known = self.values[np.isfinite(self.values)]
        if not known.size or self.scaling in ("sqrt", "rank", "daam-sigmoid") or bool(np.all(self.constant)):
            return 0.0, 1.0
        low, high = float(known.min()), float(known.max())
        return (low, high) if high > low else (0.0, 1.0)

    def value_at(self, position: float) -> float:
        """The raw value at a position on the bar of the first map; exact for scalings that run evenly."""
        low, high = (float(np.asarray(end).flat[0]) for end in (self.low, self.high))
        return low + (high - low) * position

    @property
    def description(self) -> str:
        """The scaling in words, for captions."""
        words = SCALINGS[self.scaling]
        return words if self.scaling.startswith("daam") else f"{words}, {SCOPES[self.scope]}"


def scale(
    maps: ArrayLike,
    scaling: str = "minmax",
    *,
    scope: str | None = None,
    percentiles: tuple[float, float] = (1.0, 99.0),
    extent: Extent = WHOLE,
) -> ScaledMaps:
    """Scale raw maps (..., h, w) for display.

    ``scaling`` is a name of ``SCALINGS``; ``scope`` one of ``SCOPES``: "map" (each h × w map by itself, the
    default), "block" (one scale per index of the first axis), "flow" (one scale per flow, the last leading
    axis; the default of "daam") or "global". ``percentiles`` are the ends used by "percentile".

    ``extent`` says which part of the picture the cells cover, as shares of its sides (top, left, bottom, right).

    Ties keep one rank (their average). Cells that are not finite take no part and come back as NaN.

    Raises ``RenderingError`` for an unknown name, fewer than two axes, no cells, or values that are not real.
    """
    raw = _as_maps(maps)
    if scaling not in SCALINGS:
        raise RenderingError(f"unknown scaling {scaling!r}; nearest: {', '.join(nearest(scaling, SCALINGS))}")
    scope = scope or ("flow" if scaling == "daam" else "map")
    if scope not in SCOPES:
        raise RenderingError(f"unknown scope {scope!r}; use one of {', '.join(SCOPES)}")
    start, stop = percentiles
    if not 0 <= start < stop <= 100:
        raise RenderingError(
            f"percentiles must rise within 0 and 100, got {percentiles}; the usual pair is (1, 99)"
        )
    if scaling == "daam-sigmoid":
        return replace(_sigmoid_flow(raw), extent=extent)

    lead = raw.shape[:-2]
    kept = {"map": len(lead), "block": min(1, len(lead)), "flow": max(0, len(lead) - 1), "global": 0}[scope]
    groups = raw.reshape(int(np.prod(lead[:kept], dtype=int)), -1)
    rules: dict[str, _Rule] = {
        "percentile": lambda cells: _linear(cells, *np.percentile(cells, [start, stop])),
        "sqrt": _square_root,
        "rank": _rank,
        "signed": _signed,
    }
    rule = rules.get(scaling, lambda cells: _linear(cells, cells.min(), cells.max()))
    parts = [_scale_group(group, rule) for group in groups]
    shape, spread = lead[:kept] + (1,) * (len(lead) - kept), lead

    def per_map(column: int, kind: type) -> NDArray[Any]:
        return np.broadcast_to(np.array([part[column] for part in parts], kind).reshape(shape), spread).copy()

    return ScaledMaps(
        values=np.stack([part[0] for part in parts]).reshape(raw.shape).astype(np.float32),
        low=per_map(1, np.float64),
        middle=per_map(2, np.float64),
        high=per_map(3, np.float64),
        constant=per_map(4, np.bool_),
        invalid=np.asarray((~np.isfinite(raw)).sum(axis=(-2, -1)), dtype=np.int64),
        scaling=scaling,
        scope=scope,
        diverging=scaling == "signed",
        clipped=scaling == "percentile",
        extent=extent,
    )


_Rule = Callable[[Floats], tuple[Floats, float, float, float]]


def _as_maps(maps: ArrayLike) -> NDArray[np.float64]:
    """The input as a float64 copy; float64 holds every float16, float32 and int32 exactly."""
    given = np.asarray(maps)
    if given.dtype.kind not in "fiub":
        raise RenderingError(
            f"expected maps of real numbers, got {given.dtype}; convert them to float32 first"
        )
    if given.ndim < 2 or given.size == 0:
        raise RenderingError(
            f"expected maps of shape (..., h, w), got {given.shape}; give at least one h × w map"
        )
    return np.array(given, dtype=np.float64)


def _scale_group(group: Floats, rule: _Rule) -> tuple[Floats, float, float, float, bool]:
    """One group that shares a scale: positions, raw low, middle, high, and whether it is constant."""
    positions = np.full(group.shape, np.nan)
    finite = np.isfinite(group)
    cells = group[finite]
    if cells.size == 0:
        return positions, np.nan, np.nan, np.nan, False
    # Dividing by the largest magnitude first keeps every difference finite, from subnormals to 1e308.
    peak = float(np.abs(cells).max()) or 1.0
    scaled, low, middle, high = rule(cells / peak)
    positions[finite] = scaled
    flat = bool(np.ptp(cells / peak) <= _FLAT)
    return positions, float(low * peak), float(middle * peak), float(high * peak), flat


def _linear(cells: Floats, low: float, high: float) -> tuple[Floats, float, float, float]:
    """Linear from ``low`` to ``high``, clipped; zero everywhere when there is no extent."""
    extent = high - low
    scaled = np.zeros_like(cells) if extent <= _FLAT else np.clip((cells - low) / extent, 0.0, 1.0)
    return scaled, float(low), float(low + extent / 2), float(high)


def _square_root(cells: Floats) -> tuple[Floats, float, float, float]:
    scaled, low, _, high = _linear(cells, cells.min(), cells.max())
    return np.sqrt(scaled), low, low + (high - low) / 4, high


def _rank(cells: Floats) -> tuple[Floats, float, float, float]:
    """(rank − 1) / (n − 1) with ties sharing their average rank; the middle is the median."""
    low, middle, high = (float(value) for value in np.quantile(cells, [0.0, 0.5, 1.0]))
    if high - low <= _FLAT:
        return np.zeros_like(cells), low, middle, high
    _, place, count = np.unique(cells, return_inverse=True, return_counts=True)
    last = np.cumsum(count)
    average = last - (count + 1) / 2
    return average[place.reshape(cells.shape)] / (cells.size - 1), low, middle, high


def _signed(cells: Floats) -> tuple[Floats, float, float, float]:
    """Zero always at ½, the largest magnitude at one end: equal distances from zero look equally strong."""
    limit = float(np.abs(cells).max())
    scaled = np.full_like(cells, 0.5) if limit == 0 else 0.5 + 0.5 * cells / limit
    return scaled, -limit, 0.0, limit


def _sigmoid_flow(raw: NDArray[np.float64]) -> ScaledMaps:
    """The newer display of the DAAM authors: σ(5 x / maximum of the flow), then min-max of every map by itself."""
    axes = tuple(range(max(0, raw.ndim - 3), raw.ndim))
    finite = np.isfinite(raw)
    top = np.max(np.abs(raw), axis=axes, keepdims=True, initial=0.0, where=finite)
    top = np.where(top > 0, top, 1.0)
    ratio = np.where(finite, raw, 0.0) / top
    stretched = scale(
        np.where(finite, 1.0 / (1.0 + np.exp(-_SIGMOID_SLOPE * ratio)), np.nan), "minmax", scope="map"
    )
    ends = scale(raw, "minmax", scope="map")
    with np.errstate(invalid="ignore"):  # a map without finite cells has no middle
        middle = np.log(stretched.middle / (1.0 - stretched.middle)) / _SIGMOID_SLOPE
    return ScaledMaps(
        values=stretched.values,
        low=ends.low,
        middle=middle * np.broadcast_to(top, raw.shape)[..., 0, 0],
        high=ends.high,
        constant=stretched.constant,
        invalid=stretched.invalid,
        scaling="daam-sigmoid",
        scope="map",
    )
