"""Finished parts of a run on disk, so that a run that was stopped goes on where it was.

A part is a folder: its files, and last a sealed note that says of which recipe and of which pictures it is and holds a
checksum of every file. Whatever has no such note, another recipe, other pictures or a changed byte is as if it were
not there; nothing of it is removed. Every part is written once, under a name of its own, so what a whole run writes
grows with its pictures only, and two processes in one folder do not meet.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from vitscope.errors import OutputError, StorageError
from vitscope.storage import documents, files
from vitscope.storage.recipe import Recipe

NOTE = "part.json"
KIND = "part of a run"
_NAME = re.compile(r"(?P<start>\d{9,})-(?P<stop>\d{9,})-(?P<recipe>[0-9a-f]{16})-[0-9a-f]{8}")
_FILE = re.compile(r"\w[\w.-]*")

Contents = Callable[[int, int], str]
"""(start, stop) -> digest of the pictures at these positions, in their order."""


@dataclass(frozen=True)
class KeptPart:
    """One finished part: pictures ``start`` to ``stop``, its files, and which pictures were skipped and why."""

    start: int
    stop: int
    files: Mapping[str, bytes]
    skipped: Mapping[str, str]


class Parts:
    """The finished parts of one run in a folder.

    Args:
        folder: Where they are kept, made if needed; None keeps nothing. Runs of other recipes may share it.
        recipe: Of the whole run; parts of another recipe are not seen.
        contents: Digest of the pictures at a range of positions; parts of other pictures are not seen.

    Raises OutputError when the folder cannot be made or read.
    """

    def __init__(self, folder: Path | None, recipe: Recipe, contents: Contents) -> None:
        self._folder = None if folder is None else files.make_folder(folder)
        self._recipe, self._contents = recipe.digest, contents
        self._known: dict[int, list[tuple[int, Path]]] = {}
        for start, stop, place in self._listed():
            self._known.setdefault(start, []).append((stop, place))

    def find(self, start: int, most: int) -> KeptPart | None:
        """The longest finished part that begins at ``start`` and ends by ``most``, None when there is none."""
        for stop, place in sorted(self._known.get(start, []), reverse=True):
            if start < stop <= most:
                found = self._read(start, stop, place)
                if found is not None:
                    return found
        return None

    def keep(self, part: KeptPart) -> None:
        """Write a finished part. Raises OutputError when it cannot be written."""
        if self._folder is None:
            return
        name = f"{part.start:09d}-{part.stop:09d}-{self._recipe[:16]}-{uuid.uuid4().hex[:8]}"
        place = self._folder / name
        for file, content in part.files.items():
            if not _FILE.fullmatch(file) or file == NOTE:
                raise OutputError(f"cannot write a part with a file called {file!r}; give it a plain name")
            files.write(place / file, content)
        note = {
            "recipe": self._recipe,
            "start": part.start,
            "stop": part.stop,
            "contents": self._contents(part.start, part.stop),
            "skipped": dict(part.skipped),
            "files": {file: hashlib.sha256(content).hexdigest() for file, content in part.files.items()},
        }
        documents.save(place / NOTE, KIND, note)

    def _listed(self) -> Iterator[tuple[int, int, Path]]:
        if self._folder is None:
            return
        try:
            names = [entry.name for entry in os.scandir(self._folder)]
        except OSError as error:
            raise OutputError(
                f"the folder {self._folder} cannot be read ({error.strerror}); choose another folder"
            ) from None
        for name in sorted(names):
            parsed = _NAME.fullmatch(name)
            if parsed is not None and parsed["recipe"] == self._recipe[:16]:
                yield int(parsed["start"]), int(parsed["stop"]), self._folder / name

    def _read(self, start: int, stop: int, place: Path) -> KeptPart | None:
        try:
            note = documents.load(place / NOTE, KIND)
            same = (note["recipe"], note["start"], note["stop"]) == (self._recipe, start, stop)
            if not same or note["contents"] != self._contents(start, stop):
                return None
            found = {}
            for file, digest in note["files"].items():
                content = files.read(place / file) if _FILE.fullmatch(file) else b""
                if hashlib.sha256(content).hexdigest() != digest:
                    return None
                found[file] = content
            return KeptPart(start, stop, found, {str(key): str(why) for key, why in note["skipped"].items()})
        except (StorageError, KeyError, TypeError, AttributeError):
            return None


def remove_parts(folder: Path) -> None:
    """Remove the folder of a run's finished parts, which its results have made needless; one that is not there is fine.

    Example:
        ``remove_parts(Path("results") / "unfinished")``
    """
    shutil.rmtree(folder, ignore_errors=True)
