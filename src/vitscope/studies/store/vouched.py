"""The shard files of one array as Zarr asks for them: only those that a record vouches for, and never fewer bytes."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Iterable
from typing import TYPE_CHECKING, Any

from zarr.abc.store import ByteRequest, OffsetByteRequest, RangeByteRequest, Store, SuffixByteRequest
from zarr.core.buffer import Buffer, BufferPrototype, default_buffer_prototype

from vitscope.errors import StorageError, VitscopeError, brief
from vitscope.studies.store.tables import damaged

if TYPE_CHECKING:
    from vitscope.storage.stores import Store as Files

_KEY = re.compile(r"c\.(\d+)(\.0)*")


class VouchedFiles(Store):
    """A read-only store of Zarr over the folder of one array.

    A shard that nothing vouches for is not there, whatever lies in its place. One that is vouched for is there in full,
    or reading it raises DamagedError.

    Args:
        files: The study's place.
        folder: Of the array in it.
        vouched: Whether a record says that a shard is finished.
    """

    supports_writes = supports_deletes = supports_listing = False
    _nothing: tuple[str, ...] = ()

    def __init__(self, files: Files, folder: str, vouched: Callable[[int], bool]) -> None:
        super().__init__(read_only=True)
        self._files, self._folder, self._vouched = files, folder, vouched
        self._filesystem: Any = files.filesystem()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, VouchedFiles) and self._place("") == other._place("")

    def place(self, key: str) -> str:
        """What messages call a file."""
        return self._place(key)

    async def get(
        self,
        key: str,
        prototype: BufferPrototype | None = None,
        byte_range: ByteRequest | None = None,
    ) -> Buffer | None:
        """The bytes of a shard's file, or None where there is no such shard yet."""
        match = _KEY.fullmatch(key)
        if match is None or not self._vouched(int(match.group(1))):
            return None
        content = await asyncio.to_thread(self._read, self._place(key), byte_range)
        return (prototype or default_buffer_prototype()).buffer.from_bytes(content)

    async def get_partial_values(
        self, prototype: BufferPrototype, key_ranges: Iterable[tuple[str, ByteRequest | None]]
    ) -> list[Buffer | None]:
        """`get` for several."""
        return [await self.get(key, prototype, byte_range) for key, byte_range in key_ranges]

    async def exists(self, key: str) -> bool:
        """Whether there is such a shard."""
        match = _KEY.fullmatch(key)
        return match is not None and self._vouched(int(match.group(1)))

    async def set(self, key: str, value: Buffer) -> None:
        """Refused: files of a study are written once, by its shards."""
        raise StorageError(f"{self._place(key)} is written by its shard only; copy the values to change them")

    async def delete(self, key: str) -> None:
        """Refused, as `set`."""
        raise StorageError(f"{self._place(key)} is written by its shard only; copy the values to change them")

    async def list(self) -> AsyncIterator[str]:
        """Nothing: the shards are known by their numbers."""
        for name in self._nothing:
            yield name

    async def list_prefix(self, prefix: str) -> AsyncIterator[str]:
        """Nothing."""
        for name in self._nothing:
            yield name

    async def list_dir(self, prefix: str) -> AsyncIterator[str]:
        """Nothing."""
        for name in self._nothing:
            yield name

    def _place(self, key: str) -> str:
        return str(self._files.url(f"{self._folder}/{key}" if key else self._folder))

    def _read(self, place: str, asked: ByteRequest | None) -> bytes:
        start, end, least = _bounds(asked)
        try:
            content = bytes(self._filesystem.cat_file(place, start=start, end=end))
            if len(content) >= least:
                return content
            reason = "it is empty" if not content and start in (None, 0) else "it is cut off"
        except FileNotFoundError:
            raise damaged(place, "it is missing though its shard is finished") from None
        except VitscopeError:
            raise
        except Exception as error:
            # Some places refuse a range beyond the end of a file, others give fewer bytes.
            if self._size(place) >= (end or least):
                raise StorageError(f"cannot read {place} ({brief(error)}); check the place") from None
            reason = "it is cut off"
        raise damaged(place, "it is empty" if not self._size(place) else reason)

    def _size(self, place: str) -> int:
        try:
            return int(self._filesystem.info(place)["size"])
        except Exception as error:
            raise StorageError(f"cannot read {place} ({brief(error)}); check the place") from None


def _bounds(asked: ByteRequest | None) -> tuple[int | None, int | None, int]:
    """The start and end of a range as fsspec takes them, and the fewest bytes that a whole file gives."""
    if isinstance(asked, RangeByteRequest):
        return asked.start, asked.end, asked.end - asked.start
    if isinstance(asked, OffsetByteRequest):
        return asked.offset, None, 1
    if isinstance(asked, SuffixByteRequest):
        return -asked.suffix, None, asked.suffix
    return None, None, 1
