"""A map on its picture as SVG: the photograph as pixels, every cell of the map as a rectangle, letters as letters.

The colours are those of the drawing in pixels: each cell has the map's colour with the cover of its value, see
``blending``. Interpolated maps have no cells, so a vector drawing always shows the model's own.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from markupsafe import Markup, escape
from PIL import Image

from vitscope.rendering.colour import INVALID_DARK, check_colour, default_colour, to_hex
from vitscope.rendering.files import Metadata, metadata_text
from vitscope.rendering.maps.blending import OPACITY, layer
from vitscope.rendering.maps.colourbar import ACCENT, EDGE, INK, SOFT_INK, Bar, bar_of
from vitscope.rendering.maps.overlay import BASE_SIDE, check_size, display_note
from vitscope.rendering.maps.panel import fit
from vitscope.rendering.maps.scaling import ScaledMaps
from vitscope.rendering.pages.markup import png_uri
from vitscope.rendering.typography import font, wrap

MARGIN, GAP, LINE, BAR, LABELS = 12, 8, 15, 14, 70
"""Lengths at size 1: the white border, between parts, between lines, the colour bar's width and that of its numbers."""


def overlay_svg(
    scaled: ScaledMaps,
    picture: Image.Image | None = None,
    *,
    colour: str | None = None,
    opacity: float = OPACITY,
    size: int = 1,
    title: str | None = None,
    caption: str | None = None,
    prefix: Mapping[str, float] | None = None,
    metadata: Metadata | None = None,
) -> str:
    """Draw one scaled map (h, w) on its picture as SVG text; ``size`` 1, 2 or 4 says how large it is shown.

    ``metadata`` is kept in the element of that name. Raises ``RenderingError`` for unknown names and sizes.
    """
    check_size(size)
    name = check_colour(colour or default_colour(scaled.diverging), scaled.diverging)
    shape = picture.size if picture is not None else scaled.values.shape[::-1]
    width, height = fit((shape[0], shape[1]), BASE_SIDE)
    whole = width + GAP + BAR + LABELS
    parts: list[Markup] = []
    top = MARGIN
    for line in wrap(title or "", font(14, bold=True), whole):
        top += LINE + 2
        parts.append(_text(MARGIN, top - 4, line, 14, INK, bold=True))
    top += GAP if title else 0
    parts += _panel(
        scaled, picture, name, (MARGIN, top, width, height), opacity if picture is not None else None
    )
    parts += _bar(bar_of(scaled, name), (MARGIN + width + GAP, top, height))
    top += height + GAP
    for called, share in (prefix or {}).items():
        parts += _share(called, share, (MARGIN, top, width))
        top += LINE
    lines = [*([caption] if caption else []), display_note(scaled, "nearest")]
    for line in wrap("\n".join(lines), font(11), whole):
        top += LINE
        parts.append(_text(MARGIN, top - 3, line, 11, SOFT_INK))
    across, down = whole + 2 * MARGIN, top + MARGIN
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{across * size}" height="{down * size}" '
        f'viewBox="0 0 {across} {down}" font-family="DejaVu Sans, Verdana, sans-serif">\n'
        f"<title>{escape(title or 'map')}</title>\n<metadata>{escape(metadata_text(metadata))}</metadata>\n"
        f'<rect width="{across}" height="{down}" fill="#ffffff"/>\n' + "\n".join(parts) + "\n</svg>\n"
    )


def _panel(
    scaled: ScaledMaps,
    picture: Image.Image | None,
    name: str,
    place: tuple[int, int, int, int],
    opacity: float | None,
) -> list[Markup]:
    """The photograph, and a rectangle for every cell; without a photograph (``opacity`` None) the bare colours."""
    left, top, width, height = place
    made = []
    if picture is not None:
        made.append(
            Markup(
                '<image x="{}" y="{}" width="{}" height="{}" preserveAspectRatio="none" href="{}"/>'
            ).format(left, top, width, height, png_uri(picture.convert("RGB")))
        )
    rows, columns = scaled.values.shape
    upper, start, lower, end = scaled.extent if picture is not None else (0.0, 0.0, 1.0, 1.0)
    tall, wide = (lower - upper) * height / rows, (end - start) * width / columns
    colours = layer(scaled.values, name, scaled.diverging)
    for row in range(rows):
        for column in range(columns):
            known = bool(np.isfinite(scaled.values[row, column]))
            share = 1.0 if opacity is None else opacity * float(colours[row, column, 3]) / 255
            made.append(
                Markup(
                    '<rect x="{:.3f}" y="{:.3f}" width="{:.3f}" height="{:.3f}" fill="{}" fill-opacity="{:.4f}" '
                    'shape-rendering="crispEdges" data-row="{}" data-column="{}"/>'
                ).format(
                    left + start * width + column * wide,
                    top + upper * height + row * tall,
                    wide,
                    tall,
                    to_hex(colours[row, column, :3]) if known else to_hex(INVALID_DARK),
                    share if known else 1.0,
                    row,
                    column,
                )
            )
    return made


def _bar(bar: Bar, place: tuple[int, int, int]) -> list[Markup]:
    """An upright colour bar with its numbers, the high end on top."""
    left, top, length = place
    colours = bar.colours((255, 255, 255), 33)
    stops = Markup("").join(
        Markup('<stop offset="{:.4f}" stop-color="{}"/>').format(index / 32, to_hex(each))
        for index, each in enumerate(colours[::-1])
    )
    made = [
        Markup('<linearGradient id="bar" x1="0" y1="0" x2="0" y2="1">{}</linearGradient>').format(stops),
        Markup(
            '<rect x="{}" y="{}" width="{}" height="{}" fill="url(#bar)" stroke="{}" stroke-width="0.5"/>'
        ).format(left, top, BAR, length, to_hex(EDGE)),
    ]
    for text, at in zip(bar.texts, bar.at, strict=True):
        if text:
            down = top + (1 - at) * length
            made.append(_text(left + BAR + 5, min(max(down + 4, top + 9), top + length), text, 11, INK))
    return made


def _share(called: str, share: float, place: tuple[int, int, int]) -> list[Markup]:
    """One prefix token: its name, a bar from 0 to 100 %, and the number."""
    left, top, width = place
    begin, end = left + width // 3, left + width - 50
    filled = (end - begin) * min(1.0, max(0.0, share)) if np.isfinite(share) else 0.0
    number = f"{100 * share:.1f} %" if np.isfinite(share) else "no value"
    return [
        _text(left, top + 11, called, 11, SOFT_INK),
        Markup('<rect x="{}" y="{}" width="{}" height="8" fill="#e8ebee"/>').format(
            begin, top + 3, end - begin
        ),
        Markup('<rect x="{}" y="{}" width="{:.2f}" height="8" fill="{}"/>').format(
            begin, top + 3, filled, to_hex(ACCENT)
        ),
        _text(end + 6, top + 11, number, 11, INK),
    ]


def _text(
    left: float, base: float, text: str, size: int, ink: tuple[int, int, int], *, bold: bool = False
) -> Markup:
    weight = Markup(' font-weight="bold"') if bold else Markup("")
    return Markup('<text x="{}" y="{:.1f}" font-size="{}" fill="{}"{}>{}</text>').format(
        left, base, size, to_hex(ink), weight, text
    )
