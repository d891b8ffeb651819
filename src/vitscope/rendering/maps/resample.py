"""Enlarging a map to the size of a picture, for display only."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vitscope.errors import RenderingError, nearest

UPSAMPLINGS: dict[str, str] = {"nearest": "nearest", "bilinear": "bilinear", "bicubic": "bicubic"}
"""Upsamplings by name. Nearest shows the model's own grid; the others show a resolution that is not there."""

_FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


def check_upsampling(name: str) -> str:
    """``name``, if it is known; raises ``RenderingError`` otherwise."""
    if name not in UPSAMPLINGS:
        raise RenderingError(f"unknown upsampling {name!r}; nearest: {', '.join(nearest(name, UPSAMPLINGS))}")
    return name


def place(
    values: NDArray[np.float32],
    size: tuple[int, int],
    upsampling: str,
    extent: tuple[float, float, float, float],
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """A map (h, w) laid over the part ``extent`` (top, left, bottom, right, as shares) of a drawing, which may
    reach beyond it.

    ``size`` = (width, height) of the drawing. Returns (height, width) values, NaN outside the part and where the map
    has no finite value, and which pixels lie inside."""
    width, height = size
    top, left, bottom, right = (
        round(share * side) for share, side in zip(extent, (height, width, height, width), strict=True)
    )
    inside = np.zeros((height, width), dtype=np.bool_)
    placed = np.full((height, width), np.nan, dtype=np.float32)
    large = enlarge(values, (max(1, right - left), max(1, bottom - top)), upsampling)
    rows, columns = slice(max(0, top), min(height, bottom)), slice(max(0, left), min(width, right))
    inside[rows, columns] = True
    placed[rows, columns] = large[
        rows.start - top : rows.stop - top, columns.start - left : columns.stop - left
    ]
    return placed, inside


def enlarge(
    values: NDArray[np.float32], size: tuple[int, int], upsampling: str = "nearest"
) -> NDArray[np.float32]:
    """Positions (h, w) in [0, 1] to (height, width) for ``size`` = (width, height); a new array.

    Cells that are NaN stay NaN over their whole area and take no part in their neighbours' interpolation (a map
    that has such cells is interpolated bilinearly where bicubic was asked for).
    """
    check_upsampling(upsampling)
    width, height = size
    rows = np.arange(height) * values.shape[0] // height
    columns = np.arange(width) * values.shape[1] // width
    blocks = values[np.ix_(rows, columns)]
    if upsampling == "nearest":
        return blocks.astype(np.float32)
    finite = np.isfinite(values)
    if finite.all():
        filled = _resize(values, size, upsampling)
    else:
        # Bilinear weights are never negative, so this division is safe where bicubic's would not be.
        weight = _resize(finite.astype(np.float32), size, "bilinear")
        held = _resize(np.where(finite, values, 0.0), size, "bilinear")
        filled = np.asarray(held / np.maximum(weight, 1e-6), dtype=np.float32)
    return np.where(np.isfinite(blocks), np.clip(filled, 0.0, 1.0), np.nan).astype(np.float32)


def _resize(values: NDArray[np.floating], size: tuple[int, int], upsampling: str) -> NDArray[np.float32]:
    picture = Image.fromarray(np.ascontiguousarray(values, dtype=np.float32), mode=None)
    return np.asarray(picture.resize(size, _FILTERS[upsampling]), dtype=np.float32)
