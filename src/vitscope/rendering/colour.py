"""Colours: perceptual maps for magnitudes, diverging maps for signed values, categories for the colour-blind."""

from __future__ import annotations

from functools import cache
from typing import Any

import matplotlib as mpl
import numpy as np
from numpy.typing import ArrayLike, NDArray

from vitscope.errors import RenderingError, nearest

RGB = tuple[int, int, int]

MAGNITUDE_COLOURS: dict[str, str] = {
    "viridis": "viridis",
    "cividis": "cividis",
    "magma": "magma",
    "grey": "gray",
}
"""Maps whose lightness rises evenly with the value, by our name and matplotlib's."""

SIGNED_COLOURS: dict[str, str] = {"blue-red": "RdBu_r", "purple-orange": "PuOr_r"}
"""Diverging maps: pale at zero (always the middle), darker with the magnitude; safe for red-green blindness."""

REFUSED_COLOURS = ("jet", "rainbow", "turbo", "hsv", "nipy_spectral", "gist_rainbow", "spectral")

# The ten-colour sequence of M. Petroff, "Accessible Color Sequences for Data Visualization" (arXiv 2107.02270),
# chosen there for colour-vision deficiency, lightness differences and naming.
CATEGORY_COLOURS = (
    "#3f90da",
    "#ffa90e",
    "#bd1f01",
    "#94a4a2",
    "#832db6",
    "#a96b59",
    "#e76300",
    "#b9ac70",
    "#717581",
    "#92dadd",
)

INVALID_LIGHT: RGB = (224, 224, 224)
INVALID_DARK: RGB = (120, 120, 120)
"""The two greys of the hatching that marks cells without a finite value."""


def default_colour(diverging: bool) -> str:
    """The colour map used when none is named."""
    return "blue-red" if diverging else "viridis"


def check_colour(name: str, diverging: bool) -> str:
    """``name`` itself, if it is a colour map that suits magnitudes (or, with ``diverging``, signed values).

    Raises ``RenderingError`` otherwise; rainbow maps are refused with the reason.
    """
    wanted = SIGNED_COLOURS if diverging else MAGNITUDE_COLOURS
    if name in wanted:
        return name
    if name.lower() in REFUSED_COLOURS:
        raise RenderingError(
            f"the colour map {name!r} is refused because its lightness rises and falls, which draws edges that are "
            f"not in the map; use {default_colour(diverging)}"
        )
    kind = "signed values" if diverging else "magnitudes"
    if name in SIGNED_COLOURS or name in MAGNITUDE_COLOURS:
        raise RenderingError(f"the colour map {name!r} does not suit {kind}; use one of {', '.join(wanted)}")
    near = ", ".join(nearest(name, wanted))
    raise RenderingError(f"unknown colour map {name!r} for {kind}; nearest: {near}")


@cache
def lookup_table(name: str) -> NDArray[np.uint8]:
    """The 256 RGB colours of a map, (256, 3) uint8, read-only."""
    known = {**MAGNITUDE_COLOURS, **SIGNED_COLOURS}
    if name not in known:
        check_colour(name, diverging=False)
    table = np.asarray(mpl.colormaps[known[name]](np.arange(256), bytes=True))[:, :3].astype(np.uint8)
    table.setflags(write=False)
    return table


def colourise(values: ArrayLike, name: str) -> NDArray[np.uint8]:
    """RGB (..., 3) uint8 for positions (...) in [0, 1]; NaN becomes a light grey.

    Positions outside [0, 1] take the end colours.
    """
    positions = np.asarray(values, dtype=np.float64)
    finite = np.isfinite(positions)
    index = np.rint(np.where(finite, np.clip(positions, 0.0, 1.0), 0.0) * 255).astype(np.intp)
    colours: NDArray[np.uint8] = lookup_table(name)[index]
    colours[~finite] = INVALID_LIGHT
    return colours


def categories(count: int, background: str = "#ffffff") -> list[str]:
    """The first ``count`` category colours as ``#rrggbb``; lightened on a dark background until they stand out.

    Raises ``RenderingError`` above ten: more cannot be told apart; group the rest or label them directly.
    """
    if not 0 <= count <= len(CATEGORY_COLOURS):
        raise RenderingError(
            f"expected at most {len(CATEGORY_COLOURS)} categories, got {count}; group the rest as one grey category"
        )
    return [_raised(colour, background) for colour in CATEGORY_COLOURS[:count]]


def css_gradient(name: str, stops: int = 17) -> str:
    """A CSS ``linear-gradient`` to the right that shows the colour map."""
    table = lookup_table(name)
    picks = [table[round(i * 255 / (stops - 1))] for i in range(stops)]
    return f"linear-gradient(to right,{','.join(to_hex(pick) for pick in picks)})"


def to_hex(colour: Any) -> str:
    """``#rrggbb`` of three numbers in 0..255."""
    red, green, blue = (int(part) for part in colour)
    return f"#{red:02x}{green:02x}{blue:02x}"


def contrast(first: RGB, second: RGB) -> float:
    """WCAG 2 contrast ratio of two colours, 1 to 21."""
    low, high = sorted((_luminance(first), _luminance(second)))
    return (high + 0.05) / (low + 0.05)


def ink_on(background: Any) -> RGB:
    """Near-black or white, whichever reads better on ``background``."""
    red, green, blue = (int(part) for part in background)
    dark, light = (20, 20, 20), (255, 255, 255)
    colour = (red, green, blue)
    return dark if contrast(dark, colour) >= contrast(light, colour) else light


def _raised(colour: str, background: str) -> str:
    """On dark paper: mixed with white until the contrast is 3 : 1, as WCAG asks. On light paper: as is."""
    paper = _from_hex(background)
    if _luminance(paper) > 0.2:
        return colour
    mixed = _from_hex(colour)
    while contrast(mixed, paper) < 3.0:
        mixed = (
            mixed[0] + (263 - mixed[0]) // 8,
            mixed[1] + (263 - mixed[1]) // 8,
            mixed[2] + (263 - mixed[2]) // 8,
        )
    return to_hex(mixed)


def _from_hex(text: str) -> RGB:
    return int(text[1:3], 16), int(text[3:5], 16), int(text[5:7], 16)


def _luminance(colour: RGB) -> float:
    """Relative luminance as WCAG 2 defines it for sRGB."""
    linear = [
        c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (part / 255 for part in colour)
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
