"""A study's tables and arrays as single files for other programs: Parquet, CSV and NetCDF.

Each is written shard by shard, so memory stays that of one shard, and appears whole or not at all. Arrays of head
scores become a table, ``head_scores``, with one row for each picture, block, head and metric; NaN has no row.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from vitscope.errors import MissingExtraError, OutputError, nearest
from vitscope.progress import CountedStage, Progress
from vitscope.storage import files
from vitscope.studies.store.arrays import StudyArray, open_array
from vitscope.studies.store.schemas import SCHEMA, TABLES
from vitscope.studies.store.tables import PACKING, iterate_arrow

if TYPE_CHECKING:
    from vitscope.storage.stores import Store

Format = Literal["parquet", "csv", "netcdf"]
ENDINGS = {"parquet": ".parquet", "csv": ".csv", "netcdf": ".nc"}
HEAD_SCORES = "head_scores"
_ROWS, _BYTES = 122_880, 16_000_000
"""A row group: what DuckDB and others work on at a time, and what of it is kept in memory."""


@dataclass(frozen=True)
class Stored:
    """What a study has: its place and uuid, the names of its tables, the paths of its arrays.

    ``finished`` gives the shards, in order, that records vouch for, by the name of a table or the path of an array.
    """

    store: Store
    study: str
    tables: Sequence[str]
    arrays: Sequence[str]
    finished: Callable[[str], Sequence[int]]

    def open(self, path: str) -> StudyArray:
        """One of its arrays."""
        return open_array(self.store, path, set(self.finished(path)).__contains__)


def export(
    stored: Stored,
    out: files.Place,
    *,
    format: Format = "parquet",
    table: str | None = None,
    progress: Progress | None = None,
) -> list[Path]:
    """Write single files of a study.

    Args:
        stored: What it has.
        out: A folder, made if needed, for ``scores.parquet``, ``pictures.parquet``, ... or ``maps.nc``, ...; or the
            file itself, when it has the format's ending and ``table`` names one.
        format: "parquet" and "csv" for tables, "netcdf" for arrays: one file for each kind of array.
        table: Only this table ("scores", "head_scores") or kind of array ("maps").
        progress: Told of every shard.

    Returns:
        The files that were written.

    Raises:
        OutputError: a file cannot be written, or ``table`` is none of this study's.
        DamagedError: a file of the study is not as it was written; nothing is then left of the file that it was for.
        MissingExtraError: NetCDF needs h5netcdf.
    """
    if format not in ENDINGS:
        raise OutputError(
            f"expected a format out of {', '.join(ENDINGS)}, got {format!r}; choose one of them"
        )
    kinds = list(dict.fromkeys(path.partition("/")[0] for path in stored.arrays))
    there = (
        kinds if format == "netcdf" else [*stored.tables, *(kind for kind in kinds if kind == HEAD_SCORES)]
    )
    if table is not None and table not in there:
        other = "--format netcdf" if table in kinds else "--format parquet or csv"
        close = f"did you mean {', '.join(nearest(table, there, 1))}?" if there else "choose another format"
        remedy = f"it is exported with {other}" if table in (*kinds, *stored.tables) else close
        raise OutputError(f"this study has no {table!r} to export as {format}; {remedy}")
    if not there:
        raise OutputError(f"this study has nothing to export as {format}; choose another format")
    names = there if table is None else [table]
    ending = ENDINGS[format]
    one = Path(out).suffix == ending
    if one and len(names) > 1:
        raise OutputError(f"{out} is one file for {len(names)} ({', '.join(names)}); choose one with --table")
    folder = Path(out).parent if one else files.make_folder(out)
    write = {"parquet": _parquet, "csv": _csv, "netcdf": _netcdf}[format]
    shards = sum(len(_shards(stored, name, format)) for name in names)
    counted = CountedStage(progress, "exporting", shards, unit="shards")
    counted.check()
    written = []
    for name in names:
        path = Path(out) if one else folder / f"{name}{ending}"
        with files.writing(path) as stream:
            write(stored, name, stream, counted)
        written.append(path)
    return written


def _shards(stored: Stored, name: str, format: str) -> list[int]:
    """The shards that go into one file."""
    if format != "netcdf" and name != HEAD_SCORES:
        return list(stored.finished(name))
    paths = [path for path in stored.arrays if path.partition("/")[0] == name]
    return sorted({shard for path in paths for shard in stored.finished(path)})


def _rows(stored: Stored, name: str, counted: CountedStage) -> Iterator[pa.Table]:
    """A table shard by shard."""
    shards = _shards(stored, name, "parquet")
    parts = (
        _head_scores(stored, shards)
        if name == HEAD_SCORES
        else iterate_arrow(stored.store, name, shards, study=stored.study)
    )
    for part in parts:
        yield part
        _step(counted)


def _step(counted: CountedStage) -> None:
    counted.advance()
    counted.check()


def _parquet(stored: Stored, name: str, stream: BinaryIO, counted: CountedStage) -> None:
    note = {b"vitscope_schema": str(SCHEMA).encode(), b"study": stored.study.encode()}
    schema = TABLES[name].with_metadata(note)
    waiting: list[pa.Table] = []

    with pq.ParquetWriter(stream, schema, **PACKING) as writer:

        def write() -> None:
            # Shards differ in what their dictionaries hold.
            writer.write(pa.concat_tables(waiting).unify_dictionaries().replace_schema_metadata(note))
            waiting.clear()

        for part in _rows(stored, name, counted):
            waiting.append(part)
            if (
                sum(each.num_rows for each in waiting) >= _ROWS
                or sum(each.nbytes for each in waiting) >= _BYTES
            ):
                write()
        if waiting:
            write()


def _csv(stored: Stored, name: str, stream: BinaryIO, counted: CountedStage) -> None:
    lists = [field.name for field in TABLES[name] if pa.types.is_list(field.type)]
    stream.write((",".join(TABLES[name].names) + "\n").encode())
    for part in _rows(stored, name, counted):
        frame: pd.DataFrame = part.to_pandas(integer_object_nulls=True)
        for column in lists:
            frame[column] = [json.dumps(each.tolist()) for each in frame[column]]
        stream.write(frame.to_csv(index=False, header=False).encode())


def _head_scores(stored: Stored, shards: Iterable[int]) -> Iterator[pa.Table]:
    """One row for each picture, block, head and metric."""
    metrics = {
        path.partition("/")[2] or path: stored.open(path)
        for path in stored.arrays
        if path.partition("/")[0] == HEAD_SCORES
    }
    for shard in shards:
        parts = []
        for metric, array in metrics.items():
            ((start, values),) = array.iterate([shard])
            picture, block, head = np.nonzero(~np.isnan(values))
            columns = [start + picture, block.astype(np.int16), head.astype(np.int16)]
            names = pa.DictionaryArray.from_arrays(np.zeros(len(picture), dtype=np.int32), [metric])
            measured = values[picture, block, head].astype(np.float32)
            arrays = [*map(pa.array, columns), names, pa.array(measured)]
            parts.append(pa.Table.from_arrays(arrays, schema=TABLES[HEAD_SCORES]))
        table = pa.concat_tables(parts).unify_dictionaries().combine_chunks()
        yield table.take(np.argsort(table.column("picture").to_numpy(), kind="stable"))


def _netcdf(stored: Stored, name: str, stream: BinaryIO, counted: CountedStage) -> None:
    """Arrays of one kind as variables of one file; NetCDF has no float16, so all are float32."""
    try:
        import h5netcdf
    except ImportError:
        raise MissingExtraError("h5netcdf", "netcdf", "the format netcdf") from None
    paths = [path for path in stored.arrays if path.partition("/")[0] == name]
    with h5netcdf.File(stream, "w") as file:
        file.attrs["vitscope_study"], file.attrs["schema"] = stored.study, SCHEMA
        variables = {}
        for path in paths:
            array, variable = stored.open(path), path.partition("/")[2].replace("/", "_") or path
            dims = []
            for dim, size in zip(array.dims, array.shape, strict=True):
                # Blocks may differ in their heads.
                dims.append(
                    dim if len(file.dimensions.get(dim, range(size))) == size else f"{dim}_of_{variable}"
                )
                if dims[-1] not in file.dimensions:
                    file.dimensions[dims[-1]] = size
            chunk = (min(array.shape[0], array.shard_size, 16), *array.shape[1:])
            variables[path] = array, file.create_variable(
                variable, tuple(dims), "float32", fillvalue=np.float32(np.nan), chunks=chunk,
                compression="gzip", compression_opts=1, shuffle=True, fletcher32=True,
            )  # fmt: skip
        for shard in _shards(stored, name, "netcdf"):
            for array, variable in variables.values():
                ((start, values),) = array.iterate([shard])
                variable[start : start + len(values)] = values.astype(np.float32)
            _step(counted)
