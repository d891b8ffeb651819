"""Painting silhouettes on a canvas of many pictures at once, with the exact mask of what was painted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from vitscope.worlds.grounds import Floats32, hsv, turns
from vitscope.worlds.silhouettes import REACH, RESOLUTION, templates

WINDOW: Final = 56  # side of the square of pixels in which one object is drawn
LEVELS: Final = 16  # coverage is rounded to this many steps, so a touched pixel changes by a visible amount
NUMBERS: Final = 6  # random numbers in [0, 1) that describe the looks of one object


@dataclass(frozen=True)
class Things:
    """One object per picture: kind (index into `KINDS`, -1: none), centre and scale in pixels, looks (n, NUMBERS)."""

    kind: NDArray[np.intp]
    x: Floats32
    y: Floats32
    scale: Floats32
    looks: NDArray[np.float64]

    def chosen(self, rows: NDArray[np.intp]) -> Things:
        return Things(self.kind[rows], self.x[rows], self.y[rows], self.scale[rows], self.looks[rows])


def paint(canvas: NDArray[np.uint8], things: Things) -> NDArray[np.bool_]:
    """Paint one object on each picture of `canvas` (n, size, size, 3) in place; returns the mask (n, size, size).

    The mask is true exactly where the object covers at least half a level (1/32) of a pixel, which is exactly
    where the canvas changes: objects are vivid, grounds are not.
    """
    mask = np.zeros(canvas.shape[:3], dtype=bool)
    rows = np.flatnonzero(things.kind >= 0)
    if rows.size:
        _paint_present(canvas, mask, rows, things.chosen(rows))
    return mask


def _paint_present(
    canvas: NDArray[np.uint8], mask: NDArray[np.bool_], rows: NDArray[np.intp], things: Things
) -> None:
    size = canvas.shape[1]
    left = np.clip(np.floor(things.x).astype(np.intp) - WINDOW // 2, 0, size - WINDOW)
    top = np.clip(np.floor(things.y).astype(np.intp) - WINDOW // 2, 0, size - WINDOW)
    offsets = np.arange(WINDOW, dtype=np.intp)
    columns, lines = left[:, None] + offsets, top[:, None] + offsets
    # Pixel centres in the object's own coordinates: moved, turned by up to 25 degrees, in units of its scale.
    cosine, sine = turns((things.looks[:, 0] - 0.5) * np.deg2rad(50.0))
    c, s = cosine[:, None, None], sine[:, None, None]
    dx = (columns.astype(np.float32) + np.float32(0.5) - things.x[:, None])[:, None, :]
    dy = (lines.astype(np.float32) + np.float32(0.5) - things.y[:, None])[:, :, None]
    scale = things.scale[:, None, None]
    u = ((dx * c + dy * s) / scale).astype(np.float32)
    v = ((dy * c - dx * s) / scale).astype(np.float32)
    coverage = np.clip(np.float32(0.5) - _distance(things.kind, u, v) * scale, 0.0, 1.0)
    coverage = np.rint(coverage * np.float32(LEVELS)) / np.float32(LEVELS)
    # A vivid colour with a soft shading across the object.
    colour = hsv(things.looks[:, 1], 0.65 + 0.35 * things.looks[:, 2], 0.87 + 0.13 * things.looks[:, 3])
    lean_x, lean_y = turns(things.looks[:, 4] * 2.0 * np.pi)
    shade = np.float32(12.0) * np.clip(u * lean_x[:, None, None] + v * lean_y[:, None, None], -1.0, 1.0)
    tint = colour[:, None, None, :] + shade[..., None]
    picture, line, column = rows[:, None, None], lines[:, :, None], columns[:, None, :]
    under = canvas[picture, line, column].astype(np.float32)
    painted = under + (tint - under) * coverage[..., None]
    canvas[picture, line, column] = np.clip(np.rint(painted), 0, 255).astype(np.uint8)
    mask[picture, line, column] = coverage > 0.0


def _distance(kind: NDArray[np.intp], u: Floats32, v: Floats32) -> Floats32:
    """Bilinear look-up (n, W, W) of the templates of `kind` (n,) at object coordinates (n, W, W)."""
    fields, _ = templates()
    step = np.float32((RESOLUTION - 1) / (2.0 * REACH))
    a = np.clip((u + np.float32(REACH)) * step, 0.0, RESOLUTION - 1.001).astype(np.float32)
    b = np.clip((v + np.float32(REACH)) * step, 0.0, RESOLUTION - 1.001).astype(np.float32)
    i, j = a.astype(np.intp), b.astype(np.intp)
    fa, fb = a - i.astype(np.float32), b - j.astype(np.float32)
    flat = fields.reshape(-1)
    corner = (kind[:, None, None] * RESOLUTION + j) * RESOLUTION + i
    above = flat[corner] * (1 - fa) + flat[corner + 1] * fa
    below = flat[corner + RESOLUTION] * (1 - fa) + flat[corner + RESOLUTION + 1] * fa
    return np.asarray(above * (1 - fb) + below * fb, dtype=np.float32)


MARK_SIDE: Final = 12  # a mark is 3 x 3 squares of 4 pixels
MARKS: Final[dict[str, tuple[str, str, str]]] = {
    "dot": ("...", ".#.", "..."),
    "plus": (".#.", "###", ".#."),
    "cross": ("#.#", ".#.", "#.#"),
    "ring": ("###", "#.#", "###"),
    "rows": ("###", "...", "###"),
    "columns": ("#.#", "#.#", "#.#"),
    "diagonal": ("#..", ".#.", "..#"),
    "corner": ("#..", "#..", "###"),
}


def paint_marks(
    canvas: NDArray[np.uint8], label: NDArray[np.intp], left: NDArray[np.intp], top: NDArray[np.intp],
    looks: NDArray[np.float64],
) -> NDArray[np.bool_]:  # fmt: skip
    """Paint the mark of each label as a small plate, bright squares on near black; returns masks (n, size, size)."""
    grids = np.array([[[sign == "#" for sign in row] for row in rows] for rows in MARKS.values()])
    plates = np.repeat(np.repeat(grids, MARK_SIDE // 3, axis=1), MARK_SIDE // 3, axis=2)[label]
    colour = hsv(looks[:, 1], 0.35 * looks[:, 2], 0.9 + 0.1 * looks[:, 3])
    tile = np.where(plates[..., None], colour[:, None, None, :], np.float32(12.0))
    offsets = np.arange(MARK_SIDE, dtype=np.intp)
    where = (
        np.arange(len(label))[:, None, None],
        (top[:, None] + offsets)[:, :, None],
        (left[:, None] + offsets)[:, None, :],
    )
    canvas[where] = np.rint(tile).astype(np.uint8)
    mask = np.zeros(canvas.shape[:3], dtype=bool)
    mask[where] = True
    return mask
