"""A colour bar with the raw values at its ends and in its middle, and the share of the prefix tokens."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from vitscope.rendering.colour import RGB, colourise
from vitscope.rendering.maps.blending import GROUNDS, blend, layer
from vitscope.rendering.maps.scaling import ScaledMaps
from vitscope.rendering.typography import Font, font, line_height, numeral, shorten, text_width

INK = (28, 32, 38)
SOFT_INK = (88, 96, 105)
EDGE = (150, 156, 164)
PAPER = (255, 255, 255)
ACCENT = (31, 111, 178)


@dataclass(frozen=True)
class Bar:
    """What a colour bar shows: the part ``span`` of the colours, from the lowest to the highest value of the maps, and
    texts at the shares ``at`` of its length. ``diverging`` and ``opacity`` say how its colours are laid on the ground,
    as those of the map are on the picture; ``opacity`` None is the bare colours."""

    name: str
    texts: tuple[str, str, str]
    at: tuple[float, float, float] = (0.0, 0.5, 1.0)
    span: tuple[float, float] = (0.0, 1.0)
    diverging: bool = False
    opacity: float | None = None

    def colours(self, ground: RGB, count: int) -> NDArray[np.uint8]:
        """(count, 3) from the low end to the high one, as they look on a ground."""
        positions = np.linspace(*self.span, count)
        if self.opacity is None:
            return colourise(positions, self.name)
        return blend(np.full((count, 3), ground), positions, self.name, self.diverging, self.opacity)

    def css(self, stops: int = 33) -> str:
        """A CSS ``linear-gradient`` to the right of the colours with their cover; a page lays it on a ground."""
        positions = np.linspace(*self.span, stops)
        picks = layer(positions, self.name, self.diverging)
        return f"linear-gradient(to right,{','.join('#' + bytes(pick).hex() for pick in picks)})"


def bar_of(scaled: ScaledMaps, name: str, opacity: float | None = None) -> Bar:
    """The bar of scaled maps that share one scale: it runs over the values that they have, with these at its ends.

    An end that also stands for values beyond it carries ≤ or ≥. A constant map has its one value in the middle."""
    low, middle, high = (float(np.asarray(part).flat[0]) for part in (scaled.low, scaled.middle, scaled.high))
    looks = {"diverging": scaled.diverging, "opacity": opacity}
    if math.isnan(low):
        return Bar(name, ("", "no value", ""), **looks)  # type: ignore[arg-type]
    if bool(np.asarray(scaled.constant).flat[0]) and not scaled.diverging:
        return Bar(name, ("", numeral(middle), ""), **looks)  # type: ignore[arg-type]
    if scaled.clipped:
        texts = (f"≤ {numeral(low)}", numeral(middle), f"≥ {numeral(high)}")
        return Bar(name, texts, **looks)  # type: ignore[arg-type]
    start, stop = scaled.span
    if (start, stop) == (0.0, 1.0):
        return Bar(name, (numeral(low), numeral(middle), numeral(high)), **looks)  # type: ignore[arg-type]
    ends = (numeral(scaled.value_at(start)), numeral(scaled.value_at(stop)))
    inside = scaled.diverging and start < 0.5 < stop
    place = (0.5 - start) / (stop - start) if inside else 0.5
    between = "0" if inside else numeral(scaled.value_at((start + stop) / 2))
    if not 0.15 < place < 0.85:  # it would be written over the number at the end
        between = ""
    return Bar(name, (ends[0], between, ends[1]), (0.0, place, 1.0), (start, stop), **looks)  # type: ignore[arg-type]


def shares_one_scale(scaled: ScaledMaps) -> bool:
    """Whether all maps of the record are read on the same colour bar."""
    low, high = np.asarray(scaled.low), np.asarray(scaled.high)
    same_low = bool(np.all((low == low.flat[0]) | np.isnan(low)))
    return same_low and bool(np.all((high == high.flat[0]) | np.isnan(high)))


def draw_bar(bar: Bar, length: int, unit: float, *, horizontal: bool = False) -> Image.Image:
    """A colour bar ``length`` pixels long with three labels; ``unit`` is 1 at size 1×.

    Upright with the high end on top, or horizontal with the high end on the right. Blended colours lie on a light and
    on a dark half.
    """
    face = font(round(11 * unit))
    thickness, tick, gap = round(14 * unit), round(4 * unit), round(3 * unit)
    half = thickness // 2
    halves = [bar.colours(ground, length) for ground in GROUNDS]
    # (thickness, length, 3), the low end on the left
    ramp = np.concatenate(
        [np.repeat(halves[0][None], half, 0), np.repeat(halves[1][None], thickness - half, 0)]
    )
    line, edge = max(1, round(unit)), max(1, round(unit / 2))
    if horizontal:
        canvas = Image.new("RGB", (length, thickness + tick + gap + line_height(face)), PAPER)
        canvas.paste(Image.fromarray(ramp), (0, 0))
        pen = ImageDraw.Draw(canvas)
        pen.rectangle((0, 0, length - 1, thickness - 1), outline=EDGE, width=edge)
        for text, share, anchor in zip(bar.texts, bar.at, ("la", "ma", "ra"), strict=True):
            place = round(share * (length - 1))
            if text:
                pen.line((place, thickness, place, thickness + tick), fill=EDGE, width=line)
                pen.text((place, thickness + tick + gap), text, fill=INK, font=face, anchor=anchor)
        return canvas
    width = thickness + tick + gap + max(1, *(text_width(text, face) for text in bar.texts))
    canvas = Image.new("RGB", (width, length), PAPER)
    canvas.paste(Image.fromarray(np.ascontiguousarray(ramp[:, ::-1].swapaxes(0, 1))), (0, 0))
    pen = ImageDraw.Draw(canvas)
    pen.rectangle((0, 0, thickness - 1, length - 1), outline=EDGE, width=edge)
    for text, share, anchor in zip(bar.texts, bar.at, ("lb", "lm", "lt"), strict=True):
        place = round((1 - share) * (length - 1))
        if text:
            pen.line((thickness, place, thickness + tick, place), fill=EDGE, width=line)
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
