"""Pictures as files, with what made them inside."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import Image, PngImagePlugin

from vitscope.storage.files import write as write_atomically

__all__ = ["Metadata", "metadata_text", "png_bytes", "save_png", "write_atomically"]

Metadata = Mapping[str, Any]

COMPRESSION = 3
"""Of 9: an overlay takes a sixteenth of the time of the strongest compression and a sixth more room."""


def png_bytes(picture: Image.Image, metadata: Metadata | None = None) -> bytes:
    """The picture as PNG; each entry of ``metadata`` becomes a text chunk."""
    chunks = PngImagePlugin.PngInfo()
    for key, value in (metadata or {}).items():
        chunks.add_itxt(str(key)[:79] or "note", str(value))
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", pnginfo=chunks, compress_level=COMPRESSION)
    return buffer.getvalue()


def save_png(picture: Image.Image, path: str | Path, metadata: Metadata | None = None) -> Path:
    """Write a picture as PNG with what made it (model, weights, method, options, ...) in its text chunks."""
    return write_atomically(path, png_bytes(picture, metadata))


def metadata_text(metadata: Metadata | None) -> str:
    """``key: value`` lines, for formats that hold one comment."""
    return "\n".join(f"{key}: {value}" for key, value in (metadata or {}).items())
