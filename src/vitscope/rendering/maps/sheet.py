"""Many drawings on one sheet: rows × columns with names, for comparing methods on pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike
from PIL import Image, ImageDraw

from vitscope.errors import RenderingError
from vitscope.rendering.colour import check_colour, default_colour
from vitscope.rendering.maps.blending import OPACITY
from vitscope.rendering.maps.colourbar import INK, PAPER, SOFT_INK, Bar, draw_bar
from vitscope.rendering.maps.overlay import check_size, display_note, frame, mark
from vitscope.rendering.maps.panel import draw_panel, fit
from vitscope.rendering.maps.scaling import WHOLE, Extent, ScaledMaps, scale
from vitscope.rendering.typography import font, line_height, numeral, text_width, wrap

CELL_SIDE = 160
"""Longer side of a cell's picture in pixels at size 1×."""


def grid(
    cells: Sequence[Sequence[Image.Image | None]],
    row_names: Sequence[str],
    column_names: Sequence[str],
    *,
    cell_captions: Sequence[Sequence[str]] | None = None,
    size: int = 1,
    title: str | None = None,
    caption: str = "",
    footer: Image.Image | None = None,
) -> Image.Image:
    """Ready drawings in rows and columns with names at the left and on top; ``None`` leaves a cell empty.

    Raises ``RenderingError`` when the names do not fit the cells.
    """
    unit = check_size(size)
    if len(row_names) != len(cells) or not cells or any(len(row) != len(column_names) for row in cells):
        shape = f"{len(cells)} × {len(cells[0]) if cells else 0}"
        raise RenderingError(
            f"expected {len(row_names)} × {len(column_names)} drawings for the names, got {shape}; name them all"
        )
    drawn = [cell for row in cells for cell in row if cell is not None]
    if not drawn:
        raise RenderingError(
            "expected at least one drawing on the sheet, got none; give one per named row and column"
        )
    width, gap = max(cell.width for cell in drawn), round(8 * unit)
    heights = [max([cell.height for cell in row if cell is not None] or [round(20 * unit)]) for row in cells]
    bold, small, tiny = font(round(12 * unit), bold=True), font(round(12 * unit)), font(round(9 * unit))
    side = min(round(150 * unit), max(text_width(name, small) for name in row_names)) + gap
    head = [wrap(name, bold, width) for name in column_names]
    top = max(len(lines) for lines in head) * line_height(bold) + gap // 2
    note = line_height(tiny) if cell_captions is not None else 0
    body_width = side + len(column_names) * (width + gap) - gap
    body_height = top + sum(height + note + gap for height in heights) - gap
    extra = footer.height + gap if footer is not None else 0
    canvas = Image.new("RGB", (body_width, body_height + extra), PAPER)
    pen = ImageDraw.Draw(canvas)
    for column, lines in enumerate(head):
        for index, line in enumerate(lines):
            down = top - gap // 2 - (len(lines) - index) * line_height(bold)
            pen.text((side + column * (width + gap), down), line, fill=INK, font=bold)
    down = top
    for row, height in enumerate(heights):
        for index, line in enumerate(wrap(row_names[row], small, side - gap)):
            pen.text((0, down + index * line_height(small)), line, fill=INK, font=small)
        for column, cell in enumerate(cells[row]):
            left = side + column * (width + gap)
            if cell is not None:
                canvas.paste(cell, (left, down))
            if cell_captions is not None:
                pen.text((left, down + height), cell_captions[row][column], fill=SOFT_INK, font=tiny)
        down += height + note + gap
    if footer is not None:
        canvas.paste(footer, (side, body_height + gap))
    return frame(canvas, title=title, caption=caption, unit=unit)


def method_sheet(
    maps: Mapping[str, ArrayLike | ScaledMaps],
    pictures: Sequence[Image.Image],
    names: Sequence[str],
    *,
    style: str = "alpha",
    scaling: str | Mapping[str, str] = "minmax",
    colour: str | None = None,
    upsampling: str = "nearest",
    opacity: float = OPACITY,
    size: int = 1,
    show_pictures: bool = True,
    title: str | None = None,
    caption: str = "",
    extent: Extent = WHOLE,
) -> Image.Image:
    """One row per picture, one column per method; ``maps`` holds each method's raw maps (B, h, w) by name.

    Maps that are scaled already are taken as they are.

    ``scaling`` is one name for all, or one per method ("signed" columns get the diverging colours). Each cell's
    raw range stands under it, because every method has units of its own. Raises ``RenderingError`` when a
    method's maps do not match the pictures.
    """
    unit = check_size(size)
    if not maps or len(names) != len(pictures):
        raise RenderingError(
            f"expected at least one method and a name per picture, got {len(maps)} methods and {len(names)} names for "
            f"{len(pictures)} pictures; name every picture"
        )
    scaled: dict[str, ScaledMaps] = {}
    for method, values in maps.items():
        chosen = scaling if isinstance(scaling, str) else scaling.get(method, "minmax")
        if isinstance(values, ScaledMaps):
            scaled[method] = values
        else:
            scaled[method] = scale(values, chosen, extent=extent)
        if scaled[method].values.ndim != 3 or len(scaled[method].values) != len(pictures):
            raise RenderingError(
                f"expected maps of shape ({len(pictures)}, h, w) for {method!r}, got {scaled[method].values.shape}; "
                "give one map per picture"
            )
    cells: list[list[Image.Image | None]] = []
    ranges: list[list[str]] = []
    for index, picture in enumerate(pictures):
        cell_size = fit(picture.size, CELL_SIDE * unit)
        row: list[Image.Image | None] = []
        words: list[str] = []
        if show_pictures:
            row.append(picture.convert("RGB").resize(cell_size, Image.Resampling.LANCZOS))
            words.append("")
        for record in scaled.values():
            one = record.at(index)
            name = _colour_for(colour, one.diverging)
            panel = draw_panel(
                one, picture, cell_size, style=style, colour=name, upsampling=upsampling, opacity=opacity
            )
            mark(panel, one, 0.8 * unit)
            row.append(panel)
            words.append(_range(one))
        cells.append(row)
        ranges.append(words)
    notes = dict.fromkeys(display_note(record, upsampling, style) for record in scaled.values())
    lines = [line for line in (caption, *notes) if line]
    return grid(
        cells,
        list(names),
        (["picture"] if show_pictures else []) + list(maps),
        cell_captions=ranges,
        size=size,
        title=title,
        caption="\n".join(lines),
        footer=_legend(list(scaled.values()), colour, style, opacity, unit),
    )


def _range(one: ScaledMaps) -> str:
    """The lowest and the highest value of a map."""
    low, high = (one.value_at(end) for end in one.span)
    return f"{numeral(low, 2)} … {numeral(high, 2)}"


def _colour_for(colour: str | None, diverging: bool) -> str:
    """The asked colour where it suits the values, else the default: a sheet may hold both kinds of map."""
    if colour is None:
        return default_colour(diverging)
    try:
        return check_colour(colour, diverging)
    except RenderingError:
        check_colour(colour, not diverging)
        return default_colour(diverging)


def _legend(
    records: Sequence[ScaledMaps], colour: str | None, style: str, opacity: float, unit: int
) -> Image.Image:
    """One bar per kind of scale on the sheet; the numbers of each map stand under it."""
    kinds = list(dict.fromkeys(record.diverging for record in records))
    gap = round(24 * unit)
    bars = []
    for diverging in kinds:
        name = "grey" if style == "spotlight" else _colour_for(colour, diverging)
        labels = ("−limit", "0", "limit") if diverging else ("lowest", "", "highest")
        made = Bar(name, labels, diverging=diverging, opacity=opacity if style == "alpha" else None)
        bars.append(draw_bar(made, round(150 * unit), unit, horizontal=True))
    width = int(np.sum([bar.width for bar in bars])) + gap * (len(bars) - 1)
    canvas = Image.new("RGB", (width, max(bar.height for bar in bars)), PAPER)
    left = 0
    for bar in bars:
        canvas.paste(bar, (left, 0))
        left += bar.width + gap
    return canvas
