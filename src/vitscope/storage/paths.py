"""From what a user typed to a path."""

from __future__ import annotations

import os
from pathlib import Path

from vitscope.errors import VitscopeError

LONGEST = 255
"""Bytes of one name; no file system takes more."""


def typed_path(text: str | os.PathLike[str], problem: type[VitscopeError] = VitscopeError) -> Path:
    """A path as it was typed; a leading ``~/`` (or ``~`` alone) is the user's own folder.

    Nothing else is expanded: ``~x.png`` is a file of that name, and ``~someone/x.png`` a folder of that name, as the
    shell would have replaced the latter itself where there is such a user.

    Args:
        text: What was typed.
        problem: The class of the error that is raised.

    Raises:
        VitscopeError: ``problem``, when this user has no folder, or for a text that no path can be made of.

    Example:
        >>> str(typed_path("~x.png"))
        '~x.png'
    """
    if not isinstance(text, str | bytes | os.PathLike):
        raise problem(f"expected a path, got {type(text).__name__}; give its text or a Path")
    name = os.fspath(text)
    if not isinstance(name, str):
        raise problem(f"expected a path as text, got {type(name).__name__}; decode it with os.fsdecode")
    if not name:
        raise problem("expected a path, got an empty text; write . for the current folder")
    if "\0" in name:
        raise problem(f"the path {name[:60]!r} holds a zero byte; check it")
    if any(len(part) > LONGEST for part in os.fsencode(name).split(b"/")):
        raise problem(
            f"the path {name[:60]}... holds a name of more than {LONGEST} bytes, which no file has; check it"
        )
    if name != "~" and not name.startswith("~/"):
        return Path(name)
    home = os.path.expanduser("~")
    if home == "~":
        raise problem(f"{name} starts with ~, but this user has no home folder; give the whole path")
    return Path(home + name[1:])
