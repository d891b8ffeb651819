"""A map on its picture with everything needed to read it: title, colour bar, prefix tokens, caption."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike
from PIL import Image, ImageDraw

from vitscope.errors import RenderingError
from vitscope.rendering.colour import check_colour, default_colour
from vitscope.rendering.maps.blending import OPACITY
from vitscope.rendering.maps.colourbar import INK, PAPER, SOFT_INK, Bar, bar_of, draw_bar, draw_prefix
from vitscope.rendering.maps.panel import CONTOUR_LEVELS, check_style, draw_panel, fit
from vitscope.rendering.maps.scaling import WHOLE, Extent, ScaledMaps, scale
from vitscope.rendering.typography import font, line_height, numeral, wrap

BASE_SIDE = 336
"""Longer side of the drawn picture in pixels at size 1×; a multiple of the common grids 7, 12, 14, 16 and 24."""

SIZES = (1, 2, 4)


def overlay(
    values: ArrayLike | ScaledMaps,
    picture: Image.Image | None = None,
    *,
    style: str = "alpha",
    scaling: str = "minmax",
    colour: str | None = None,
    upsampling: str = "nearest",
    opacity: float = OPACITY,
    size: int = 1,
    title: str | None = None,
    caption: str | None = None,
    prefix: Mapping[str, float] | None = None,
    colour_bar: bool = True,
    notes: bool = True,
    extent: Extent = WHOLE,
) -> Image.Image:
    """Draw one raw map (h, w) on its picture; RGB at 1×, 2× or 4× size.

    ``values`` may also be maps scaled before with ``scale`` (to share a scale between pictures). ``picture`` is
    what the model saw (the preprocessor's display picture); without one the map is drawn alone, cells square.
    ``opacity`` is that of the highest values, 0 to 1; lower ones cover less, see ``blending``.
    ``extent`` is the part of the picture that the cells cover (top, left, bottom, right, as shares of its sides).
    ``prefix`` gives the prefix tokens' share of the whole, by name, drawn under the grid. ``caption`` is followed
    by one line on how the map is displayed (scaling, upsampling, marks) unless ``notes`` is false.

    Raises ``RenderingError`` for wrong shapes and unknown names.
    """
    scaled = values if isinstance(values, ScaledMaps) else scale(values, scaling, extent=extent)
    if scaled.values.ndim != 2:
        raise RenderingError(
            f"expected one map of shape (h, w), got {scaled.values.shape}; draw maps one by one"
        )
    check_size(size)
    check_style(style)
    if picture is None and style == "alpha":
        style = "map"
    name = check_colour(colour or default_colour(scaled.diverging), scaled.diverging)
    shape = picture.size if picture is not None else scaled.values.shape[::-1]
    width, height = fit((shape[0], shape[1]), BASE_SIDE * size)
    panel = draw_panel(
        scaled, picture, (width, height), style=style, colour=name, upsampling=upsampling, opacity=opacity
    )
    mark(panel, scaled, size)
    body = panel
    if colour_bar and style != "picture":
        bar = draw_bar(bar_of_style(scaled, style, name, opacity), panel.height, size)
        body = beside([panel, bar], round(10 * size))
    lines = [caption] if caption else []
    if notes and style != "picture":
        lines.append(display_note(scaled, upsampling, style))
    return frame(body, title=title, caption="\n".join(lines), prefix=prefix, unit=size, prefix_width=width)


def bar_of_style(scaled: ScaledMaps, style: str, name: str, opacity: float) -> Bar:
    """The bar of a drawing, blended as the map is. A spotlight has no colours, it runs from dark to light."""
    if style == "spotlight":
        return bar_of(scaled, "grey")
    return bar_of(scaled, name, opacity if style == "alpha" else None)


def check_size(size: int) -> int:
    """``size``, if it is 1, 2 or 4; raises ``RenderingError`` otherwise."""
    if size not in SIZES:
        raise RenderingError(f"expected a size of 1, 2 or 4, got {size!r}")
    return size


def display_note(scaled: ScaledMaps, upsampling: str, style: str = "alpha") -> str:
    """One line that says how a map is displayed, and what in it cannot be shown."""
    h, w = scaled.values.shape[-2:]
    words = [f"{h} × {w} cells, {upsampling}", scaled.description]
    if style == "contour":
        levels = ", ".join(f"{100 * level:.0f}" for level in CONTOUR_LEVELS)
        words.append(f"lines at {levels} % {'of the way from zero' if scaled.diverging else 'of the bar'}")
    if scaled.extent != WHOLE:
        words.append("the rest of the picture is read by no patch")
    if style == "spotlight" and scaled.diverging:
        words.append("positive part only")
    if scaled.diverging and scaled.span != (0.0, 1.0):
        limit = np.asarray(scaled.high)[np.isfinite(np.asarray(scaled.high))]
        words.append(
            f"full colour at ±{numeral(float(limit.max()))}"
            if np.ptp(limit) == 0
            else "full colour at ±limit"
        )
    invalid = int(np.sum(scaled.invalid))
    if invalid:
        words.append(f"{invalid} cell{'s' if invalid > 1 else ''} without a finite value hatched")
    if np.asarray(scaled.constant).size == 1 and bool(np.asarray(scaled.constant).flat[0]):
        words.append("constant")
    return "; ".join(words)


def mark(panel: Image.Image, scaled: ScaledMaps, unit: float) -> None:
    """Write on the panel when the map is constant or has no finite value at all; the panel is changed."""
    if bool(np.isnan(np.asarray(scaled.low)).all()):
        text = "no finite value"
    elif bool(np.asarray(scaled.constant).all()):
        text = f"constant {numeral(float(np.asarray(scaled.middle if not scaled.diverging else scaled.high).flat[0]))}"
        if scaled.diverging:
            text = "constant" if float(np.asarray(scaled.high).flat[0]) else "constant 0"
    else:
        return
    face = font(round(11 * unit))
    pen, pad = ImageDraw.Draw(panel), round(4 * unit)
    left, top, right, bottom = pen.textbbox((2 * pad, 2 * pad), text, font=face)
    pen.rectangle((left - pad, top - pad, right + pad, bottom + pad), fill=PAPER, outline=INK)
    pen.text((2 * pad, 2 * pad), text, fill=INK, font=face)


def beside(parts: list[Image.Image], gap: int) -> Image.Image:
    """Pictures next to each other on white, their upper edges aligned."""
    width = sum(part.width for part in parts) + gap * (len(parts) - 1)
    canvas = Image.new("RGB", (width, max(part.height for part in parts)), PAPER)
    left = 0
    for part in parts:
        canvas.paste(part, (left, 0))
        left += part.width + gap
    return canvas


def frame(
    body: Image.Image,
    *,
    title: str | None = None,
    caption: str = "",
    prefix: Mapping[str, float] | None = None,
    unit: float = 1,
    prefix_width: int | None = None,
) -> Image.Image:
    """Put a title above, the prefix tokens and a caption below a drawing, with a white margin around all."""
    margin, gap = round(12 * unit), round(8 * unit)
    heading, small = font(round(14 * unit), bold=True), font(round(11 * unit))
    title_lines = wrap(title, heading, body.width) if title else []
    caption_lines = wrap(caption, small, body.width) if caption else []
    shares = draw_prefix(prefix, prefix_width or body.width, unit) if prefix else None
    height = 2 * margin + body.height
    height += len(title_lines) * line_height(heading) + (gap if title_lines else 0)
    height += (shares.height + gap) if shares else 0
    height += len(caption_lines) * line_height(small) + (gap if caption_lines else 0)
    canvas = Image.new("RGB", (body.width + 2 * margin, height), PAPER)
    pen, top = ImageDraw.Draw(canvas), margin
    for line in title_lines:
        pen.text((margin, top), line, fill=INK, font=heading)
        top += line_height(heading)
    top += gap if title_lines else 0
    canvas.paste(body, (margin, top))
    top += body.height
    if shares:
        canvas.paste(shares, (margin, top + gap))
        top += shares.height + gap
    top += gap if caption_lines else 0
    for line in caption_lines:
        pen.text((margin, top), line, fill=SOFT_INK, font=small)
        top += line_height(small)
    return canvas
