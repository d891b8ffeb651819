"""Writing results: always whole or not at all, with what made them inside."""

from __future__ import annotations

import contextlib
import io
import os
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import Image, PngImagePlugin

from vitscope.errors import OutputError

Metadata = Mapping[str, Any]


def write_atomically(path: str | Path, content: bytes | str) -> Path:
    """Write ``content`` to ``path`` through a temporary file beside it, making the folder if needed.

    Raises ``OutputError`` when the place cannot be written; a file already there is then untouched.
    """
    target = Path(path)
    data = content.encode("utf-8") if isinstance(content, str) else content
    temporary = target.with_name(f".{target.name[:40]}.{uuid.uuid4().hex[:12]}.tmp")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("xb") as stream:
            stream.write(data)
        os.replace(temporary, target)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        reason = error.strerror or str(error)
        raise OutputError(f"cannot write {target} ({reason}); choose another place") from None
    return target


def png_bytes(picture: Image.Image, metadata: Metadata | None = None) -> bytes:
    """The picture as PNG; each entry of ``metadata`` becomes a text chunk."""
    chunks = PngImagePlugin.PngInfo()
    for key, value in (metadata or {}).items():
        chunks.add_itxt(str(key)[:79] or "note", str(value))
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", pnginfo=chunks, optimize=True)
    return buffer.getvalue()


def save_png(picture: Image.Image, path: str | Path, metadata: Metadata | None = None) -> Path:
    """Write a picture as PNG with what made it (model, weights, method, options, ...) in its text chunks."""
    return write_atomically(path, png_bytes(picture, metadata))


def metadata_text(metadata: Metadata | None) -> str:
    """``key: value`` lines, for formats that hold one comment."""
    return "\n".join(f"{key}: {value}" for key, value in (metadata or {}).items())
