"""The frozen list of pictures as Parquet files: 1,000 shards a file, one row group for each shard."""

from __future__ import annotations

import io
import itertools
from collections.abc import Iterable

import pyarrow as pa
import pyarrow.parquet as pq

from vitscope.errors import DamagedError, DataError, MissingError
from vitscope.pictures.planned import PlanDigest, PlannedPicture, from_table, to_columns
from vitscope.storage.stores import Store
from vitscope.storage.tables import seal_of, sealed
from vitscope.studies import layout
from vitscope.studies.manifest import Manifest

SHARDS_OF_FILE = 1000


def write_plan(
    store: Store, pictures: Iterable[PlannedPicture], shard_size: int, study: str
) -> tuple[int, str]:
    """Write the list of pictures of a study, by its uuid; memory holds the rows of one file.

    Returns (how many pictures, their digest).
    """
    digest, count, remaining = PlanDigest(), 0, iter(pictures)
    for index in itertools.count():
        sink = io.BytesIO()
        written = 0
        writer: pq.ParquetWriter | None = None
        for _ in range(SHARDS_OF_FILE):
            shard = list(itertools.islice(remaining, shard_size))
            if not shard:
                break
            digest.update(shard)
            table = to_columns(shard, count).replace_schema_metadata({"study": study})
            if writer is None:
                writer = pq.ParquetWriter(sink, table.schema, compression="zstd", write_page_checksum=True)
            writer.write_table(table, row_group_size=shard_size)
            count, written = count + len(shard), written + len(shard)
        if writer is None:
            break
        writer.close()
        store.put(layout.plan_file(index), sealed(sink.getvalue()))
        if written < SHARDS_OF_FILE * shard_size:
            break
    return count, digest.hexdigest()


class PlanFiles:
    """The list of pictures of a study, read shard by shard; the file of the last one that was asked for is kept."""

    def __init__(self, store: Store, manifest: Manifest) -> None:
        self._store, self._manifest = store, manifest
        self._kept: tuple[int, bytes] | None = None

    def shard(self, shard: int) -> list[PlannedPicture]:
        """The pictures of one shard. Raises DamagedError when the list is not as it was written."""
        index, row_group = divmod(shard, SHARDS_OF_FILE)
        if self._kept is None or self._kept[0] != index:
            self._kept = (index, self._read(layout.plan_file(index)))
        start, stop = self._manifest.bounds(shard)
        try:
            file = pq.ParquetFile(io.BytesIO(self._kept[1]), page_checksum_verification=True)
            study = (file.schema_arrow.metadata or {}).get(b"study", b"").decode()
            found = from_table(file.read_row_group(row_group))
        except (pa.ArrowException, OSError, IndexError, ValueError, DataError) as error:
            raise self._damaged(str(error)) from None
        if study != self._manifest.study:
            raise self._damaged("it is that of another study")
        if len(found) != stop - start:
            raise self._damaged(f"shard {shard} has {len(found)} pictures in it, not {stop - start}")
        return found

    def _read(self, path: str) -> bytes:
        try:
            content = self._store.read(path)
        except MissingError:
            raise self._damaged(f"{path} is missing") from None
        if not seal_of(content):
            raise self._damaged(f"the checksum of {path} does not fit" if content else f"{path} is empty")
        return content

    def check(self) -> None:
        """Raise DamagedError unless the whole list is the one that the study was made with."""
        digest = PlanDigest()
        for shard in range(self._manifest.shards):
            digest.update(self.shard(shard))
        if digest.hexdigest() != self._manifest.input.digest:
            raise self._damaged("it lists other pictures")

    def _damaged(self, why: str) -> DamagedError:
        return DamagedError(
            f"the list of pictures of {self._store.name} is damaged ({why}); take it from a copy, or make another study"
        )
