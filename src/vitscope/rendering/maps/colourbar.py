"""A colour bar with the raw values at its ends and in its middle, and the share of the prefix tokens."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from PIL import Image, ImageDraw

from vitscope.rendering.colour import lookup_table
from vitscope.rendering.maps.scaling import ScaledMaps
from vitscope.rendering.typography import Font, font, line_height, numeral, shorten, text_width

INK = (28, 32, 38)
SOFT_INK = (88, 96, 105)
EDGE = (150, 156, 164)
PAPER = (255, 255, 255)
ACCENT = (31, 111, 178)


def bar_labels(scaled: ScaledMaps) -> tuple[str, str, str]:
    """What is written at the lower end, the middle and the upper end: raw values of the map (or shared by maps).

    An end that also stands for values beyond it carries ≤ or ≥. A constant map has its one value in the middle.
    """
    low, middle, high = (float(np.asarray(part).flat[0]) for part in (scaled.low, scaled.middle, scaled.high))
    if math.isnan(low):
        return "", "no value", ""
    if bool(np.asarray(scaled.constant).flat[0]) and not scaled.diverging:
        return "", numeral(middle), ""
    if scaled.clipped:
        return f"≤ {numeral(low)}", numeral(middle), f"≥ {numeral(high)}"
    return numeral(low), numeral(middle), numeral(high)


def shares_one_scale(scaled: ScaledMaps) -> bool:
    """Whether all maps of the record are read on the same colour bar."""
    low, high = np.asarray(scaled.low), np.asarray(scaled.high)
    same_low = bool(np.all((low == low.flat[0]) | np.isnan(low)))
    return same_low and bool(np.all((high == high.flat[0]) | np.isnan(high)))


def draw_bar(
    name: str, labels: tuple[str, str, str], length: int, unit: float, *, horizontal: bool = False
) -> Image.Image:
    """A colour bar ``length`` pixels long with three labels; ``unit`` is 1 at size 1×.

    Upright with the high end on top, or horizontal with the high end on the right.
    """
    face = font(round(11 * unit))
    thickness, tick, gap = round(12 * unit), round(4 * unit), round(3 * unit)
    ramp = lookup_table(name)[np.linspace(0, 255, length).round().astype(int)]
    if horizontal:
        height = thickness + tick + gap + line_height(face)
        canvas = Image.new("RGB", (length, height), PAPER)
        canvas.paste(Image.fromarray(np.repeat(ramp[None], thickness, axis=0)), (0, 0))
        pen = ImageDraw.Draw(canvas)
        pen.rectangle((0, 0, length - 1, thickness - 1), outline=EDGE, width=max(1, round(unit / 2)))
        for text, place, anchor in zip(labels, (0, length // 2, length - 1), ("la", "ma", "ra"), strict=True):
            if text:
                pen.line((place, thickness, place, thickness + tick), fill=EDGE, width=max(1, round(unit)))
                pen.text((place, thickness + tick + gap), text, fill=INK, font=face, anchor=anchor)
        return canvas
    width = thickness + tick + gap + max(1, *(text_width(text, face) for text in labels))
    canvas = Image.new("RGB", (width, length), PAPER)
    canvas.paste(Image.fromarray(np.repeat(ramp[::-1, None], thickness, axis=1)), (0, 0))
    pen = ImageDraw.Draw(canvas)
    pen.rectangle((0, 0, thickness - 1, length - 1), outline=EDGE, width=max(1, round(unit / 2)))
    places = (length - 1, length // 2, 0)
    for text, place, anchor in zip(labels, places, ("lb", "lm", "lt"), strict=True):
        if text:
            pen.line((thickness, place, thickness + tick, place), fill=EDGE, width=max(1, round(unit)))
            pen.text((thickness + tick + gap, place), text, fill=INK, font=face, anchor=anchor)
    return canvas


def draw_prefix(shares: Mapping[str, float], width: int, unit: float) -> Image.Image:
    """One row per prefix token (class, registers, ...): its name, a bar from 0 to 100 % and its share of the whole.

    A share below 0 or not finite has no bar, only its number; one above 1 fills the bar.
    """
    face, gap = font(round(11 * unit)), round(6 * unit)
    row = line_height(face) + round(3 * unit)
    longest = min(width // 3, max(text_width(name, face) for name in shares))
    figures = {name: _percent(value) for name, value in shares.items()}
    number = max(text_width(text, face) for text in figures.values())
    canvas = Image.new("RGB", (width, row * len(shares)), PAPER)
    pen = ImageDraw.Draw(canvas)
    left, right = longest + gap, width - number - gap
    for index, (name, share) in enumerate(shares.items()):
        middle = row * index + row // 2
        _label(pen, name, face, longest, middle)
        thick = round(4 * unit)
        pen.rectangle((left, middle - thick, right, middle + thick), fill=(232, 235, 238))
        if math.isfinite(share) and share > 0:
            end = left + round((right - left) * min(1.0, share))
            pen.rectangle((left, middle - thick, end, middle + thick), fill=ACCENT)
        pen.text((width, middle), figures[name], fill=INK, font=face, anchor="rm")
    return canvas


def _label(pen: ImageDraw.ImageDraw, text: str, face: Font, width: int, middle: int) -> None:
    pen.text((0, middle), shorten(text, face, width), fill=SOFT_INK, font=face, anchor="lm")


def _percent(share: float) -> str:
    if not math.isfinite(share):
        return "no value"
    return f"{100 * share:.1f} %".replace("-", "−")
