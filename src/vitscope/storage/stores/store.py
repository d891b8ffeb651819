"""What a store can do, and the opening of one by its place."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from typing import Any, Protocol

from vitscope.errors import OutputError
from vitscope.storage.stores.disk import LocalStore
from vitscope.storage.stores.remote import url_store

_URL = re.compile(r"(?P<protocol>[A-Za-z][A-Za-z0-9+.-]+)://")
_BROKEN_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/[^/]")


class Store(Protocol):
    """A folder of files, here or elsewhere. Paths are relative, with ``/`` between names: ``shards/main/000017.json``.

    Every method may raise ``StoreFault``, which says that the place as a whole fails: full, read-only, gone, forbidden
    or broken. It ends a run.
    """

    @property
    def name(self) -> str:
        """What messages call the store: its place as it was given."""

    @property
    def is_local(self) -> bool:
        """Whether it is a folder of this machine's file system."""

    @property
    def alone(self) -> bool:
        """Whether the user has said that no other run works there."""

    def make_root(self, folders: Iterable[str]) -> None:
        """Make the root and all its folders, once; the only method that makes any."""

    def read(self, path: str) -> bytes:
        """The bytes of a file. Raises MissingError when there is none, StorageError when it cannot be read."""

    def put(self, path: str, data: bytes) -> None:
        """Write a file, whole or not at all, in the place of one that is there. Its folder must be there."""

    def create(self, path: str, data: bytes) -> bool:
        """Write a file if there is none of this name; False when there is. Of several at once one is told True.

        Raises OutputError where the place cannot promise this and nobody has said that the run is alone.
        """

    def append(self, path: str, data: bytes) -> None:
        """Add whole lines to a file, made if needed. Under a URL only one process at a time may add to one file."""

    def exists(self, path: str) -> bool:
        """Whether there is a file of this name."""

    def list(self, folder: str = "") -> list[str]:
        """The sorted names of the files in one folder as it is now, none being written; empty without the folder."""

    def remove(self, path: str) -> None:
        """Remove a file; one that is not there is fine."""

    def sweep(self, older_than_seconds: float) -> int:
        """Remove what writing that was killed has left and is older; returns how many files that were."""

    def free_space(self) -> int | None:
        """Bytes that are free there; None where nobody can say."""

    def url(self, path: str = "") -> str:
        """Where a file or folder is, as pandas, zarr and DuckDB take it: an absolute path, or a URL."""

    def filesystem(self) -> Any:
        """The fsspec file system in which ``url`` is, for readers that are handed one."""


def open_store(place: str | os.PathLike[str], *, alone: bool = False) -> Store:
    """Open a folder of this machine or a place that fsspec knows (``s3://bucket/folder``, ``memory://name``, ...).

    Nothing is made, and nothing need be there yet.

    Args:
        place: A path, or a URL as text; ``file://`` is a path, too.
        alone: The user says that no other run works there, so a place that cannot keep runs apart is used all the same.

    Returns:
        The store.

    Raises:
        OutputError: no store can be there.
        MissingExtraError: fsspec needs a package for this kind of URL.

    Example:
        >>> store = open_store("memory://example")
        >>> store.make_root(["shards"])
        >>> store.create("shards/0.json", b"{}"), store.create("shards/0.json", b"{}"), store.list("shards")
        (True, False, ['0.json'])
    """
    if isinstance(place, str) and "::" in place and "://" in place:
        raise OutputError(f"{place} is a chain of places; give one folder or one URL")
    if isinstance(place, str) and (found := _URL.match(place)):
        if found["protocol"].lower() not in ("file", "local"):
            return url_store(place, found["protocol"].lower(), alone=alone)
        return LocalStore(place[found.end() :], name=place, alone=alone)
    if _BROKEN_URL.match(os.fspath(place)) and not os.path.exists(os.path.dirname(os.fspath(place))):
        raise OutputError(f"{place} is a URL that lost a slash on the way; give it as text")
    return LocalStore(place, alone=alone)
