"""What markup holds besides text: pictures as data URIs, and data for a page's script."""

from __future__ import annotations

import base64
import io
import json
from typing import Any

import numpy as np
from markupsafe import Markup
from PIL import Image

from vitscope.rendering.pages.templating import part

HERE = "vitscope.rendering.pages"


def json_block(data: Any, class_: str | None = None) -> Markup:
    """Data for the page's script, in a block that a browser never runs; ``<`` cannot end it early."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return part(HERE, "parts.html", "json_block", Markup(text), class_)


def short_numbers(values: Any, digits: int = 4) -> Any:
    """Nested lists of numbers with ``digits`` significant digits; ``None`` where a value is not finite."""
    array = np.asarray(values, dtype=np.float64)
    if array.ndim:
        return [short_numbers(part, digits) for part in array]
    number = float(array)
    return float(f"{number:.{digits}g}") if np.isfinite(number) else None


def data_uri(content: bytes | str, kind: str) -> str:
    """The content as a ``data:`` address of the given media type."""
    data = content.encode("utf-8") if isinstance(content, str) else content
    return f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"


def png_uri(picture: Image.Image) -> str:
    """A picture, kept exactly, as a data URI."""
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", compress_level=6)
    return data_uri(buffer.getvalue(), "image/png")


def photo_uri(picture: Image.Image, longer_side: int) -> str:
    """A photograph no larger than needed, as a JPEG data URI."""
    small = picture.convert("RGB")
    small.thumbnail((longer_side, longer_side), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=88, subsampling=0)
    return data_uri(buffer.getvalue(), "image/jpeg")
