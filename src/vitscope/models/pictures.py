"""Pictures from files: found, opened without trust, and turned into one strict form."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from vitscope.errors import PictureError
from vitscope.models.causes import brief
from vitscope.models.picture_modes import to_rgb, upright

MAX_PIXELS = 200_000_000
"""Most pixels that a picture may have by default: the largest phone cameras, and 600 MB in memory."""

FORMATS = (
    "JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "PPM", "JPEG2000", "AVIF", "HEIF", "TGA", "ICO", "PCX", "MPO",
)  # fmt: skip
"""Formats that are tried. Others that Pillow knows are left out on purpose: EPS would start Ghostscript."""

SUFFIXES = frozenset({
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".gif", ".tif", ".tiff", ".bmp", ".ppm", ".pgm", ".pbm", ".pnm",
    ".jp2", ".j2k", ".avif", ".heic", ".heif", ".tga", ".ico", ".pcx", ".mpo",
})  # fmt: skip
"""File names that count as pictures when a folder is searched."""


def read_picture(path: str | os.PathLike[str], *, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Open one picture file: RGB, 8 bits, upright (its EXIF rotation applied), first frame of an animation.

    Transparent parts are laid on white, 16-bit pictures scaled by their range. Any size from 1×1 up to
    ``max_pixels`` is legal; a larger one is refused before it is decoded. No global setting of Pillow is read or
    changed for that, so threads may read at the same time. Raises ``PictureError`` with one line that names the
    file, the cause and the remedy.
    """
    file = Path(path).expanduser()
    _refuse_unreadable(file)
    try:
        with file.open("rb") as stream:
            picture = _identify(stream, file)
            width, height = picture.size
            if width * height > max_pixels:
                raise PictureError(
                    f"{file} is {width:,}×{height:,} pixels, more than the limit of {max_pixels:,} (it could be a "
                    "decompression bomb); make it smaller or raise max_pixels (--max-pixels)"
                )
            picture.load()
            return to_rgb(upright(picture))
    except PictureError as error:
        message = str(error)
        raise PictureError(message if str(file) in message else f"{file}: {message}") from error
    except PermissionError as error:
        raise PictureError(f"{file} may not be read by this user; change its permissions") from error
    except Exception as error:
        # Decoders raise nearly every type there is: OSError, SyntaxError, ValueError, struct.error, MemoryError ...
        raise PictureError(
            f"{file} is damaged or cut short and cannot be decoded ({brief(error)}); fetch or export it again"
        ) from error


def find_pictures(paths: str | os.PathLike[str] | Iterable[str | os.PathLike[str]]) -> list[Path]:
    """Picture files named by paths, globs (``*``, ``?``, ``[...]``, ``**``) and folders (searched recursively).

    What a folder or a glob yields is sorted; the order of the arguments is kept; nothing comes twice. A single
    file is handed on as it is, also when it is missing, so that one bad path of many can be reported by
    ``read_picture`` and skipped. Raises ``PictureError`` for a folder or a glob without any picture.
    """
    given = [paths] if isinstance(paths, (str, os.PathLike)) else list(paths)
    if not given:
        raise PictureError("no picture was named; give a file, a folder or a glob such as 'photos/*.jpg'")
    found: dict[Path, None] = {}
    for item in given:
        path = Path(item).expanduser()
        if path.is_dir():
            files = list(_pictures_below(path))
        elif not path.exists() and glob.has_magic(str(path)):
            files = _matches(str(path))
        else:
            files = [path]
        found.update(dict.fromkeys(files))
    return list(found)


def _pictures_below(folder: Path) -> Iterator[Path]:
    if not os.access(folder, os.R_OK | os.X_OK):
        raise PictureError(f"the folder {folder} may not be read by this user; change its permissions")
    others = 0
    seen = 0
    for root, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if name.startswith("."):
                continue
            if Path(name).suffix.lower() in SUFFIXES:
                seen += 1
                yield Path(root) / name
            else:
                others += 1
    if not seen:
        what = f"{others:,} files but no picture" if others else "no file"
        raise PictureError(
            f"the folder {folder} holds {what}; expected names ending in .jpg, .png, .webp, .tif ..."
        )


def _matches(pattern: str) -> list[Path]:
    hits = sorted(Path(hit) for hit in glob.glob(pattern, recursive=True))
    files = [hit for hit in hits if hit.is_file() and hit.suffix.lower() in SUFFIXES]
    if not files:
        what = f"only {len(hits):,} that are no pictures" if hits else "nothing"
        raise PictureError(f"the pattern {pattern!r} matches {what}; check the folder and the ending")
    return files


def _refuse_unreadable(file: Path) -> None:
    try:
        if not file.exists():
            raise PictureError(f"there is no file {file}; check the path")
        if file.is_dir():
            raise PictureError(
                f"{file} is a folder, expected one picture file; name a file, or list it with find_pictures"
            )
        if not file.is_file():
            raise PictureError(f"{file} is a device or a pipe, not a file; save the picture to a file first")
        if not os.access(file, os.R_OK):
            raise PictureError(f"{file} may not be read by this user; change its permissions")
        if file.stat().st_size == 0:
            raise PictureError(f"{file} is empty (0 bytes); fetch or export it again")
    except (OSError, ValueError) as error:
        raise PictureError(
            f"the path {str(file)[:200]!r} cannot be used ({brief(error)}); check it"
        ) from error


def _identify(stream: object, file: Path) -> Image.Image:
    """Find the decoder by the file's first bytes and read its header, no pixels.

    Pillow's own ``open`` compares sizes with a process-wide limit; asking its registered decoders one by one
    keeps the limit an argument of the call.
    """
    Image.init()
    prefix = stream.read(4096)  # type: ignore[attr-defined]
    damage: Exception | None = None
    for name in FORMATS:
        if name not in Image.OPEN:
            continue
        factory, accept = Image.OPEN[name]
        if accept is not None:
            answer = accept(prefix[:16])
            if not answer or isinstance(answer, str):
                continue
        stream.seek(0)  # type: ignore[attr-defined]
        try:
            return factory(stream, str(file))  # type: ignore[arg-type]
        except Exception as error:
            # A decoder that knows the first bytes and fails says more than "unknown format".
            damage = error if accept is not None else damage
    if damage is not None and not isinstance(damage, UnidentifiedImageError):
        raise damage
    raise PictureError(
        f"{file} is not a picture that can be read ({_looks_like(prefix)}); expected JPEG, PNG, WebP ..."
    )


def _looks_like(prefix: bytes) -> str:
    head = prefix.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if b"<svg" in head:
        return "it is an SVG drawing, which has no pixels: export it as PNG"
    if head.startswith(b"%pdf"):
        return "it is a PDF document: export the page as PNG"
    if head.startswith(b"%!ps"):
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
