"""The names of files in a folder or below a URL, one folder at a time, in an order that is the same everywhere."""

from __future__ import annotations

import os
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path

from vitscope.errors import PictureError, SourceError, brief
from vitscope.pictures.find import walk
from vitscope.pictures.planned.place import Place, store_of


def names_below(place: Place, closed: dict[str, str]) -> Iterator[str]:
    """The name of every file of a place that is not hidden, relative to it: in each folder its files, then its folders.

    Folders that cannot be searched are entered into ``closed`` with the reason.

    Raises SourceError when the place itself cannot be searched.
    """
    if place.remote:
        yield from _names_in_store(place, closed)
        return
    shut: dict[Path, str] = {}
    start = len(place.prefix)
    for path in walk(Path(place.root), shut):
        yield path[start:]
    if Path(place.root) in shut:
        raise PictureError(shut[Path(place.root)])
    closed.update({str(folder)[start:]: reason for folder, reason in shut.items()})


def _names_in_store(place: Place, closed: dict[str, str], depth: int | None = None) -> Iterator[str]:
    store, base = store_of(place.root)
    start = len(base.rstrip("/")) + 1
    waiting = [base]
    while waiting:
        folder = waiting.pop()
        try:
            listed = list(store.ls(folder, detail=True))
        except (OSError, ValueError) as error:
            if folder == base:
                raise SourceError(
                    f"{place.root} cannot be listed ({brief(error)}); check the address and your access"
                ) from error
            closed[folder[start:]] = f"{folder} cannot be listed ({brief(error)}); check your access"
            continue
        files: list[str] = []
        below: list[str] = []
        for entry in listed:
            path = str(entry["name"]).rstrip("/")
            if not path.startswith(f"{folder.rstrip('/')}/") or os.path.basename(path).startswith("."):
                continue  # the folder itself, or a link of a web page to elsewhere
            (below if entry["type"] == "directory" else files).append(path)
        yield from (path[start:] for path in sorted(files))
        if depth is None or folder[start:].count("/") + (folder != base) + 1 < depth:
            waiting.extend(sorted(below, reverse=True))


def matching(place: Place, pattern: str) -> Iterator[str]:
    """The names below a URL that match a pattern with ``*``, ``?``, ``[...]``, which stay in one folder, and ``**``."""
    parts = pattern.split("/")
    for name in _names_in_store(place, {}, None if "**" in parts else len(parts)):
        if _fits(name.split("/"), parts):
            yield name


def _fits(name: list[str], pattern: list[str]) -> bool:
    if not pattern:
        return not name
    if pattern[0] == "**":
        return any(_fits(name[skipped:], pattern[1:]) for skipped in range(len(name) + 1))
    return bool(name) and fnmatchcase(name[0], pattern[0]) and _fits(name[1:], pattern[1:])
