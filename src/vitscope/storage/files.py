"""The one way in which files are written: whole or not at all, never through a link, never destroying what was."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from vitscope.errors import MissingError, OutputError, StorageError

Place = str | os.PathLike[str]
Content = bytes | bytearray | memoryview | str

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
_NEW_READABLE = (_NEW & ~os.O_WRONLY) | os.O_RDWR
# A named pipe would keep a plain open waiting for ever.
_READ = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NONBLOCK", 0)

_WITHOUT_LINKS = {
    getattr(errno, name, None) for name in ("EPERM", "ENOTSUP", "EOPNOTSUPP", "ENOSYS", "EMLINK")
}


class NoLinks(OSError):
    """A file system gives no second name to a file, so nobody can be told that he was the first to make it."""


def write(path: Place, content: Content) -> Path:
    """Write ``content`` to ``path``, making the folder if needed; returns the path.

    The bytes go to a temporary file of a name used once, in the same folder, reach the disk, and then take the place
    of ``path`` in one step. Whoever reads ``path`` sees the old file or the new one; a link that stands there is
    replaced, not followed, and a file that stands there hands on its rights. Text is written as UTF-8.

    Raises:
        OutputError: the place cannot be written (full disk, no rights, a folder stands there, ...). What was there
            is then untouched, and no temporary file stays, also after Ctrl-C.

    Example:
        >>> write("/tmp/vitscope-example/words.txt", "whole or not at all").read_text()
        'whole or not at all'
    """
    target = Path(path)
    _put(target, content)
    return target


def make_folder(path: Place) -> Path:
    """Make an output folder, with those above it, and see that files can be made in it; returns its path.

    Raises OutputError when a file stands there or when it cannot be written to.
    """
    folder = Path(path)
    try:
        make_folders(folder)
        # No fixed name: two processes may ask at the same time, and a link may lie in wait.
        probe = folder / _once()
        try:
            os.close(os.open(probe, _NEW, 0o600))
        finally:
            with contextlib.suppress(OSError):
                os.unlink(probe)
    except (FileExistsError, NotADirectoryError):
        file = next((place for place in (*reversed(folder.parents), folder) if not place.is_dir()), folder)
        raise OutputError(f"{file} is a file, not a folder; give --out a folder") from None
    except (OSError, ValueError) as error:
        raise OutputError(
            f"cannot write to the folder {folder} ({reason(error)}); give --out a folder of yours"
        ) from None
    return folder


def remove(path: Place) -> None:
    """Remove a file where it is there."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


def read(path: Place) -> bytes:
    """The bytes of a saved file.

    Raises MissingError when there is no such file, StorageError when it is a folder, a device or a pipe, or cannot be
    read.
    """
    if not isinstance(path, str | os.PathLike):
        raise StorageError(f"expected the path of a saved file, got {type(path).__name__}; give a path")
    try:
        return contents(path)
    except (FileNotFoundError, NotADirectoryError):
        raise MissingError(f"there is no file {path}; check the path") from None
    except (OSError, ValueError, MemoryError) as error:
        raise StorageError(f"cannot read {path} ({reason(error)}); check the path") from None


def contents(path: Place) -> bytes:
    """The bytes of a file; for those who read a fault's number.

    Raises OSError as the system gave it, and StorageError when it is no plain file.
    """
    with open(os.open(path, _READ), "rb", buffering=0, closefd=True) as stream:
        if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
            raise StorageError(f"{path} is no file; give a file that vitscope saved")
        return stream.readall()


def settle(target: Path, data: bytes | bytearray | memoryview, temporary: Path, *, new: bool = False) -> bool:
    """Write ``temporary``, a name used once in the folder of ``target``, and let it take the place of ``target``.

    The folder must be there: none is made. With ``new`` nothing that stands there is replaced: False is returned, and
    of two that try at the same time one is told True. ``temporary`` is removed whatever happens.

    Raises OSError or ValueError as the system gave it, and NoLinks where ``new`` cannot be promised.
    """
    made = True
    try:
        with os.fdopen(os.open(temporary, _NEW, 0o666), "wb") as stream:
            if not new:
                _keep_rights(target, stream.fileno())
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        if new:
            try:
                os.link(temporary, target)
            except FileExistsError:
                made = False
            except OSError as error:
                if error.errno in _WITHOUT_LINKS:
                    raise NoLinks(error.errno, error.strerror) from None
                raise
            os.unlink(temporary)
        else:
            os.replace(temporary, target)
    except BaseException:
        with contextlib.suppress(OSError, ValueError):
            os.unlink(temporary)
        raise
    _sync_folder(target.parent)
    return made


@contextlib.contextmanager
def writing(path: Place) -> Iterator[BinaryIO]:
    """A file to fill piece by piece, for what does not fit in memory; it can be read and sought in as well.

    Its folder is made if needed. It takes the place of ``path`` in one step when the block ends; when the block raises,
    nothing is left of it and what stood there stays.

    Raises:
        OutputError: the place cannot be written, also in the block.

    Example:
        >>> with writing("/tmp/vitscope-example/count.txt") as stream:
        ...     sizes = [stream.write(f"{number} ".encode()) for number in range(3)]
        >>> read("/tmp/vitscope-example/count.txt")
        b'0 1 2 '
    """
    target = Path(path)
    temporary = target.with_name(_once()) if target.name else target / _once()
    try:
        make_folders(target.parent)
        with os.fdopen(os.open(temporary, _NEW_READABLE, 0o666), "w+b") as stream:
            _keep_rights(target, stream.fileno())
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, target)
    except BaseException as error:
        with contextlib.suppress(OSError, ValueError):
            os.unlink(temporary)
        if isinstance(error, OSError):
            raise OutputError(f"cannot write {target} ({reason(error)}); choose another place") from None
        raise
    _sync_folder(target.parent)


def append(path: Place, data: bytes) -> None:
    """Add whole lines to the end of a file, made if needed, in one step, so that lines of several writers never mix.

    Raises OSError as the system gave it.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_CLOEXEC", 0), 0o666)
    try:
        if os.write(descriptor, data) != len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    finally:
        os.close(descriptor)


def make_folders(folder: Path) -> None:
    """Like ``mkdir -p``, without recursion: a path may be a thousand folders deep.

    Raises OSError as the system gave it.
    """
    missing = []
    for place in (folder, *folder.parents):
        if place.is_dir():
            break
        missing.append(place)
    for place in reversed(missing):
        try:
            os.mkdir(place)
        except FileExistsError:
            # Another process may have made it just now.
            if not place.is_dir():
                raise NotADirectoryError(20, f"{place} is a file, not a folder") from None


def reason(error: BaseException) -> str:
    """The system's own words for what failed."""
    return (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__


def _put(target: Path, content: Content) -> None:
    """Make the folder, and write."""
    # Names that are not UTF-8 reach us as lone surrogates; they are written as \udcXX, which always works.
    data = content.encode("utf-8", "backslashreplace") if isinstance(content, str) else content
    temporary = target.with_name(_once()) if target.name else target / _once()
    try:
        make_folders(target.parent)
        settle(target, data, temporary)
    except (OSError, ValueError) as error:
        raise OutputError(f"cannot write {target} ({reason(error)}); choose another place") from None


def _keep_rights(target: Path, descriptor: int) -> None:
    """Give a new file the rights of the one that it will replace: what was private stays so."""
    with contextlib.suppress(OSError, AttributeError):
        before = os.lstat(target)
        if stat.S_ISREG(before.st_mode):
            os.fchmod(descriptor, stat.S_IMODE(before.st_mode))


def _once() -> str:
    """A file name that nobody else uses, whatever processes and threads there are."""
    return f".vitscope-{uuid.uuid4().hex}.tmp"


def _sync_folder(folder: Path) -> None:
    """Let the new name itself reach the disk; not every file system can."""
    with contextlib.suppress(OSError, ValueError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
