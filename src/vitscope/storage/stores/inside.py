"""Paths within a store: folders and a name with ``/`` between, and never a way out."""

from __future__ import annotations

import uuid

from vitscope.errors import StorageError

PART = ".part"
"""The ending of a file that is being written; whoever lists a store does not see it."""
LEASE = "lease"
"""The folder of the leases."""


def checked(path: str) -> str:
    """The path itself.

    Raises:
        StorageError: it is empty, absolute, or holds ``.``, ``..``, an empty name, a backslash or a zero byte.

    Example:
        >>> checked("shards/main/000017.json")
        'shards/main/000017.json'
    """
    if any(name in ("", ".", "..") or "\\" in name or "\0" in name for name in path.split("/")):
        raise StorageError(f"{path!r} is no path inside a store; give names with / between them")
    return path


def part_of(path: str) -> str:
    """The path of a temporary file beside ``path``, with a name that nobody else uses."""
    return f"{path}.{uuid.uuid4().hex}{PART}"
