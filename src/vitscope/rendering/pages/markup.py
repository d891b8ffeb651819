"""HTML elements that escape whatever they are given, and pictures as data URIs."""

from __future__ import annotations

import base64
import html
import io
import json
from collections.abc import Iterable
from typing import Any

import numpy as np
from PIL import Image


class Html(str):
    """Text that is markup already and is not escaped again."""


Child = str | int | float | Html | Iterable["Child"] | None

_EMPTY = frozenset({"img", "input", "meta", "link", "br", "hr", "source"})


def element(tag: str, /, *children: Child, **attributes: Any) -> Html:
    """``<tag attributes>children</tag>``; every child that is not ``Html``, and every attribute, is escaped.

    Attribute names: ``class_`` for class, ``_`` for a hyphen. ``True`` writes a bare attribute, ``None`` and
    ``False`` write none.
    """
    parts = [tag]
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        label = key.rstrip("_").replace("_", "-")
        parts.append(label if value is True else f'{label}="{html.escape(str(value), quote=True)}"')
    head = f"<{' '.join(parts)}>"
    if tag in _EMPTY:
        return Html(head)
    return Html(f"{head}{join(children)}</{tag}>")


def join(children: Iterable[Child]) -> Html:
    """Children one after the other, escaped where they are not markup; ``None`` is nothing."""
    parts = []
    for child in children:
        if child is None:
            continue
        if isinstance(child, Html):
            parts.append(str(child))
        elif isinstance(child, (str, int, float)):
            parts.append(html.escape(str(child), quote=True))
        else:
            parts.append(join(child))
    return Html("".join(parts))


def json_block(data: Any, **attributes: Any) -> Html:
    """Data for the page's script, in a block that a browser never runs; ``<`` cannot end it early."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return element("script", Html(text), type="application/json", **attributes)


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
    picture.save(buffer, "PNG", optimize=True)
    return data_uri(buffer.getvalue(), "image/png")


def photo_uri(picture: Image.Image, longer_side: int) -> str:
    """A photograph no larger than needed, as a JPEG data URI."""
    small = picture.convert("RGB")
    small.thumbnail((longer_side, longer_side), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=88, subsampling=0)
    return data_uri(buffer.getvalue(), "image/jpeg")
