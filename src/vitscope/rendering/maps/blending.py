"""How colours are laid on a photograph, the same in every drawing, on every page and in the colour bar.

A value at the end of the scale covers the picture with ``opacity``, nothing covers nothing, and in between the cover
grows evenly: ``seen = picture + cover * (colour - picture)``. The photograph keeps its own colours.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from vitscope.rendering.colour import colourise

OPACITY = 0.85
"""The cover at the end of the scale where none is asked for; chosen by looking at twenty photographs on light and dark
pages, with the maps of signed and unsigned methods."""

GROUNDS = ((255, 255, 255), (56, 62, 70))
"""Light and dark, on which a colour bar shows what its colours look like over the light and the dark of a picture."""

Floats = NDArray[np.floating[Any]]


def cover(positions: Floats, diverging: bool) -> NDArray[np.float32]:
    """How much of the picture is covered at positions (...) of the scale, for an opacity of 1; 0 where there is no
    value."""
    known = np.nan_to_num(np.asarray(positions, dtype=np.float32), nan=0.5 if diverging else 0.0)
    known = np.clip(known, 0.0, 1.0)
    share: NDArray[np.float32] = np.abs(2 * known - 1) if diverging else known
    return share


def blend(
    ground: NDArray[Any], positions: Floats, name: str, diverging: bool, opacity: float
) -> NDArray[np.uint8]:
    """Positions (...) of the scale laid on colours (..., 3) in 0..255; RGB uint8."""
    share = (opacity * cover(positions, diverging))[..., None]
    under = np.asarray(ground, dtype=np.float32)
    mixed = under + share * (colourise(positions, name).astype(np.float32) - under)
    seen: NDArray[np.uint8] = np.rint(np.clip(mixed, 0, 255)).astype(np.uint8)
    return seen


def layer(positions: Floats, name: str, diverging: bool) -> NDArray[np.uint8]:
    """The same as a picture of its own, RGBA (..., 4): drawn with an opacity on a photograph, as a browser does, it
    gives what ``blend`` gives."""
    share = np.rint(255 * cover(positions, diverging)).astype(np.uint8)
    return np.concatenate([colourise(positions, name), share[..., None]], -1)
