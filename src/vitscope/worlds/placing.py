"""Placing objects so that none touches another: many pictures at once, first fitting candidate wins."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

CANDIDATES: Final = 32  # places tried per object (or per group of parts) before giving up
GAP: Final = 2.0  # pixels of ground kept between the circles around two objects


@dataclass(frozen=True)
class Placed:
    """Circles that are taken: centres and radii (n, m) in pixels; radius 0 with an infinite centre is no object."""

    x: Floats
    y: Floats
    radius: Floats

    def also(self, x: Floats, y: Floats, radius: Floats) -> Placed:
        """These circles and one more set, (n,) or (n, k)."""
        shape = (len(self.x), -1)
        return Placed(
            np.concatenate([self.x, x.reshape(shape)], axis=1),
            np.concatenate([self.y, y.reshape(shape)], axis=1),
            np.concatenate([self.radius, radius.reshape(shape)], axis=1),
        )


def nothing_placed(count: int) -> Placed:
    empty = np.zeros((count, 0))
    return Placed(empty, empty, empty)


def place_group(x: Floats, y: Floats, radius: Floats) -> tuple[Floats, Floats, NDArray[np.bool_]]:
    """The first candidate arrangement in which no two of k parts touch.

    `x`, `y`: (n, CANDIDATES, k) candidate centres; `radius`: (n, k). Returns centres (n, k) and whether one fitted.
    """
    parts = x.shape[2]
    fits = np.ones(x.shape[:2], dtype=bool)
    for first in range(parts):
        for second in range(first + 1, parts):
            apart = radius[:, None, first] + radius[:, None, second] + GAP
            dx, dy = x[..., first] - x[..., second], y[..., first] - y[..., second]
            fits &= dx * dx + dy * dy >= apart * apart
    best = fits.argmax(axis=1)
    rows = np.arange(len(x))
    return x[rows, best], y[rows, best], fits[rows, best]


def place_beside(
    taken: Placed, x: Floats, y: Floats, radius: Floats
) -> tuple[Floats, Floats, NDArray[np.bool_]]:
    """The first of the candidate centres `x`, `y` (n, CANDIDATES) at which a circle touches none of `taken`."""
    dx, dy = x[:, :, None] - taken.x[:, None, :], y[:, :, None] - taken.y[:, None, :]
    apart = radius[:, None, None] + taken.radius[:, None, :] + GAP
    fits = np.asarray((dx * dx + dy * dy >= apart * apart).all(axis=2))
    best = fits.argmax(axis=1)
    rows = np.arange(len(x))
    return x[rows, best], y[rows, best], fits[rows, best]
