"""Silhouettes: signed-distance templates of the objects drawn in the planted-evidence worlds.

Every silhouette has unit area, so an object drawn at scale `s` covers about `s * s` pixels whatever its kind:
the area of an object says nothing about its kind. A template holds signed distances (negative inside) on a square
grid over [-REACH, REACH]²; one bilinear look-up then draws any kind at any place, turn and size.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

REACH: Final = 1.125  # half the side of a template, in units of the square root of the object's area
RESOLUTION: Final = 145  # nodes along a side of a template
# Distances are rounded to this step: the last bit of a sine differs between machines, the rounded value does not.
STEP: Final = 2.0**-14


def _axes() -> tuple[Floats, Floats]:
    line = np.linspace(-REACH, REACH, RESOLUTION)
    return np.meshgrid(line, line)


def _polygon(vertices: list[tuple[float, float]]) -> Callable[[Floats, Floats], Floats]:
    """Signed distance to a simple polygon: distance to the nearest edge, sign by even-odd crossings."""

    def distance(x: Floats, y: Floats) -> Floats:
        nearest = np.full(x.shape, np.inf)
        inside = np.zeros(x.shape, dtype=bool)
        for (ax, ay), (bx, by) in zip(vertices, vertices[1:] + vertices[:1], strict=True):
            ex, ey = bx - ax, by - ay
            along = np.clip(((x - ax) * ex + (y - ay) * ey) / (ex * ex + ey * ey), 0.0, 1.0)
            nearest = np.minimum(nearest, np.hypot(x - ax - along * ex, y - ay - along * ey))
            if ey != 0.0:
                crosses = (ay > y) != (by > y)
                inside ^= crosses & (x < ax + (y - ay) * ex / ey)
        return np.where(inside, -nearest, nearest)

    return distance


def _disc(radius: float, cx: float = 0.0, cy: float = 0.0) -> Callable[[Floats, Floats], Floats]:
    return lambda x, y: np.hypot(x - cx, y - cy) - radius


def _capsule(half: float, radius: float) -> Callable[[Floats, Floats], Floats]:
    return lambda x, y: np.hypot(x - np.clip(x, -half, half), y) - radius


def _star() -> list[tuple[float, float]]:
    turns = [np.pi * k / 5 - np.pi / 2 for k in range(10)]
    return [(float(r * np.cos(t)), float(r * np.sin(t))) for t, r in zip(turns, [1.0, 0.46] * 5, strict=True)]


def _heart() -> list[tuple[float, float]]:
    angles = np.linspace(0.0, 2.0 * np.pi, 72, endpoint=False)
    x = 16.0 * np.sin(angles) ** 3
    y = -(13.0 * np.cos(angles) - 5.0 * np.cos(2 * angles) - 2.0 * np.cos(3 * angles) - np.cos(4 * angles))
    return [(float(a), float(b)) for a, b in zip(x / 16.0, y / 16.0, strict=True)]


def _drop() -> list[tuple[float, float]]:
    angles = np.linspace(0.0, 2.0 * np.pi, 64, endpoint=False)
    x = 0.82 * np.sin(angles) * np.sin(angles / 2.0) ** 1.6
    return [(float(a), float(b)) for a, b in zip(x, -np.cos(angles), strict=True)]


def _ring(x: Floats, y: Floats) -> Floats:
    return np.abs(np.hypot(x, y) - 0.76) - 0.24


def _crescent(x: Floats, y: Floats) -> Floats:
    return np.maximum(_disc(1.0)(x, y), -_disc(0.78, 0.5, 0.0)(x, y))


def _lens(x: Floats, y: Floats) -> Floats:
    return np.maximum(_disc(1.25, 0.0, 0.85)(x, y), _disc(1.25, 0.0, -0.85)(x, y))


def _frame(x: Floats, y: Floats) -> Floats:
    return np.abs(np.maximum(np.abs(x), np.abs(y)) - 0.74) - 0.26


def _dumbbell(x: Floats, y: Floats) -> Floats:
    ends = np.minimum(_disc(0.36, -0.64)(x, y), _disc(0.36, 0.64)(x, y))
    return np.minimum(ends, _capsule(0.6, 0.1)(x, y))


def _box(x0: float, y0: float, x1: float, y1: float) -> list[tuple[float, float]]:
    return [(x0, y0), (x1, y0), (x1, y1), (x0, y1)]


_PLUS = [
    (-0.32, -1.0), (0.32, -1.0), (0.32, -0.32), (1.0, -0.32), (1.0, 0.32), (0.32, 0.32),
    (0.32, 1.0), (-0.32, 1.0), (-0.32, 0.32), (-1.0, 0.32), (-1.0, -0.32), (-0.32, -0.32),
]  # fmt: skip
_ARROW = [(0.0, -1.0), (0.9, 0.0), (0.36, 0.0), (0.36, 0.95), (-0.36, 0.95), (-0.36, 0.0), (-0.9, 0.0)]
_HOURGLASS = [(-0.8, -0.95), (0.8, -0.95), (0.24, 0.0), (0.8, 0.95), (-0.8, 0.95), (-0.24, 0.0)]
_BRACKET = [(-0.9, -0.9), (-0.28, -0.9), (-0.28, 0.28), (0.9, 0.28), (0.9, 0.9), (-0.9, 0.9)]
_ZIGZAG = [
    (-1.0, -0.75), (0.25, -0.75), (0.25, 0.35), (1.0, 0.35), (1.0, 0.75), (-0.25, 0.75), (-0.25, -0.35), (-1.0, -0.35),
]  # fmt: skip

_SHAPES: Final[dict[str, Callable[[Floats, Floats], Floats]]] = {
    "disc": _disc(1.0),
    "square": _polygon(_box(-1.0, -1.0, 1.0, 1.0)),
    "triangle": _polygon([(0.0, -1.0), (0.8660254, 0.5), (-0.8660254, 0.5)]),
    "star": _polygon(_star()),
    "plus": _polygon(_PLUS),
    "ring": _ring,
    "crescent": _crescent,
    "heart": _polygon(_heart()),
    "arrow": _polygon(_ARROW),
    "hourglass": _polygon(_HOURGLASS),
    "drop": _polygon(_drop()),
    "frame": _frame,
    "bar": _capsule(0.75, 0.36),
    "lens": _lens,
    "bracket": _polygon(_BRACKET),
    "zigzag": _polygon(_ZIGZAG),
    "dumbbell": _dumbbell,
}

OBJECTS: Final = tuple(list(_SHAPES)[:12])
DISTRACTORS: Final = tuple(list(_SHAPES)[12:])
KINDS: Final = OBJECTS + DISTRACTORS


@lru_cache(maxsize=1)
def templates() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Signed distances (kinds, RESOLUTION, RESOLUTION) and circumradii (kinds,), for silhouettes of unit area.

    Both are in units of the square root of the area; kinds are in the order of `KINDS`; negative means inside.
    """
    x, y = _axes()
    fields, radii = [], []
    for shape in _SHAPES.values():
        # No node of this grid lies on an edge, so that no machine's last bit decides which side a node is on.
        fine = np.linspace(-1.4137, 1.4291, 401)
        gx, gy = np.meshgrid(fine, fine)
        inside = shape(gx, gy) <= 0.0
        side = round(float(np.sqrt(inside.sum()) * (fine[1] - fine[0])), 6)
        radius, cx, cy = min(_circle(gx[inside], gy[inside], centre) for centre in (_centroid, _middle))
        field = shape(x * side + cx, y * side + cy) / side
        fields.append(np.rint(field / STEP) * STEP)
        radii.append(np.ceil(radius / side * 256.0) / 256.0)
    return np.stack(fields).astype(np.float32), np.array(radii, dtype=np.float32)


def _centroid(values: Floats) -> float:
    return round(float(values.mean()), 6)


def _middle(values: Floats) -> float:
    return round(float(values.min() + values.max()) / 2.0, 6)


def _circle(x: Floats, y: Floats, centre: Callable[[Floats], float]) -> tuple[float, float, float]:
    cx, cy = centre(x), centre(y)
    return float(np.hypot(x - cx, y - cy).max()), cx, cy
