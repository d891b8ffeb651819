"""A flow, one map per block: as a strip of small maps, and as frames of an animation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike
from PIL import Image, ImageDraw

from vitscope.errors import RenderingError
from vitscope.rendering.colour import check_colour, default_colour
from vitscope.rendering.maps.blending import OPACITY
from vitscope.rendering.maps.colourbar import (
    ACCENT,
    INK,
    PAPER,
    SOFT_INK,
    draw_bar,
    shares_one_scale,
)
from vitscope.rendering.maps.overlay import (
    BASE_SIDE,
    bar_of_style,
    beside,
    check_size,
    display_note,
    frame,
    mark,
)
from vitscope.rendering.maps.panel import check_style, draw_panel, fit
from vitscope.rendering.maps.scaling import WHOLE, Extent, ScaledMaps, scale
from vitscope.rendering.typography import font, line_height, numeral, shorten

THUMB_SIDE = 112
"""Longer side of a thumbnail of the strip in pixels at size 1×."""


def scale_flow(
    flow: ArrayLike | ScaledMaps, scaling: str = "daam", *, scope: str | None = None, extent: Extent = WHOLE
) -> ScaledMaps:
    """A flow (L, h, w) scaled for display; "daam" and "signed" share one scale over all blocks, others do not.

    Raises ``RenderingError`` for another number of axes.
    """
    if isinstance(flow, ScaledMaps):
        scaled = flow
    else:
        chosen = scope or ("flow" if scaling in ("daam", "signed") else "map")
        scaled = scale(flow, scaling, scope=chosen, extent=extent)
    if scaled.values.ndim != 3:
        raise RenderingError(
            f"expected a flow of shape (L, h, w), got {scaled.values.shape}; draw pictures one by one"
        )
    return scaled


def flow_strip(
    flow: ArrayLike | ScaledMaps,
    picture: Image.Image | Sequence[Image.Image] | None = None,
    *,
    style: str = "alpha",
    scaling: str = "daam",
    colour: str | None = None,
    upsampling: str = "nearest",
    opacity: float = OPACITY,
    size: int = 1,
    columns: int | None = None,
    labels: Sequence[str] | None = None,
    title: str | None = None,
    caption: str | None = None,
    extent: Extent = WHOLE,
) -> Image.Image:
    """The maps of a flow (L, h, w) in order, one small panel per block, with one colour bar; RGB.

    ``labels`` name the blocks; without them no names are written. When every block has a scale of its own, the raw
    range is written under each panel and the bar says so.
    ``picture`` may be one for each panel, as of a film. ``columns`` panels stand in a row (default: all up to 12, else
    rows of equal length).
    """
    scaled = scale_flow(flow, scaling, extent=extent)
    unit = check_size(size)
    if check_style(style) == "side-by-side":
        raise RenderingError(
            'a strip has no room for the style "side-by-side"; use "alpha", "map" or "contour"'
        )
    pictures = _one_each(picture, scaled.values.shape[0])
    style = "map" if pictures[0] is None and style == "alpha" else style
    name = check_colour(colour or default_colour(scaled.diverging), scaled.diverging)
    count = scaled.values.shape[0]
    names = _labels(count, labels)
    shared = shares_one_scale(scaled)
    shape = pictures[0].size if pictures[0] is not None else scaled.values.shape[:0:-1]
    width, height = fit((shape[0], shape[1]), THUMB_SIDE * unit)
    small, tiny, gap = font(round(11 * unit)), font(round(9 * unit)), round(8 * unit)
    per_row = columns or -(-count // -(-count // 12))
    per_row = max(1, min(per_row, count))
    rows = -(-count // per_row)
    text_height = line_height(small) + (0 if shared else line_height(tiny))
    cell = height + text_height + round(2 * unit)
    canvas = Image.new("RGB", (per_row * (width + gap) - gap, rows * (cell + gap) - gap), PAPER)
    pen = ImageDraw.Draw(canvas)
    for index in range(count):
        left, top = index % per_row * (width + gap), index // per_row * (cell + gap)
        one = scaled.at(index)
        panel = draw_panel(
            one,
            pictures[index],
            (width, height),
            style=style,
            colour=name,
            upsampling=upsampling,
            opacity=opacity,
        )
        if not shared:
            mark(panel, one, 0.8 * unit)
        canvas.paste(panel, (left, top))
        below = top + height + round(2 * unit)
        pen.text((left, below), shorten(names[index], small, width), fill=INK, font=small)
        if not shared:
            words = f"{numeral(float(one.low), 2)} … {numeral(float(one.high), 2)}"
            pen.text(
                (left, below + line_height(small)), shorten(words, tiny, width), fill=SOFT_INK, font=tiny
            )
    made = bar_of_style(_over_blocks(scaled), style, name, opacity)
    made = made if shared else replace(made, texts=("low", "", "high"), at=(0, 0.5, 1), span=(0, 1))
    length = min(canvas.width, max(round(160 * unit), canvas.width // 3))
    bar = draw_bar(made, length, unit, horizontal=True)
    body = Image.new("RGB", (canvas.width, canvas.height + gap + bar.height), PAPER)
    body.paste(canvas, (0, 0))
    body.paste(bar, (0, canvas.height + gap))
    note = display_note(scaled, upsampling, style)
    lines = [line for line in (caption, note) if line]
    return frame(body, title=title, caption="\n".join(lines), unit=unit)


def flow_frames(
    flow: ArrayLike | ScaledMaps,
    picture: Image.Image | Sequence[Image.Image] | None = None,
    *,
    style: str = "alpha",
    scaling: str = "daam",
    colour: str | None = None,
    upsampling: str = "nearest",
    opacity: float = OPACITY,
    size: int = 1,
    beside_picture: bool = False,
    labels: Sequence[str] | None = None,
    title: str | None = None,
    caption: str | None = None,
    extent: Extent = WHOLE,
) -> list[Image.Image]:
    """One picture per block of a flow (L, h, w), all of one size: map, block label, progress bar, colour bar.

    ``labels`` name the blocks. ``picture`` may be one for each map, as of a film. ``beside_picture`` puts the plain
    picture to the left. The colour
    bar shows the shared scale, or, when every block is scaled by itself, the range of the block shown.
    """
    scaled = scale_flow(flow, scaling, extent=extent)
    unit = check_size(size)
    check_style(style)
    pictures = _one_each(picture, scaled.values.shape[0])
    style = "map" if pictures[0] is None and style == "alpha" else style
    name = check_colour(colour or default_colour(scaled.diverging), scaled.diverging)
    count = scaled.values.shape[0]
    names = _labels(count, labels)
    shared = shares_one_scale(scaled)
    shape = pictures[0].size if pictures[0] is not None else scaled.values.shape[:0:-1]
    drawn_size = fit((shape[0], shape[1]), BASE_SIDE * unit)
    lines = [line for line in (caption, display_note(scaled, upsampling, style)) if line]
    drawn = []
    for index in range(count):
        one = scaled.at(index)
        panel = draw_panel(
            one, pictures[index], drawn_size, style=style, colour=name, upsampling=upsampling, opacity=opacity
        )
        if not shared:
            mark(panel, one, unit)
        plain = pictures[index] if beside_picture else None
        photo = (
            plain.convert("RGB").resize(drawn_size, Image.Resampling.LANCZOS) if plain is not None else None
        )
        main = beside([photo, panel], round(8 * unit)) if photo else panel
        progress = _progress(index, names[index], count, main.width, unit)
        left = Image.new("RGB", (main.width, main.height + progress.height), PAPER)
        left.paste(main, (0, 0))
        left.paste(progress, (0, main.height))
        made = bar_of_style(_over_blocks(scaled) if shared else one, style, name, opacity)
        bar = draw_bar(made, main.height, unit)
        drawn.append((left, bar))
    # Labels differ in width from block to block: every frame gets the widest bar's room.
    room = max(bar.width for _, bar in drawn)
    frames = []
    for left, bar in drawn:
        padded = Image.new("RGB", (room, bar.height), PAPER)
        padded.paste(bar, (0, 0))
        body = beside([left, padded], round(10 * unit))
        frames.append(frame(body, title=title, caption="\n".join(lines), unit=unit))
    return frames


def _labels(count: int, labels: Sequence[str] | None) -> list[str]:
    """The given labels, or empty ones; raises ``RenderingError`` when their number differs."""
    if labels is None:
        return [""] * count
    if len(labels) != count:
        raise RenderingError(
            f"expected {count} block labels, got {len(labels)}; give one per block of the flow"
        )
    return [str(label) for label in labels]


def _one_each(picture: Image.Image | Sequence[Image.Image] | None, count: int) -> list[Image.Image | None]:
    """The picture of each map; raises ``RenderingError`` when there are several, and not one for each."""
    if picture is None or isinstance(picture, Image.Image):
        return [picture] * count
    if len(picture) != count:
        raise RenderingError(f"expected one picture or {count}, one for each map, got {len(picture)}")
    return list(picture)


def _over_blocks(scaled: ScaledMaps) -> ScaledMaps:
    """All blocks under the scale of the first one that has a finite value; on a shared scale it speaks for all."""
    known = np.flatnonzero(np.isfinite(scaled.low))
    first = scaled.at(int(known[0]) if known.size else 0)
    return replace(first, values=scaled.values)


def _progress(index: int, name: str, count: int, width: int, unit: float) -> Image.Image:
    """The block's label, and one segment per block, those reached so far filled."""
    face = font(round(12 * unit), bold=True)
    canvas = Image.new("RGB", (width, line_height(face) + round(18 * unit)), PAPER)
    pen = ImageDraw.Draw(canvas)
    top = round(6 * unit)
    pen.text((0, top), shorten(name, face, width), fill=INK, font=face)
    top += line_height(face) + round(3 * unit)
    gap = round(2 * unit) if width > 6 * unit * count else 0
    for segment in range(count):
        left, right = (round(edge * (width + gap) / count) for edge in (segment, segment + 1))
        shade = ACCENT if segment <= index else (224, 228, 232)
        pen.rectangle((left, top, max(left, right - gap - 1), top + round(6 * unit)), fill=shade)
    return canvas
