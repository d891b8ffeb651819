"""What the analyses of a stage leave of one shard: rows of tables, blocks of arrays, and states to be merged."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vitscope.errors import DamagedError

_TIME = (1980, 1, 1, 0, 0, 0)
"""Every archive says the same time, so that equal contents are equal bytes."""


@dataclass(frozen=True)
class Output:
    """tables: by name, columns of equal length. arrays: by path, one row for every picture of the shard, NaN for those
    that were skipped. states: by plain name, the bytes of a file."""

    tables: Mapping[str, Mapping[str, Sequence[Any] | NDArray[Any]]] = field(default_factory=dict)
    arrays: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    states: Mapping[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True)
class Places:
    """Where the pictures of a shard stand in the study. start, stop: its bounds. keys: of all its pictures."""

    start: int
    stop: int
    keys: Sequence[str]

    def __len__(self) -> int:
        return self.stop - self.start

    def rows(self, keys: Sequence[str]) -> NDArray[np.int64]:
        """The row in the shard of each of these pictures."""
        place = {key: row for row, key in enumerate(self.keys)}
        return np.array([place[key] for key in keys], dtype=np.int64)

    def numbers(self, keys: Sequence[str]) -> NDArray[np.int64]:
        """The number in the study of each of these pictures."""
        return self.rows(keys) + self.start

    def spread(self, keys: Sequence[str], values: NDArray[Any]) -> NDArray[Any]:
        """Values of these pictures with a row for every picture of the shard; NaN for the others."""
        whole = np.full((len(self), *values.shape[1:]), np.nan, dtype=values.dtype)
        whole[self.rows(keys)] = values
        return whole


def pack(states: Mapping[str, bytes]) -> bytes:
    """States as one zip archive without compression, the same bytes for the same contents."""
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(states):
            archive.writestr(zipfile.ZipInfo(name, _TIME), states[name])
    return sink.getvalue()


def unpack(content: bytes, place: str) -> dict[str, bytes]:
    """What `pack` made, back. ``place`` is what messages call it. Raises DamagedError."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return {name: archive.read(name) for name in archive.namelist()}
    except (zipfile.BadZipFile, OSError, ValueError, EOFError, NotImplementedError, RuntimeError) as error:
        raise DamagedError(
            f"{place} is damaged ({error}); vitscope study status --verify finds what has to be made again"
        ) from None


def packed_json(values: Mapping[str, Any]) -> bytes:
    """Plain values as JSON with sorted names."""
    return json.dumps(values, sort_keys=True).encode()
