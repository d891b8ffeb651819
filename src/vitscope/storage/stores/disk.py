"""A store in a folder of this machine.

Nothing but ``make_root`` makes folders: when a mount vanishes, whoever made them anew would go on writing on the disk
beneath it.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import shutil
import stat
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from vitscope.errors import MissingError, OutputError, StorageError
from vitscope.storage import files
from vitscope.storage.paths import typed_path
from vitscope.storage.stores import faults
from vitscope.storage.stores.inside import LEASE, PART, checked, part_of

_OF_A_NETWORK = {
    "nfs", "nfs4", "cifs", "smb3", "smbfs", "ncpfs", "afs", "ceph", "lustre", "gpfs", "beegfs", "glusterfs", "9p",
    "panfs", "pvfs2", "orangefs", "wekafs", "fuse.glusterfs", "fuse.sshfs", "fuse.s3fs", "fuse.rclone", "fuse.gcsfuse",
    "fuse.juicefs", "fuse.ceph",
}  # fmt: skip


class LocalStore:
    """A folder; see ``Store``.

    Args:
        place: The folder, which need not be there yet.
        name: What messages call it; None is the path as given.
        alone: As for ``open_store``.
    """

    is_local = True

    def __init__(
        self, place: str | os.PathLike[str], *, name: str | None = None, alone: bool = False
    ) -> None:
        self.root = Path(os.path.abspath(typed_path(place, OutputError)))
        self.name = name or os.fspath(place)
        self.alone = alone

    def make_root(self, folders: Iterable[str]) -> None:
        """Make the root and its folders."""
        for folder in ("", LEASE, *folders):
            place = self._path(folder) if folder else self.root
            try:
                files.make_folders(place)
            except NotADirectoryError:
                raise OutputError(
                    f"cannot make the folder {place}: a file stands in the way; choose another place"
                ) from None
            except (OSError, ValueError) as error:
                raise OutputError(
                    f"cannot make the folder {place} ({files.reason(error)}); choose another place"
                ) from None

    def read(self, path: str) -> bytes:
        """The bytes of a file."""
        place = self._path(path)
        try:
            return files.contents(place)
        except (FileNotFoundError, NotADirectoryError):
            self._must_be_there(f"read {path}")
            raise MissingError(f"there is no file {path} in {self.name}; check the place") from None
        except OSError as error:
            if (why := faults.why(error)) not in (None, "forbidden"):
                raise self._fault(f"read {path}", error, str(why)) from None
            raise StorageError(f"cannot read {place} ({files.reason(error)}); check the file") from None

    def put(self, path: str, data: bytes) -> None:
        """Write a file, whole or not at all."""
        with self._writing(path, len(data)):
            files.settle(self._path(path), data, self._path(part_of(path)))

    def create(self, path: str, data: bytes) -> bool:
        """Write a file if there is none of this name."""
        with self._writing(path, len(data)):
            try:
                return files.settle(self._path(path), data, self._path(part_of(path)), new=True)
            except files.NoLinks:
                pass
        if not self.alone:
            raise OutputError(
                f"the file system of {self.name} cannot keep two runs apart (it has no hard links); "
                "use another disk, or --i-am-alone when no other run works there"
            )
        if self.exists(path):
            return False
        self.put(path, data)
        return True

    def append(self, path: str, data: bytes) -> None:
        """Add whole lines to a file."""
        with self._writing(path, len(data)):
            files.append(self._path(path), data)

    def exists(self, path: str) -> bool:
        """Whether there is a file of this name."""
        try:
            return stat.S_ISREG(os.stat(self._path(path)).st_mode)
        except OSError as error:
            if (why := faults.why(error)) not in (None, "gone"):
                raise self._fault(f"look for {path}", error, str(why)) from None
        self._must_be_there(f"look for {path}")
        return False

    def list(self, folder: str = "") -> list[str]:
        """The sorted names of the files in one folder."""
        place = self._path(folder) if folder else self.root
        try:
            with os.scandir(place) as entries:
                return sorted(e.name for e in entries if not e.name.endswith(PART) and e.is_file())
        except (FileNotFoundError, NotADirectoryError):
            self._must_be_there(f"list {folder or 'the files'}")
            return []
        except OSError as error:
            raise self._fault(f"list {folder or 'the files'}", error, faults.why(error) or "broken") from None

    def remove(self, path: str) -> None:
        """Remove a file."""
        self._unlink(self._path(path), path)

    def sweep(self, older_than_seconds: float) -> int:
        """Remove temporary files that were left behind."""
        self._must_be_there("sweep")
        latest, removed = time.time() - older_than_seconds, 0
        for folder, _, names in os.walk(self.root):
            for name in names:
                if name.endswith(PART):
                    place = Path(folder, name)
                    # Its writer may end at this moment.
                    with contextlib.suppress(FileNotFoundError):
                        if os.lstat(place).st_mtime <= latest:
                            self._unlink(place, name)
                            removed += 1
        return removed

    def free_space(self) -> int | None:
        """Bytes that are free on this disk."""
        for place in (self.root, *self.root.parents):
            with contextlib.suppress(OSError):
                return shutil.disk_usage(place).free
        return None

    def url(self, path: str = "") -> str:
        """The absolute path of a file or folder."""
        return str(self._path(path) if path else self.root)

    def filesystem(self) -> Any:
        """fsspec's local file system; it makes no folders."""
        from fsspec.implementations.local import LocalFileSystem

        return LocalFileSystem(auto_mkdir=False)

    @functools.cached_property
    def on_a_network(self) -> bool:
        """Whether other machines may see this folder, so that the system's own lock does not reach all of them."""
        return _kind_of_mount(os.path.realpath(self.root)) in _OF_A_NETWORK

    def _path(self, path: str) -> Path:
        return self.root / checked(path)

    def _must_be_there(self, doing: str) -> None:
        """Raise a fault when the root itself is gone; a file or folder that is missing within it is no fault."""
        try:
            if stat.S_ISDIR(os.stat(self.root).st_mode):
                return
            error: OSError = NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        except OSError as found:
            error = found
        raise self._fault(doing, error, faults.why(error) or "gone") from None

    def _unlink(self, place: Path, path: str) -> None:
        try:
            os.unlink(place)
        except (FileNotFoundError, NotADirectoryError):
            self._must_be_there(f"remove {path}")
        except OSError as error:
            raise self._fault(f"remove {path}", error, faults.why(error) or "broken") from None

    @contextlib.contextmanager
    def _writing(self, path: str, needed: int) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            why = faults.why(error)
            if why is None:
                raise OutputError(
                    f"cannot write {path} in {self.name} ({files.reason(error)}); choose another place"
                ) from None
            raise self._fault(f"write {path}", error, why, needed) from None

    def _fault(self, doing: str, error: OSError, why: str, needed: int | None = None) -> Exception:
        free = self.free_space() if why == "full" else None
        return faults.fault(doing, self.name, files.reason(error), why, needed=needed, free=free)


def _kind_of_mount(path: str, table: str = "/proc/self/mountinfo") -> str:
    """The type of the file system that a path is on (``ext4``, ``nfs4``), empty where the system does not tell."""
    found, longest = "", -1
    with contextlib.suppress(OSError), open(table, encoding="utf-8", errors="surrogateescape") as lines:
        for line in lines:
            before, _, after = line.partition(" - ")
            where = before.split(" ")[4].replace("\\040", " ")
            if len(where) >= longest and (path + "/").startswith(where.rstrip("/") + "/"):
                found, longest = after.split(" ")[0], len(where)
    return found
