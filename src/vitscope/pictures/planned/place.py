"""Where the files of a plan lie: below a folder of this machine, or below a URL; the one reader of their bytes."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

from vitscope.errors import MissingExtraError, PictureError, SourceError, VitscopeError, brief
from vitscope.pictures.planned.names import name_of_text
from vitscope.pictures.read import open_file, unreadable
from vitscope.storage.paths import typed_path

MAX_BYTES: Final = 2**31
"""Most bytes of an encoded picture that is read into memory as a whole."""


def is_url(text: str) -> bool:
    """Whether this names a file elsewhere. No path below a folder holds ``://``."""
    return "://" in text


def store_of(url: str) -> tuple[Any, str]:
    """The file system of a URL, and the path in it.

    Raises MissingExtraError when its package is not installed, SourceError when it cannot be reached.
    """
    from fsspec.core import url_to_fs

    try:
        store, path = url_to_fs(url, use_listings_cache=False)
    except ImportError as error:
        if url.startswith(("s3://", "s3a://")):
            raise MissingExtraError("s3fs", "s3", f"reading {url[:80]}") from error
        raise SourceError(f"{url[:200]} needs another package ({brief(error)}); install it") from error
    except Exception as error:
        raise SourceError(f"{url[:200]} cannot be opened ({brief(error)}); check the address") from error
    return store, str(path)


@dataclass(frozen=True)
class Place:
    """A folder or a URL that the sources of planned pictures are relative to.

    ``root``: an absolute path or a URL, without a slash at its end.
    """

    root: str

    @classmethod
    def of(cls, root: str | os.PathLike[str]) -> Place:
        """The place of a folder or URL as it was typed."""
        text = os.fspath(root).removeprefix("file://")
        if is_url(text):
            scheme, _, path = text.partition("://")
            return cls(f"{scheme}://{path.rstrip('/')}")
        return cls(os.path.abspath(typed_path(text, PictureError)))

    @property
    def prefix(self) -> str:
        """What stands before the names of its files."""
        return self.root if self.root.endswith("/") else f"{self.root}/"

    @property
    def remote(self) -> bool:
        """Whether it is elsewhere."""
        return is_url(self.root)

    def address(self, source: str) -> str:
        """The path or URL of a source."""
        name = name_of_text(source)
        if is_url(name) or name.startswith("/"):
            return name
        return self.prefix + name

    @contextmanager
    def opened(self, source: str, offset: int = 0, size: int = -1, name: str = "") -> Iterator[IO[bytes]]:
        """The bytes of a file, or ``size`` of them from ``offset`` on, as a stream that can be read again.

        ``name``: what messages call that part of a file.

        Raises:
            PictureError: It is missing, empty, too large or shorter than it must be.
            SourceError: The whole place is gone or does not answer.
        """
        address = self.address(source)
        name = name or address
        if size == 0:
            raise PictureError(f"{name} is empty (0 bytes); pack it again")
        if size > MAX_BYTES:
            raise PictureError(f"{name} has {size:,} bytes, which no picture has; pack it again")
        if is_url(address):
            yield io.BytesIO(_fetched(address, offset, size, name))
            return
        try:
            with open_file(Path(address)) as stream:
                yield stream if size < 0 else io.BytesIO(_cut(stream, address, offset, size, name))
        except PictureError as error:
            self._refuse_if_gone(error)
            raise

    @contextmanager
    def seekable(self, source: str) -> Iterator[IO[bytes]]:
        """A file to look through: a table or an archive. Elsewhere it is fetched block by block, as it is read.

        Raises PictureError when it is missing or cannot be read.
        """
        address = self.address(source)
        if not is_url(address):
            try:
                with open_file(Path(address)) as stream:
                    yield stream
            except OSError as error:
                raise unreadable(address, error) from error
            return
        store, path = store_of(address)
        try:
            with store.open(path, "rb") as stream:
                yield stream
        except VitscopeError:
            raise
        except (FileNotFoundError, PermissionError) as error:
            raise unreadable(address, error) from error
        except (OSError, ValueError) as error:
            raise SourceError(f"{address} cannot be read ({brief(error)}); check the connection") from error

    def _refuse_if_gone(self, error: PictureError) -> None:
        try:
            with os.scandir(self.root) as entries:
                gone = not any(entries)  # a mount that vanished leaves an empty folder behind
        except PermissionError:
            return
        except OSError:
            gone = True
        if gone:
            raise SourceError(
                f"the folder of the pictures {self.root} is gone; mount it again, or put it back"
            ) from error


def _cut(stream: IO[bytes], file: str, offset: int, size: int, name: str) -> bytes:
    try:
        stream.seek(offset)
        content = stream.read(size)
    except OSError as error:
        raise unreadable(file, error) from error
    return _complete(content, size, name)


def _complete(content: bytes, size: int, name: str) -> bytes:
    if len(content) != size:
        raise PictureError(
            f"{name} is cut short ({len(content):,} of {size:,} bytes): its archive was changed; fetch that again"
        )
    return content


def _fetched(url: str, offset: int, size: int, name: str) -> bytes:
    store, path = store_of(url)
    try:
        if size < 0:
            content = bytes(store.cat_file(path))
        else:
            content = bytes(store.cat_file(path, start=offset, end=offset + size))
    except (FileNotFoundError, PermissionError) as error:
        if isinstance(error, FileNotFoundError):
            _refuse_if_away(store, path, url, error)
        raise unreadable(url, error) from error
    except Exception as error:
        if any(sign in str(error) for sign in ("InvalidRange", "Range Not Satisfiable", "not satisfiable")):
            return _complete(b"", size, name)
        raise SourceError(f"{url} cannot be fetched ({brief(error)}); check the connection") from error
    if size < 0 and not content:
        raise PictureError(f"{url} is empty (0 bytes); fetch or export it again")
    if 0 <= size < len(content):  # a server that knows no ranges sends the whole file
        content = content[offset : offset + size]
    return content if size < 0 else _complete(content, size, name)


def _refuse_if_away(store: Any, path: str, url: str, error: BaseException) -> None:
    """Raise SourceError when the bucket itself is gone; a missing object of it is that picture's own trouble."""
    bucket = path.strip("/").partition("/")[0]
    if not url.startswith(("s3://", "s3a://", "gs://", "gcs://")):
        return
    try:
        there = bool(store.exists(bucket))
    except Exception:
        there = False
    if not there:
        raise SourceError(f"the bucket {bucket} of {url} is gone; check its name and your access") from error
