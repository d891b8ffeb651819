"""Under which file the answer to a question lies: the same rule as in ``ui/src/api/files.ts``, which asks for it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import PurePosixPath

_PLAIN = re.compile(r"[A-Za-z0-9.-]")
ENDINGS = {"application/json": ".json", "image/png": ".png", "image/svg+xml": ".svg"}
BINARY = ".bin"


def file_of(path: str, parameters: Mapping[str, str], media_type: str) -> PurePosixPath:
    """The place of an answer, relative to the site.

    Parameters come in the order of their names; what has no value is left out; every byte but letters, digits, dots and
    dashes is written as ``_`` and two hexadecimal digits, so that no server or file system reads anything into it.

    Args:
        path: Of the address, without a slash at its beginning.
        parameters: What stands behind the question mark, by name.
        media_type: Of the answer.

    Example:
        >>> file_of("api/pictures/3f/map", {"target": "predicted", "method": "dart"}, "application/x-vitscope-tensors")
        PurePosixPath('api/pictures/3f/map@method=dart,target=predicted.bin')
    """
    ending = ENDINGS.get(media_type.partition(";")[0], BINARY)
    stem = path.removesuffix(ending)
    given = sorted((name, value) for name, value in parameters.items() if value != "")
    told = ",".join(f"{escaped(name)}={escaped(value)}" for name, value in given)
    return PurePosixPath(f"{stem}{'@' if told else ''}{told}{ending}")


def escaped(text: str) -> str:
    """The text in letters, digits, dots and dashes, and ``_`` before the hexadecimal digits of every other byte."""
    return "".join(
        chr(byte) if byte < 128 and _PLAIN.fullmatch(chr(byte)) else f"_{byte:02x}"
        for byte in text.encode("utf-8", "backslashreplace")
    )
