"""A result of several files: its parts, and a manifest that names them, written last in one step.

A part's name holds a digest of its content, so writing a new result never touches a part of the old one. Until the
manifest is replaced the folder is the old result; from then on it is the new one; what only the old one had is then
removed. A folder is therefore read as one result or refused, whenever the writing stopped.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from vitscope.errors import DamagedError, OutputError, StorageError
from vitscope.storage import documents, files, notes
from vitscope.storage.files import Place
from vitscope.storage.kinds import remedy
from vitscope.storage.notes import Note

MANIFEST = "manifest.json"
_PART = re.compile(r"[\w.-]+-[0-9a-f]{16}(\.\w+)?")
_TRIES = 20


def save(folder: Place, kind: str, parts: Mapping[str, bytes], note: Note, *, version: int = 1) -> Path:
    """Write a result of several files into a folder, in the place of one that is there; returns the folder.

    Args:
        folder: Made if needed. Files that are no part of a result are left alone.
        kind: The field's word for the result; only this kind is read back.
        parts: Content by plain file name ("curves.parquet"); written as ``curves-DIGEST.parquet``.
        note: JSON values about the whole.
        version: Which form of this kind it is.

    Raises:
        OutputError: it cannot be written; what was in the folder is then still read as it was.
    """
    place = files.make_folder(folder)
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in parts.items()}
    stored = {name: _part_name(name, digest) for name, digest in digests.items()}
    manifest = documents.encode(
        kind, {"parts": {n: [stored[n], digests[n]] for n in parts}, "note": note}, version=version
    )
    with _alone(place):
        before = _parts_of(place)
        for name, content in parts.items():
            files.write(place / stored[name], content)
        files.write(place / MANIFEST, manifest)
        for old in before - set(stored.values()):
            with contextlib.suppress(OSError):
                os.unlink(place / old)
    return place


def load(folder: Place, kind: str, *, version: int = 1) -> tuple[dict[str, bytes], dict[str, Any]]:
    """The parts of a result, by the names that `save` was given, and its note.

    Raises StorageError, in one line, when there is none, a part is missing or changed, or it is of another kind or
    of a newer version. A result that another process replaces meanwhile is read as the old or as the new one.
    """
    place = Path(folder)
    if not os.path.lexists(place / MANIFEST):
        raise StorageError(f"there is no '{kind}' in {place} (it has no {MANIFEST}); {remedy(kind)}")
    for attempt in range(_TRIES):
        content = files.read(place / MANIFEST)
        document = documents.decode(content, place / MANIFEST, kind, version=version)
        try:
            return _read_parts(place, kind, document), _note(place, kind, document)
        except StorageError:
            # Another process may have put a new result here between the two readings.
            if attempt == _TRIES - 1 or files.read(place / MANIFEST) == content:
                raise
    raise AssertionError("unreachable")


def exists(folder: Place) -> bool:
    """Whether a manifest stands there, whole or not."""
    return os.path.lexists(Path(folder) / MANIFEST)


def remove(folder: Place) -> None:
    """Remove a result: its manifest first, then its parts, then the folder if nothing else is in it."""
    place = Path(folder)
    if not place.is_dir():
        return
    with _alone(place), contextlib.suppress(OSError):
        parts = _parts_of(place)
        os.unlink(place / MANIFEST)
        for name in parts:
            with contextlib.suppress(OSError):
                os.unlink(place / name)
    with contextlib.suppress(OSError):
        os.rmdir(place)


def _read_parts(place: Path, kind: str, document: Mapping[str, Any]) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    with notes.decoding(place / MANIFEST, kind):
        for name, (file, digest) in document["parts"].items():
            # A manifest is a text that anyone can write: it may not lead out of its folder.
            if not _PART.fullmatch(file):
                raise ValueError(f"a part is called {file!r}")
            if not (place / file).is_file():
                raise DamagedError(f"{place} is damaged: its part {file} is missing; {remedy(kind)}")
            content = files.read(place / file)
            if hashlib.sha256(content).hexdigest() != digest:
                raise notes.damaged(place / file, kind, "its checksum does not fit")
            found[str(name)] = content
    return found


def _note(place: Path, kind: str, document: Mapping[str, Any]) -> dict[str, Any]:
    with notes.decoding(place / MANIFEST, kind):
        return dict(document["note"])


def _part_name(name: str, digest: str) -> str:
    plain = PurePosixPath(name)
    stored = f"{plain.stem}-{digest[:16]}{plain.suffix}"
    if plain.name != name or not _PART.fullmatch(stored):
        raise OutputError(f"cannot write a part called {name!r}; give letters, digits and a plain ending")
    return stored


def _parts_of(place: Path) -> set[str]:
    """File names of the parts of the result that is there, of whatever kind; none when its manifest is damaged."""
    with contextlib.suppress(Exception):
        listed = json.loads(files.read(place / MANIFEST))["note"]["parts"].values()
        return {file for file, _ in listed if _PART.fullmatch(file)}
    return set()


@contextlib.contextmanager
def _alone(place: Path) -> Iterator[None]:
    """Let one process at a time write a result into a folder, where the system can lock one."""
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(ImportError, OSError):
            import fcntl

            descriptor = os.open(place, os.O_RDONLY)
            stack.callback(os.close, descriptor)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
