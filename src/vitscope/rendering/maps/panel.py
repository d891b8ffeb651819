"""One bare panel: a scaled map drawn on (or beside) its picture, nothing around it."""

from __future__ import annotations

import contourpy
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from vitscope.errors import RenderingError, nearest
from vitscope.rendering.colour import (
    INVALID_DARK,
    INVALID_LIGHT,
    check_colour,
    colourise,
    default_colour,
    ink_on,
)
from vitscope.rendering.maps.blending import OPACITY, blend
from vitscope.rendering.maps.resample import place
from vitscope.rendering.maps.scaling import WHOLE, ScaledMaps

STYLES: dict[str, str] = {
    "alpha": "colours over the picture, the more the higher",
    "spotlight": "the picture lit where the map is high",
    "contour": "lines of equal value on the picture",
    "side-by-side": "the picture, and the map beside it",
    "map": "the map alone",
    "picture": "the picture alone",
}
"""How a map and its picture are put together, by name."""

CONTOUR_LEVELS = (0.25, 0.5, 0.75, 0.9)
"""Positions on the colour bar at which contours are drawn (signed maps: the same distances from zero, both ways)."""

_FLOOR = 0.18
"""Brightness that a spotlight leaves where the map is lowest, so that the place can still be recognised."""


def check_style(style: str) -> str:
    """``style``, if it is known; raises ``RenderingError`` otherwise."""
    if style not in STYLES:
        raise RenderingError(f"unknown overlay style {style!r}; nearest: {', '.join(nearest(style, STYLES))}")
    return style


def fit(picture_size: tuple[int, int], longer_side: int) -> tuple[int, int]:
    """(width, height) with the shape of the picture and the given longer side; neither is ever below one."""
    width, height = picture_size
    factor = longer_side / max(width, height)
    return max(1, round(width * factor)), max(1, round(height * factor))


def draw_panel(
    scaled: ScaledMaps,
    picture: Image.Image | None,
    size: tuple[int, int],
    *,
    style: str = "alpha",
    colour: str | None = None,
    upsampling: str = "nearest",
    opacity: float = OPACITY,
) -> Image.Image:
    """Draw one scaled map (h, w) over its picture at ``size`` (width, height); RGB.

    The map lies on the part of the picture that its cells cover, which is the whole picture nearly always; what no
    patch reads shows the bare picture. Cells without a finite value are hatched in every style. In style "alpha"
    magnitudes are blended evenly with ``opacity``, signed values fade out towards zero. A spotlight of a signed map
    lights its positive part only.
    """
    check_style(style)
    name = check_colour(colour or default_colour(scaled.diverging), scaled.diverging)
    if scaled.values.ndim != 2:
        raise RenderingError(
            f"expected one map of shape (h, w), got {scaled.values.shape}; pick one with .at(index)"
        )
    if style != "map" and picture is None:
        raise RenderingError(f'the style {style!r} needs a picture; give one or use style="map"')
    if not 0.0 <= opacity <= 1.0:
        raise RenderingError(f"opacity must lie within 0 and 1, got {opacity}")
    photograph = _photograph(picture, size) if picture is not None else None
    if style == "picture" and photograph is not None:
        return photograph
    # Drawn alone, a map fills its panel; on a picture it lies where its cells lie.
    alone = photograph is None or style == "map"
    large, inside = place(scaled.values, size, upsampling, WHOLE if alone else scaled.extent)
    if photograph is None or style == "map":
        canvas = Image.fromarray(colourise(large, name))
    elif style == "side-by-side":
        gap = max(4, size[0] // 40)
        canvas = Image.new("RGB", (2 * size[0] + gap, size[1]), "white")
        canvas.paste(photograph, (0, 0))
        flat = draw_panel(scaled, None, size, style="map", colour=name, upsampling=upsampling)
        canvas.paste(flat, (size[0] + gap, 0))
        return canvas
    elif style == "alpha":
        canvas = Image.fromarray(blend(np.asarray(photograph), large, name, scaled.diverging, opacity))
    elif style == "spotlight":
        canvas = _spotlight(photograph, large, scaled.diverging)
    else:
        canvas = _contours(photograph, large, name, scaled.diverging)
    if photograph is not None and not inside.all():
        canvas = Image.composite(canvas, photograph, Image.fromarray(inside))
    return _hatch(canvas, inside & ~np.isfinite(large))


def _photograph(picture: Image.Image, size: tuple[int, int]) -> Image.Image:
    return picture.convert("RGB").resize(size, Image.Resampling.LANCZOS)


def _spotlight(photo: Image.Image, large: NDArray[np.float32], diverging: bool) -> Image.Image:
    light = np.clip(large * 2 - 1, 0, 1) if diverging else large
    brightness = _FLOOR + (1 - _FLOOR) * np.nan_to_num(light, nan=0.0)[..., None]
    return Image.fromarray(np.rint(np.asarray(photo, dtype=np.float32) * brightness).astype(np.uint8))


def _contours(photo: Image.Image, large: NDArray[np.float32], name: str, diverging: bool) -> Image.Image:
    """Lines at ``CONTOUR_LEVELS``, edged so that they are seen on any picture; drawn at twice the size."""
    factor = 2
    canvas = Image.new("RGBA", (photo.width * factor, photo.height * factor), (0, 0, 0, 0))
    pen = ImageDraw.Draw(canvas)
    width = max(2, round(max(photo.size) / 150)) * factor // 2 + 1
    generator = contourpy.contour_generator(z=np.ma.masked_invalid(large))
    levels: tuple[float, ...] = CONTOUR_LEVELS
    if diverging:
        halves = [level / 2 for level in levels]
        levels = (*(0.5 - half for half in reversed(halves)), *(0.5 + half for half in halves))
    lines = [(level, line) for level in levels for line in generator.lines(level)]
    for extra, halo in ((2 * factor, True), (0, False)):
        for level, line in lines:
            points = [(float(x + 0.5) * factor, float(y + 0.5) * factor) for x, y in np.asarray(line)]
            red, green, blue = (int(part) for part in colourise([level], name)[0])
            shade = (red, green, blue)
            pen.line(points, fill=ink_on(shade) if halo else shade, width=width + extra, joint="curve")
    lines_only = canvas.resize(photo.size, Image.Resampling.BOX)
    return Image.alpha_composite(photo.convert("RGBA"), lines_only).convert("RGB")


def _hatch(canvas: Image.Image, invalid: NDArray[np.bool_]) -> Image.Image:
    """Diagonal stripes over the cells that have no finite value."""
    if not invalid.any():
        return canvas
    pixels = np.asarray(canvas).copy()
    rows, columns = np.nonzero(invalid)
    period = max(4, round(max(invalid.shape) / 56))
    stripe = (rows + columns) // period % 2 == 0
    pixels[rows, columns] = np.where(stripe[:, None], INVALID_DARK, INVALID_LIGHT)
    return Image.fromarray(pixels)
