"""A store under a URL: any place that fsspec knows.

An object appears whole or not at all, because it is handed over in one call; nothing is ever streamed. Listings are
never kept: what was listed a moment ago may be old.
"""

from __future__ import annotations

import contextlib
import functools
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any

from vitscope.errors import MissingError, MissingExtraError, OutputError, StorageError, brief
from vitscope.storage.stores import faults
from vitscope.storage.stores.inside import LEASE, PART, checked, part_of

_S3 = ("s3", "s3a")
_WITHOUT_FOLDERS = (*_S3, "gs", "gcs", "az", "abfs", "abfss", "adl", "oci", "oss")
"""Places that hold objects only: making a folder there would at best do nothing, at worst make a bucket."""
_IN_THIS_PROCESS = threading.Lock()
"""fsspec's memory looks first and writes then; two threads must not do so at the same time."""
_TRIES = 5


def url_store(url: str, protocol: str, *, alone: bool) -> UrlStore:
    """Open the store under a URL.

    Raises MissingExtraError when a package is missing, OutputError when no store can be there.
    """
    import fsspec

    try:
        filesystem, root = fsspec.core.url_to_fs(url, use_listings_cache=False)
    except ImportError as error:
        if protocol in _S3:
            raise MissingExtraError("s3fs", "s3", f"a place under {protocol}://") from None
        raise OutputError(f"cannot open {url} ({brief(error)}); install that package") from None
    except Exception as error:
        raise OutputError(f"cannot open {url} ({brief(error)}); check the URL") from None
    if not root.strip("/"):
        raise OutputError(f"{url} names no folder; give one, like {protocol}://bucket/folder")
    return UrlStore(url.rstrip("/"), filesystem, root.rstrip("/"), protocol, alone=alone)


class UrlStore:
    """A place that fsspec knows; see ``Store``.

    Args:
        name: The URL.
        filesystem: The fsspec file system, which keeps no listings.
        root: The root within it.
        protocol: What stands before ``://``.
        alone: As for ``open_store``.
    """

    is_local = False

    def __init__(self, name: str, filesystem: Any, root: str, protocol: str, *, alone: bool) -> None:
        self.name, self.alone = name, alone
        self._filesystem, self._root, self._protocol = filesystem, root, protocol

    def make_root(self, folders: Iterable[str]) -> None:
        """Make the root and its folders, where the place has folders."""
        if self._protocol not in _WITHOUT_FOLDERS:
            for folder in (LEASE, *folders):
                with self._asking(f"make the folder {folder}"):
                    self._filesystem.makedirs(self._path(folder), exist_ok=True)

    def read(self, path: str) -> bytes:
        """The bytes of an object."""
        with self._asking(f"read {path}"):
            try:
                return bytes(self._filesystem.cat_file(self._path(path)))
            except FileNotFoundError:
                pass
            except IsADirectoryError:
                raise StorageError(f"{path} in {self.name} is no file; check the place") from None
        raise MissingError(f"there is no file {path} in {self.name}; check the place")

    def put(self, path: str, data: bytes) -> None:
        """Write an object, whole or not at all."""
        with self._asking(f"write {path}", len(data)):
            self._filesystem.pipe_file(self._path(path), data)

    def create(self, path: str, data: bytes) -> bool:
        """Write an object if there is none of this name."""
        if self.alone:
            if self.exists(path):
                return False
            self.put(path, data)
            return True
        if not self._creates_only_once:
            raise OutputError(
                f"{self.name} cannot keep two runs apart (it replaces what it was to create); "
                "use another place, or --i-am-alone when no other run works there"
            )
        return self._create(path, data)

    def append(self, path: str, data: bytes) -> None:
        """Add whole lines: objects have no end to write at, so what is there is read and written anew."""
        try:
            before = self.read(path)
        except MissingError:
            before = b""
        self.put(path, before + data)

    def exists(self, path: str) -> bool:
        """Whether there is an object of this name."""
        with self._asking(f"look for {path}"):
            try:
                return bool(self._filesystem.info(self._path(path))["type"] == "file")
            except FileNotFoundError:
                return False

    def list(self, folder: str = "") -> list[str]:
        """The sorted names of the objects in one folder."""
        return sorted(
            name
            for name, each in self._listed(folder)
            if each["type"] == "file" and name and not name.endswith(PART)
        )

    def remove(self, path: str) -> None:
        """Remove an object."""
        with self._asking(f"remove {path}"), contextlib.suppress(FileNotFoundError, KeyError):
            self._filesystem.rm_file(self._path(path))

    def sweep(self, older_than_seconds: float) -> int:
        """Remove what a trial that was killed has left; nothing else is ever unfinished here."""
        removed, latest = 0, time.time() - older_than_seconds
        for name, each in self._listed(""):
            changed = each.get("LastModified") or each.get("mtime") or each.get("created")
            seconds = changed.timestamp() if isinstance(changed, datetime) else changed
            if name.endswith(PART) and seconds is not None and seconds <= latest:
                self.remove(name)
                removed += 1
        return removed

    def free_space(self) -> int | None:
        """Unknown."""
        return None

    def url(self, path: str = "") -> str:
        """The URL of an object or folder."""
        return f"{self.name}/{checked(path)}" if path else self.name

    def filesystem(self) -> Any:
        """The fsspec file system; it keeps no listings."""
        return self._filesystem

    def _path(self, path: str) -> str:
        return f"{self._root}/{checked(path)}"

    def _listed(self, folder: str) -> Sequence[tuple[str, dict[str, Any]]]:
        with self._asking(f"list {folder or 'the files'}"):
            try:
                place = self._path(folder) if folder else self._root
                found = self._filesystem.ls(place, detail=True, refresh=True)
            except (FileNotFoundError, NotADirectoryError):
                return []
            # A place may list the folder itself, as an object of no bytes.
            return [
                (e["name"].rsplit("/", 1)[-1], e) for e in found if e["name"].strip("/") != place.strip("/")
            ]

    @functools.cached_property
    def _creates_only_once(self) -> bool:
        """Whether of two that create the same object one is refused. Servers that speak S3 do not all know how."""
        if self._protocol == "memory":
            return True
        if self._protocol not in _S3:
            return False
        trial = part_of("trial")
        try:
            return self._create(trial, b"") and not self._create(trial, b"")
        finally:
            self.remove(trial)

    def _create(self, path: str, data: bytes) -> bool:
        with self._asking(f"write {path}", len(data)):
            for attempt in range(_TRIES):
                try:
                    with _IN_THIS_PROCESS if self._protocol == "memory" else contextlib.nullcontext():
                        self._filesystem.pipe_file(self._path(path), data, mode="create")
                    return True
                except FileExistsError:
                    return False
                except OSError as error:
                    # S3: two created it at the very same time, and none of them has won yet.
                    if (
                        "ConditionalRequestConflict" not in brief(error.__cause__ or error)
                        or attempt == _TRIES - 1
                    ):
                        raise
                    time.sleep(0.1 * 2**attempt)
        return False

    @contextlib.contextmanager
    def _asking(self, doing: str, needed: int | None = None) -> Iterator[None]:
        """Whatever a server or the way to it answers, after fsspec's own tries, is a fault of the place."""
        try:
            yield
        except StorageError:
            raise
        except Exception as error:
            why = "broken"
            if isinstance(error, PermissionError):
                why = "forbidden"
            elif isinstance(error, FileNotFoundError):
                why = "gone"
            elif isinstance(error, OSError):
                why = faults.why(error) or why
            raise faults.fault(doing, self.name, brief(error), why, needed=needed) from None
