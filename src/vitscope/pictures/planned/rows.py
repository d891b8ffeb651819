"""Pictures that lie in a column of a Parquet file, read by row; the row groups in use stay for the next ones."""

from __future__ import annotations

import bisect
import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from vitscope.errors import PictureError, VitscopeError, brief
from vitscope.pictures.planned.place import Place

GROUPS = 2
"""Row groups that stay: pictures are asked for in order, by threads that may stand on both sides of a border."""


@dataclass
class Rows:
    """The pictures of the tables of one place. Threads may share it."""

    place: Place
    _starts: dict[str, list[int]] = field(default_factory=dict)
    _groups: OrderedDict[tuple[str, str, int], pa.ChunkedArray] = field(default_factory=OrderedDict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __getstate__(self) -> dict[str, Any]:
        return {"place": self.place}  # another process opens its own

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]

    def content(self, source: str, column: str, row: int, name: str) -> bytes:
        """The bytes of one picture.

        Raises PictureError: no such row, a row without bytes, or a file that cannot be read.
        """
        with self._lock:
            group, first = self._group(source, column, row, name)
        value = group[row - first].as_py()
        if isinstance(value, dict):
            value = value.get("bytes")
        if not value:
            raise PictureError(f"{name} holds no bytes in {column}; store the picture itself in the table")
        return bytes(value)

    def _group(self, source: str, column: str, row: int, name: str) -> tuple[pa.ChunkedArray, int]:
        starts = self._starts.get(source)
        if starts is not None and row < starts[-1]:
            number = _group_of(starts, row)
            kept = self._groups.get((source, column, number))
            if kept is not None:
                self._groups.move_to_end((source, column, number))
                return kept, starts[number]
        try:
            with self.place.seekable(source) as stream:
                file = pq.ParquetFile(stream)
                starts = [0]
                for group in range(file.metadata.num_row_groups):
                    starts.append(starts[-1] + file.metadata.row_group(group).num_rows)
                self._starts[source] = starts
                if row >= starts[-1]:
                    raise PictureError(f"{name} is not there any more ({starts[-1]:,} rows); fetch it again")
                number = _group_of(starts, row)
                column_read = file.read_row_group(number, columns=[column])[column]
        except VitscopeError:
            raise
        except (pa.ArrowException, OSError, ValueError, KeyError) as error:
            raise PictureError(f"{name} cannot be read ({brief(error)}); fetch the table again") from error
        self._groups[(source, column, number)] = column_read
        while len(self._groups) > GROUPS:
            self._groups.popitem(last=False)
        return column_read, starts[number]


def _group_of(starts: list[int], row: int) -> int:
    return bisect.bisect_right(starts, row) - 1
