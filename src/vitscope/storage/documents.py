"""A note without numbers: one JSON file with the same form as the note in every other saved file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vitscope.errors import DamagedError
from vitscope.storage import files, notes
from vitscope.storage.files import Place
from vitscope.storage.kinds import remedy
from vitscope.storage.notes import Note
from vitscope.storage.seal import is_intact, seal


def save(path: Place, kind: str, note: Note, *, version: int = 1) -> Path:
    """Write JSON values to one file; returns its path. Raises OutputError."""
    return files.write(path, encode(kind, note, version=version))


def load(path: Place, kind: str, *, version: int = 1) -> dict[str, Any]:
    """What `save` wrote. Raises StorageError when it is missing, changed, of another kind or of a newer version."""
    return decode(files.read(path), path, kind, version=version)


def encode(kind: str, note: Note, *, version: int = 1) -> bytes:
    """The bytes of such a file. Raises OutputError for what JSON cannot hold."""
    content = notes.encode(kind, version, note).encode()
    found = notes.CHECKSUM.search(content)
    assert found is not None  # it was written just now
    return seal(content, found.start("digest"))


def decode(content: bytes, path: Place, kind: str, *, version: int = 1) -> dict[str, Any]:
    """What `encode` made, back. Raises StorageError as `load` does."""
    if not content:
        raise DamagedError(f"{path} is empty; {remedy(kind)}")
    note = notes.decode(content, path, kind, version)
    found = notes.CHECKSUM.search(content)
    if found is None or not is_intact(content, found.start("digest")) or note is None:
        raise notes.damaged(path, kind, "its checksum does not fit")
    return note
