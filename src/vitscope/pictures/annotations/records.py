"""What is known about a picture on disk: its class, and the boxes and masks of the objects in it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vitscope.errors import DataError
from vitscope.pictures.read import MAX_PIXELS
from vitscope.pictures.truth import Box


@dataclass(frozen=True)
class ObjectRecord:
    """One annotated object. `polygons`: (x, y, x, y, ...) each; `runs`: column-major run lengths, zeros first."""

    box: Box
    class_index: int | None = None
    name: str | None = None
    polygons: tuple[tuple[float, ...], ...] = ()
    runs: tuple[int, ...] = ()
    hard: bool = False  # a crowd, or marked as difficult: left out of most protocols


@dataclass(frozen=True)
class PictureRecord:
    """One picture: where it is, its class, its size (height, width) if the annotations tell, and its objects."""

    path: Path
    label: int | None = None
    name: str | None = None
    size: tuple[int, int] | None = None
    objects: tuple[ObjectRecord, ...] = field(default=())

    def boxes(self, *, hard: bool = False) -> list[Box]:
        """The boxes of the objects; those of hard objects only when asked."""
        return [known.box for known in self.objects if hard or not known.hard]

    def mask(self, size: tuple[int, int] | None = None, *, hard: bool = False) -> NDArray[np.bool_] | None:
        """The union of the objects' masks (H, W), or None when no object has one.

        size: (height, width) of the picture, needed when the annotations do not tell it.

        Raises:
            DataError: when the size is unknown, or the runs of a mask do not fill it.
        """
        shown = [
            known for known in self.objects if (hard or not known.hard) and (known.polygons or known.runs)
        ]
        if not shown:
            return None
        height, width = size or self.size or (0, 0)
        if min(height, width) < 1 or height * width > MAX_PIXELS:
            raise DataError(
                f"Expected the size of {self.path.name} for its mask, got {height} x {width}; pass size=(H, W)"
            )
        union = np.zeros((height, width), dtype=bool)
        for known in shown:
            union |= (
                _filled(known.polygons, height, width)
                if known.polygons
                else _unrolled(known.runs, height, width)
            )
        return union


def checked_box(values: tuple[float, float, float, float], size: tuple[int, int] | None, where: str) -> Box:
    """The box, cut at the picture's border.

    Raises:
        DataError: when a value is not finite, or nothing is left of the box; `where` names the place in the file.
    """
    x0, y0, x1, y1 = values
    if not all(math.isfinite(value) for value in values) or x1 <= x0 or y1 <= y0:
        raise DataError(
            f"{where}: expected a box with x0 < x1 and y0 < y1, got {values}; correct or remove it"
        )
    if size is not None:
        height, width = size
        x0, y0, x1, y1 = max(x0, 0.0), max(y0, 0.0), min(x1, float(width)), min(y1, float(height))
        if x1 <= x0 or y1 <= y0:
            raise DataError(
                f"{where}: the box {values} lies outside its picture of {width} x {height} pixels; correct it"
            )
    return x0, y0, x1, y1


def _filled(polygons: tuple[tuple[float, ...], ...], height: int, width: int) -> NDArray[np.bool_]:
    """A pixel belongs to a polygon when its centre lies inside, by even-odd crossings along its row."""
    union = np.zeros((height, width), dtype=bool)
    for polygon in polygons:
        crossings = np.zeros((height, width + 1), dtype=np.intp)
        corners = list(zip(polygon[::2], polygon[1::2], strict=True))
        for (ax, ay), (bx, by) in zip(corners, corners[1:] + corners[:1], strict=True):
            low, high = (math.ceil(min(max(y - 0.5, 0.0), float(height))) for y in sorted((ay, by)))
            rows = np.arange(low, high)  # rows whose centre lies between the two ends
            # Corners of any finite size are legal, far outside the picture, too: what overflows lies there.
            with np.errstate(all="ignore"):
                x = ax + (rows + 0.5 - ay) * ((bx - ax) / (by - ay)) if low < high else np.zeros(0)
            x = np.nan_to_num(np.clip(x, -1.0, width + 1.0))
            np.add.at(crossings, (rows, np.clip(np.ceil(x - 0.5), 0, width).astype(np.intp)), 1)
        union |= crossings.cumsum(axis=1)[:, :width] % 2 == 1
    return union


def _unrolled(runs: tuple[int, ...], height: int, width: int) -> NDArray[np.bool_]:
    if sum(runs) != height * width:
        raise DataError(
            f"Expected mask runs that fill {height} x {width} pixels, got {sum(runs)}; the file is damaged"
        )
    values = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
    return values.reshape(width, height).T
