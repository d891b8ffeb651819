"""Which kinds of picture files are read: their names, and the decoders that may see their content."""

from __future__ import annotations

from typing import IO

from PIL import Image, UnidentifiedImageError

from vitscope.errors import PictureError

FORMATS = (
    "JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "PPM", "JPEG2000", "AVIF", "HEIF", "TGA", "ICO", "PCX", "MPO",
)  # fmt: skip
"""Formats that are tried. Others that Pillow knows are left out on purpose: EPS would start Ghostscript."""

ENDINGS = frozenset({
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".gif", ".tif", ".tiff", ".bmp", ".ppm", ".pgm", ".pbm", ".pnm",
    ".jp2", ".j2k", ".avif", ".heic", ".heif", ".tga", ".ico", ".pcx", ".mpo",
})  # fmt: skip
"""Endings of names that count as pictures when a folder is searched, in any case."""


def is_picture_name(name: str) -> bool:
    """Whether a file of this name counts as a picture when a folder is searched; hidden files do not."""
    return name[name.rfind(".") :].lower() in ENDINGS and name[0] != "."


def identify(stream: IO[bytes], name: str) -> Image.Image:
    """Find the decoder by the first bytes and read the header, no pixels.

    Pillow's own ``open`` compares sizes with a process-wide limit; asking its registered decoders one by one keeps
    the limit an argument of the call. Raises PictureError for what is no picture, and what a decoder raises.
    """
    Image.init()
    prefix = stream.read(4096)
    damage: Exception | None = None
    for kind in FORMATS:
        if kind not in Image.OPEN:
            continue
        factory, accept = Image.OPEN[kind]
        if accept is not None:
            answer = accept(prefix[:16])
            if not answer or isinstance(answer, str):
                continue
        stream.seek(0)
        try:
            return factory(stream, name)
        except Exception as error:
            # A decoder that knows the first bytes and fails says more than "unknown format".
            damage = error if accept is not None else damage
    if damage is not None and not isinstance(damage, UnidentifiedImageError):
        raise damage
    raise PictureError(
        f"{name} is not a picture that can be read ({_looks_like(prefix)}); expected JPEG, PNG, WebP ..."
    )


def _looks_like(prefix: bytes) -> str:
    head = prefix.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if b"<svg" in head:
        return "it is an SVG drawing, which has no pixels: export it as PNG"
    if head.startswith(b"%pdf"):
        return "it is a PDF document: export the page as PNG"
    if head.startswith((b"%!ps", b"\xc5\xd0\xd3\xc6")):
        return "it is a PostScript document: export it as PNG"
    if head.startswith(b"version https://git-lfs"):
        return "it is a Git LFS pointer: run git lfs pull"
    if head.startswith((b"<!doctype html", b"<html")):
        return "it is a web page, perhaps an error page of a download: fetch it again"
    if prefix[4:12] in (b"ftypheic", b"ftypheix", b"ftypmif1", b"ftypheif"):
        return "it is HEIC: pip install pillow-heif and register it, or export it as JPEG"
    if head.startswith((b"pk\x03\x04", b"\x1f\x8b")):
        return "it is an archive: unpack it"
    return "its content is text" if _is_text(prefix) else "its content is of no known format"


def _is_text(prefix: bytes) -> bool:
    try:
        text = prefix[:1024].decode("utf-8", errors="strict" if len(prefix) <= 1024 else "ignore")
    except UnicodeDecodeError:
        return False
    return bool(text) and all(character.isprintable() or character.isspace() for character in text)
