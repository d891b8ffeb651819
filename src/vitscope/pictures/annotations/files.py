"""The bytes of label and annotation files, read with the same caution as pictures."""

from __future__ import annotations

import math
from pathlib import Path

from vitscope.errors import DataError, PictureError
from vitscope.pictures.read import open_file

MAX_BYTES = 4_000_000_000
"""Most bytes of an annotation file: the largest known are a tenth of it."""
LARGEST = 2**31 - 1
"""The largest class number: more is a damaged file."""


def content_of(source: Path, most: int = MAX_BYTES) -> bytes:
    """All bytes of a file of people's labels. Raises DataError: missing, a folder, a device, too large, unreadable."""
    try:
        with open_file(source, empty=True) as stream:
            content = stream.read(most + 1)
    except PictureError as error:
        raise DataError(str(error)) from error
    except OSError as error:
        raise DataError(f"{source} cannot be read ({error.strerror}); check the disk") from error
    if len(content) > most:
        raise DataError(
            f"{source} is larger than {most // 10**6:,} MB, which no annotation is; check the file"
        )
    return content


def whole_number(text: str, where: str) -> int:
    """A number from 0 to 2^31 - 1. Raises DataError; `where` names the place."""
    try:
        value = int(text)
    except ValueError:
        value = -1
    if not 0 <= value <= LARGEST:
        raise DataError(f"{where}: expected a whole number from 0 on, got {text[:40]!r}; correct it")
    return value


def finite(value: object, where: str, what: str = "") -> float:
    """A number that is one: 1e400, NaN and texts are refused. Raises DataError; `where` and `what` name the place."""
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise DataError(f"{where}: expected a number{what}, got {str(value)[:40]!r}; correct it")
    return number


def inside(root: Path, name: str, where: str) -> Path:
    """The path of `name` in `root`. Raises DataError when it would lie outside, so no label file reaches elsewhere."""
    path = root / name  # an absolute name replaces the root
    if "\0" in name or ".." in path.parts[len(root.parts) :] or not path.is_relative_to(root):
        raise DataError(f"{where}: {name[:80]!r} lies outside the folder {root}; name files relative to it")
    return path
