"""Arrays of a study, shard by shard: the bytes of one file of Zarr, and reading rows back from all of them.

Zarr 3.1 reads an empty shard file as fill values. So rows are given only from shards that a record vouches for, from
files that have the bytes asked for; every checksum is checked, and what does not fit ends in one line.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.core.buffer import Buffer
from zarr.storage import MemoryStore, StorePath

from vitscope.errors import OutputError, PlaceError, StorageError, VitscopeError, brief
from vitscope.studies.store.specs import (
    ArraySpec,
    array_metadata,
    array_path,
    check_range,
    chunk_key,
    is_whole,
    metadata_path,
)
from vitscope.studies.store.tables import damaged
from vitscope.studies.store.vouched import VouchedFiles

if TYPE_CHECKING:
    from vitscope.storage.stores import Store


def encode_shard(spec: ArraySpec, shard_size: int, values: NDArray[Any]) -> bytes:
    """The bytes of the file of one shard: equal for equal values, whoever makes them.

    Args:
        spec: The array.
        shard_size: Pictures in a full shard.
        values: (rows, ...) floats, 1 to ``shard_size`` rows; NaN for pictures that were skipped.

    Raises:
        OutputError: another shape, or values that float16 does not hold (`specs.check_range`).
    """
    if values.shape[1:] != spec.shape or not 1 <= len(values) <= shard_size:
        raise OutputError(
            f"the array {spec.path} takes 1 to {shard_size} rows of shape {spec.shape}, got {values.shape}"
        )
    check_range(spec, values)
    made: dict[str, Buffer] = {}
    # Chunks of NaN are written as well: a shard of skipped pictures is then a file like any other.
    array = _array(array_metadata(spec, shard_size, shard_size), MemoryStore(made), write_empty_chunks=True)
    array[: len(values)] = np.ascontiguousarray(values, dtype=spec.dtype)
    return bytes(made[chunk_key(spec, 0)].to_bytes())


def blank_rows(spec: ArraySpec, rows: int) -> NDArray[Any]:
    """(rows, ...) NaN in the array's type: what stays where pictures are skipped."""
    return np.full((rows, *spec.shape), np.nan, dtype=spec.dtype)


class StudyArray:
    """Rows of all shards of an array, read when asked for: ``array[17]``, ``array[:100, 0]``, ``array[[3, 9]]``.

    Rows of skipped pictures, and of shards that are not finished, are NaN.

    ``shape``, ``dtype`` and ``dims`` (names of the dimensions) are those of the whole; ``shard_size`` pictures lie in
    one file.
    """

    def __init__(self, array: zarr.Array[Any], files: VouchedFiles, vouched: Callable[[int], bool]) -> None:
        self._array, self._files, self._vouched = array, files, vouched
        self.shape: tuple[int, ...] = tuple(array.shape)
        self.dtype = np.dtype(array.dtype)
        self.dims = tuple(str(name) for name in getattr(array.metadata, "dimension_names", None) or ())
        self.shard_size = int((array.shards or array.chunks)[0])

    @property
    def ndim(self) -> int:
        """How many dimensions the array has."""
        return len(self.shape)

    @property
    def shards(self) -> int:
        """How many shards the array has, finished or not."""
        return -(-self.shape[0] // self.shard_size)

    def __len__(self) -> int:
        return self.shape[0]

    def __repr__(self) -> str:
        sizes = ", ".join(f"{name}: {size}" for name, size in zip(self.dims, self.shape, strict=True))
        return f"StudyArray({sizes}; {self.dtype.name})"

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.asarray(self[:], dtype=dtype)

    def __getitem__(self, key: Any) -> NDArray[Any]:
        """The values of a selection: whole numbers, slices, ``...``, and a list or a mask in one of the dimensions.

        Raises:
            DamagedError: a file that it needs is missing, empty, cut off or changed; the line names it.
            PlaceError: it is outside the array.
        """
        selection = key if isinstance(key, tuple) else (key,)
        listed = any(isinstance(each, list | np.ndarray) for each in selection)
        try:
            found = self._listed(selection) if listed else self._array[selection]
            return np.asarray(found)
        except VitscopeError:
            raise
        except Exception as error:
            raise self._reason(selection, error) from None

    def _listed(self, selection: tuple[Any, ...]) -> NDArray[Any]:
        """With a list or a mask in it; whole numbers beside them are cut out afterwards, which every zarr can."""
        at = next((place for place, each in enumerate(selection) if each is Ellipsis), len(selection))
        rest = (slice(None),) * (len(self.shape) - len(selection[:at]) - len(selection[at + 1 :]))
        whole = (*selection[:at], *rest, *selection[at + 1 :])
        alone = [isinstance(each, int | np.integer) for each in whole]
        lists = tuple(np.asarray([each]) if one else each for one, each in zip(alone, whole, strict=True))
        found = np.asarray(self._array.get_orthogonal_selection(lists))
        return found[tuple(0 if one else slice(None) for one in alone)]

    def iterate(self, shards: Iterable[int]) -> Iterator[tuple[int, NDArray[Any]]]:
        """The position of the first picture and the rows of each of these shards: memory for one shard.

        Raises DamagedError as reading rows does.
        """
        for shard in shards:
            start = shard * self.shard_size
            yield start, self[start : min(start + self.shard_size, len(self))]

    def _reason(self, selection: tuple[Any, ...], error: Exception) -> VitscopeError:
        """Which file does not fit its checksums, or else that the selection is none."""
        try:
            chosen = np.atleast_1d(np.arange(len(self))[selection[0] if selection else ...])
            shards = sorted(set((chosen // self.shard_size).tolist()))
        except (IndexError, TypeError, ValueError):
            shards = []
        for shard in shards:
            if not self._vouched(shard):
                continue
            try:
                self._array[shard * self.shard_size : (shard + 1) * self.shard_size]
            except VitscopeError as found:
                return found
            except Exception as found:
                key = ".".join(("c", str(shard), *("0" for _ in self.shape[1:])))
                fits = "checksum" not in str(found).lower()
                why = brief(found) if fits else "its checksum does not fit"
                return damaged(self._files.place(key), why)
        return PlaceError(
            f"{str(selection)[:80]} is no place in an array of shape {self.shape} ({brief(error)}); "
            "give numbers, slices, or one list of numbers"
        )


def open_array(store: Store, path: str, vouched: Callable[[int], bool]) -> StudyArray:
    """Open an array of a study for reading.

    Args:
        store: The study's place, on this disk or under a URL.
        path: Of the array: ``maps/gmar``.
        vouched: Whether a record says that a shard is finished. Files of other shards are never opened: a run that
            was killed may have left them, and their rows are NaN until a later run has made them.

    Raises:
        StorageError: there is no such array.
        DamagedError: its description is not as it was written.
    """
    name = metadata_path(path)
    if not store.exists(name):
        raise StorageError(
            f"the study has no array {path!r} ({store.url(name)}); see its manifest for those it has"
        )
    content = store.read(name)
    if not is_whole(content):
        raise damaged(store.url(name), "its checksum does not fit" if content else "it is empty")
    files = VouchedFiles(store, array_path(path), vouched)
    return StudyArray(_array(content, files), files, vouched)


def _array(metadata: bytes, store: Any, **config: Any) -> zarr.Array[Any]:
    made: Any = zarr.AsyncArray(json.loads(metadata), StorePath(store), config=config or None)  # type: ignore[arg-type]
    return zarr.Array(made)
