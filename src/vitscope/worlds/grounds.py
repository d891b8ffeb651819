"""Textured grounds of the planted-evidence worlds: muted, of four kinds, never as vivid as an object.

Only additions, multiplications, comparisons and rounding are used on pixels, so every machine draws the same bytes.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from vitscope.worlds.silhouettes import STEP

Floats32 = NDArray[np.float32]

GROUNDS: Final = ("clouds", "stripes", "chequer", "speckle")
BRIGHTEST: Final = (
    164  # no channel of a ground is above this, so a vivid object (some channel >= 207) always differs
)
NUMBERS: Final = 10  # random numbers in [0, 1) that describe one ground, besides its lattice
LATTICE: Final = 16  # nodes along a side of the random lattice that clouds, speckle and wobble are read from


def hsv(hue: NDArray[np.float64], saturation: NDArray[np.float64], value: NDArray[np.float64]) -> Floats32:
    """RGB in 0..255, shape (..., 3), of colours given by hue, saturation and value in 0..1."""
    channels = []
    for offset in (5.0, 3.0, 1.0):
        k = (offset + hue * 6.0) % 6.0
        channels.append(value - value * saturation * np.clip(np.minimum(k, 4.0 - k), 0.0, 1.0))
    return (np.stack(channels, axis=-1) * 255.0).astype(np.float32)


def turns(angle: NDArray[np.float64]) -> tuple[Floats32, Floats32]:
    """Cosine and sine of angles in radians, rounded to a coarse step so that they are equal on every machine."""
    return (
        (np.rint(np.cos(angle) / STEP) * STEP).astype(np.float32),
        (np.rint(np.sin(angle) / STEP) * STEP).astype(np.float32),
    )


def _value_noise(lattice: Floats32, cells: int, size: int) -> Floats32:
    """Smooth noise (n, size, size) from the first `cells` + 1 nodes along each side of random lattices (n, L, L)."""
    place = np.arange(size, dtype=np.float32) * np.float32(cells / size)
    low = place.astype(np.intp)
    part = place - low.astype(np.float32)
    part = part * part * (np.float32(3.0) - np.float32(2.0) * part)
    rows = lattice[:, low] * (1 - part)[None, :, None] + lattice[:, low + 1] * part[None, :, None]
    return np.asarray(rows[:, :, low] * (1 - part) + rows[:, :, low + 1] * part, dtype=np.float32)


def _triangle_wave(phase: Floats32) -> Floats32:
    return np.asarray(np.abs(np.float32(2.0) * (phase - np.floor(phase)) - np.float32(1.0)), dtype=np.float32)


def _sharpen(wave: Floats32, slope: float) -> Floats32:
    return np.asarray(
        np.clip((wave - np.float32(0.5)) * np.float32(slope) + np.float32(0.5), 0.0, 1.0), dtype=np.float32
    )


def draw_grounds(
    kinds: NDArray[np.intp], numbers: NDArray[np.float64], lattice: Floats32, grain: NDArray[np.uint8]
) -> NDArray[np.uint8]:
    """Grounds (n, size, size, 3) of the given kinds (n,).

    `numbers` (n, NUMBERS) and `lattice` (n, LATTICE, LATTICE) are uniform in [0, 1), `grain` (n, size, size) is
    random bytes: the fine grain of the surface.
    """
    count, size = grain.shape[0], grain.shape[1]
    mixing = np.zeros((count, size, size), dtype=np.float32)
    cosine, sine = turns(numbers[:, 0] * 2.0 * np.pi)
    period = (8.0 + 8.0 * numbers[:, 1]).astype(np.float32)
    line = np.arange(size, dtype=np.float32)
    for kind in range(len(GROUNDS)):
        chosen = np.flatnonzero(kinds == kind)
        if chosen.size == 0:
            continue
        c, s, p = (values[chosen, None, None] for values in (cosine, sine, period))
        nodes = lattice[chosen]
        along: Floats32 = ((line[None, None, :] * c + line[None, :, None] * s) / p).astype(np.float32)
        across: Floats32 = ((line[None, :, None] * c - line[None, None, :] * s) / p).astype(np.float32)
        if GROUNDS[kind] == "clouds":
            coarse, fine = _value_noise(nodes, 4, size), _value_noise(nodes, 12, size)
            mixing[chosen] = np.float32(0.65) * coarse + np.float32(0.35) * fine
        elif GROUNDS[kind] == "stripes":
            wobble = _value_noise(nodes, 5, size) * np.float32(0.9)
            mixing[chosen] = _sharpen(_triangle_wave(np.asarray(along + wobble, dtype=np.float32)), 2.0)
        elif GROUNDS[kind] == "chequer":
            mixing[chosen] = _sharpen(np.float32(0.5) * (_triangle_wave(along) + _triangle_wave(across)), 4.0)
        else:
            mixing[chosen] = _sharpen(_value_noise(nodes, 15, size), 3.0)
    hue, saturation, value = numbers[:, 2], 0.08 + 0.27 * numbers[:, 3], 0.36 + 0.12 * numbers[:, 4]
    first = hsv(hue, saturation, value)
    second = hsv(
        (hue + 0.16 * (numbers[:, 5] - 0.5)) % 1.0,
        0.08 + 0.27 * numbers[:, 6],
        value + 0.08 + 0.05 * numbers[:, 7],
    )
    colours = first[:, None, None] + (second - first)[:, None, None] * mixing[..., None]
    grained = colours + ((grain % 13).astype(np.float32) - np.float32(6.0))[..., None]
    return np.asarray(np.clip(np.rint(grained), 0, BRIGHTEST), dtype=np.uint8)
