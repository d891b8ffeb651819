"""Pictures from standard input, where ``-`` stands for them: the bytes of one picture, or paths, one a line."""

from __future__ import annotations

import atexit
import sys
import tempfile
from pathlib import Path

import typer

from vitscope.errors import PictureError
from vitscope.storage import files

NAME = "stdin"
"""What a picture from standard input is called, and so its results."""
LONGEST = 1 << 32
"""More bytes than any picture or list has."""


def from_stdin(named: list[str]) -> tuple[list[str | Path], Path | None]:
    """The pictures that standard input holds, and the folder that their names are relative to, where it is a new one.

    Paths are divided by line ends, or by zero bytes as ``find -print0`` does. Raises PictureError where there is
    nothing, and a usage error where other pictures are named, too.
    """
    if len(named) > 1:
        raise typer.BadParameter("- stands for all pictures; give it alone, or give the others without it")
    if sys.stdin is None or sys.stdin.isatty():
        raise PictureError(
            "nothing comes from standard input; pipe a picture or a list of paths into it, or name one"
        )
    content = sys.stdin.buffer.read(LONGEST)
    if not content.strip():
        raise PictureError("standard input is empty; pipe a picture, or a list of paths, into it")
    listed = _paths(content)
    if listed:
        return listed, None
    folder = tempfile.TemporaryDirectory(prefix="vitscope-")
    atexit.register(folder.cleanup)
    place = Path(folder.name) / NAME
    files.write(place, content)
    return [place], Path(folder.name)


def _paths(content: bytes) -> list[str | Path]:
    """The paths of a list; none where the bytes are no list."""
    divider = "\0" if b"\0" in content else "\n"
    try:
        lines = content.decode("utf-8").split(divider)
    except UnicodeDecodeError:
        return []
    if any(character < " " for line in lines for character in line.rstrip("\r")):
        return []
    return [line.rstrip("\r") for line in lines if line.strip()]
