"""Text on pictures: fonts that are always there, widths, wrapping, and numbers as people read them."""

from __future__ import annotations

import math
from functools import lru_cache
from pathlib import Path

import matplotlib as mpl
from PIL import ImageFont

Font = ImageFont.FreeTypeFont


@lru_cache(maxsize=64)
def font(size: int, bold: bool = False) -> Font:
    """DejaVu Sans, which comes with matplotlib, at ``size`` pixels."""
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    path = Path(mpl.get_data_path()) / "fonts" / "ttf" / name
    return ImageFont.truetype(str(path), size)


def text_width(text: str, face: Font) -> int:
    """Width in pixels, rounded up."""
    return math.ceil(face.getlength(text))


def line_height(face: Font) -> int:
    """Distance between the base lines of two lines of text."""
    ascent, descent = face.getmetrics()
    return round((ascent + descent) * 1.12)


def wrap(text: str, face: Font, width: int) -> list[str]:
    """``text`` in lines no wider than ``width`` pixels; a word that is too long alone is cut with an ellipsis."""
    lines: list[str] = []
    for paragraph in text.splitlines():
        line = ""
        for word in paragraph.split():
            longer = f"{line} {word}" if line else word
            if line and text_width(longer, face) > width:
                lines.append(shorten(line, face, width))
                line = word
            else:
                line = longer
        lines.append(shorten(line, face, width))
    return lines


def shorten(text: str, face: Font, width: int) -> str:
    """``text``, or its beginning with an ellipsis, so that it is no wider than ``width`` pixels."""
    if text_width(text, face) <= width:
        return text
    low, high = 0, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        if text_width(text[:middle].rstrip() + "…", face) <= width:
            low = middle
        else:
            high = middle - 1
    return text[:low].rstrip() + "…"


def fixed(value: float, span: float, digits: int = 3) -> str:
    """A number with as many decimals as ``digits`` significant digits of ``span`` need, for columns of numbers."""
    if not math.isfinite(value) or not math.isfinite(span) or span <= 0 or not 1e-4 <= span < 1e5:
        return numeral(value, digits)
    decimals = max(0, digits - 1 - math.floor(math.log10(span)))
    text = f"{value:.{decimals}f}"
    return text.lstrip("-") if float(text) == 0 else text.replace("-", "−")


def numeral(value: float, digits: int = 3) -> str:
    """A number in at most ``digits`` significant digits: 0.0123, −1.5, 2.1e−5, 0, ∞, "no value" for NaN."""
    if math.isnan(value):
        return "no value"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    if value == 0:
        return "0"
    exponent = math.floor(math.log10(abs(value)))
    if -4 <= exponent < 5:
        text = f"{value:.{max(0, digits - 1 - exponent)}f}"
        text = text.rstrip("0").rstrip(".") if "." in text else text
    else:
        mantissa, power = f"{value:.{digits - 1}e}".split("e")
        mantissa = mantissa.rstrip("0").rstrip(".") if "." in mantissa else mantissa
        text = f"{mantissa}e{int(power)}"
    return text.replace("-", "−")
