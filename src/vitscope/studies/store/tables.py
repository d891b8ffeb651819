"""Tables of a study: one Parquet file per table and shard, written once and read by any program.

Every file carries a checksum of all its bytes beside those of its pages, and says which study and shard it is of, so
that a flipped bit, a file cut off and a file in a wrong place are told before a value is used.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from vitscope.errors import DamagedError, OutputError, StorageError, nearest, printable
from vitscope.storage.tables import seal_of, sealed
from vitscope.studies.store.keys import key_to_text
from vitscope.studies.store.schemas import SCHEMA, TABLES

if TYPE_CHECKING:
    from vitscope.storage.stores import Store

Columns = Mapping[str, Sequence[Any] | np.ndarray[Any, Any] | pa.Array]
FOLDER = "tables"
REMEDY = "vitscope study status --verify withdraws what is damaged, then study run makes it anew"
_FILE = re.compile(r"(\d{6,})\.parquet")
PACKING: dict[str, Any] = {"compression": "zstd", "compression_level": 3, "write_page_checksum": True}
"""How every Parquet file is written."""


def table_path(name: str, shard: int) -> str:
    """Where the file of a table and shard lies in its study."""
    return f"{FOLDER}/{name}/{shard:06d}.parquet"


def encode_table(name: str, columns: Columns, *, study: str, shard: int) -> bytes:
    """The bytes of the file of a table and shard: equal for equal values, whoever makes them.

    Args:
        name: Of the table.
        columns: Values by column, all of one length; columns that may be null can be left out. Keys that are no
            UTF-8 are written as ``keys.key_to_text`` does. Rows are sorted by picture and keep their order within one.
        study: The study's uuid.
        shard: The shard's number.

    Raises:
        OutputError: columns are missing, unknown, of unequal length, or hold what their type does not.
    """
    schema = _schema(name)
    unknown = [column for column in columns if column not in schema.names]
    if unknown:
        raise OutputError(f"the table {name} has no column {unknown[0]!r}; it has {', '.join(schema.names)}")
    lengths = {len(values) for values in columns.values()}
    if len(lengths) != 1:
        raise OutputError(f"the columns of {name} have {sorted(lengths)} values; give each as many")
    (rows,) = lengths
    arrays = [_array(name, field, columns.get(field.name), rows) for field in schema]
    table = pa.Table.from_arrays(arrays, schema=schema)
    picture = table.column("picture").to_numpy()
    if rows and np.any(picture[1:] < picture[:-1]):
        table = table.take(np.argsort(picture, kind="stable"))
    return encode_parquet(table, {"vitscope_schema": SCHEMA, "study": study, "shard": shard})


def encode_parquet(table: pa.Table, note: Mapping[str, object]) -> bytes:
    """The bytes of a Parquet file with checksums of its pages and of the whole; ``note`` is the schema's metadata."""
    metadata = {name.encode(): str(value).encode() for name, value in note.items()}
    sink = io.BytesIO()
    noted = table.replace_schema_metadata(metadata)
    with pq.ParquetWriter(sink, noted.schema, **PACKING) as writer:
        writer.write(noted)
    return sealed(sink.getvalue())


def decode_parquet(content: bytes, place: str, columns: Iterable[str] | None = None) -> pa.Table:
    """What `encode_parquet` made, back; the note is in the schema's metadata. ``place`` is what messages call it.

    Of ``columns`` those that it has, all when left out.

    Raises DamagedError when it is empty, cut off or changed by as much as one bit.
    """
    if not content:
        raise damaged(place, "it is empty")
    if not seal_of(content):
        raise damaged(place, "its checksum does not fit")
    try:
        file = pq.ParquetFile(pa.BufferReader(content), page_checksum_verification=True)
        there = file.schema_arrow.names
        return file.read(columns=None if columns is None else [name for name in columns if name in there])
    except Exception as error:
        raise damaged(place, str(error)) from None


def damaged(place: str, why: str) -> DamagedError:
    """The error of a study's file that is not as it was written."""
    return DamagedError(f"{place} is damaged ({' '.join(why.split())[:160]}); {REMEDY}")


def shards_of_table(store: Store, name: str) -> list[int]:
    """The shards of which a table has a file, finished or not."""
    _schema(name)
    found = (_FILE.fullmatch(each) for each in store.list(f"{FOLDER}/{name}"))
    return sorted(int(match.group(1)) for match in found if match)


def iterate_arrow(
    store: Store,
    name: str,
    shards: Iterable[int] | None = None,
    columns: Sequence[str] | None = None,
    *,
    study: str | None = None,
) -> Iterator[pa.Table]:
    """As `iterate_table`, as Arrow tables whose columns have the types of the schema."""
    schema = _schema(name)
    unknown = [column for column in columns or () if column not in schema.names]
    if unknown:
        close = ", ".join(nearest(unknown[0], schema.names))
        raise StorageError(f"the table {name} has no column {unknown[0]!r}; did you mean {close}?")
    wanted = schema if columns is None else pa.schema([schema.field(column) for column in columns])
    for shard in shards_of_table(store, name) if shards is None else shards:
        yield _read_shard(store, name, shard, wanted, study)


def iterate_table(
    store: Store,
    name: str,
    shards: Iterable[int] | None = None,
    columns: Sequence[str] | None = None,
    *,
    study: str | None = None,
) -> Iterator[pd.DataFrame]:
    """A table shard by shard, each a frame of its own: memory for one shard, however many there are.

    Args:
        store: The study's place.
        name: Of the table.
        shards: Those to read, in this order: the ones that records vouch for. All files of the table when left out.
        columns: Those to read; all when left out.
        study: The study's uuid; a file of another study is then refused.

    Raises:
        DamagedError: a file is missing, empty, cut off, changed by as much as one bit, or of another shard or study.
        StorageError: there is no such table or column, or a newer vitscope wrote it.
    """
    for table in iterate_arrow(store, name, shards, columns, study=study):
        yield table.to_pandas()


def read_table(
    store: Store,
    name: str,
    shards: Iterable[int] | None = None,
    columns: Sequence[str] | None = None,
    *,
    study: str | None = None,
) -> pd.DataFrame:
    """A table of all shards as one frame; for what `iterate_table` takes, and with the errors that it raises."""
    parts = list(iterate_arrow(store, name, shards, columns, study=study))
    if not parts:
        schema = _schema(name)
        parts = [pa.schema([schema.field(c) for c in columns or schema.names]).empty_table()]
    # One dictionary for all shards, so that a column of methods stays a column of categories.
    whole = pa.concat_tables(parts).unify_dictionaries()
    del parts
    frame: pd.DataFrame = whole.to_pandas(split_blocks=True, self_destruct=True)
    return frame


def _read_shard(store: Store, name: str, shard: int, wanted: pa.Schema, study: str | None) -> pa.Table:
    path = table_path(name, shard)
    place = store.url(path)
    if not store.exists(path):
        raise damaged(place, "it is missing though its shard is finished")
    content = store.read(path)
    table = decode_parquet(content, place, wanted.names)
    note = table.schema.metadata or {}
    try:
        made, of = int(note[b"vitscope_schema"]), int(note[b"shard"])
    except (KeyError, ValueError):
        raise damaged(place, "it does not say which shard it is of") from None
    if made > SCHEMA:
        raise StorageError(
            f"{place} was made by schema {made}; this vitscope reads up to {SCHEMA}; upgrade vitscope"
        )
    if of != shard:
        raise damaged(place, f"it is the file of shard {of}")
    if study is not None and note.get(b"study", b"").decode() != study:
        raise damaged(place, "it is a file of another study")
    return _conformed(table, wanted, place)


def _conformed(table: pa.Table, wanted: pa.Schema, place: str) -> pa.Table:
    """The wanted columns in their types; those that an older schema did not have are null."""
    arrays = []
    for field in wanted:
        if field.name in table.column_names:
            arrays.append(table.column(field.name).cast(field.type))
        elif field.nullable:
            arrays.append(pa.chunked_array([pa.nulls(table.num_rows, field.type)]))
        else:
            raise damaged(place, f"it has no column {field.name}")
    return pa.Table.from_arrays(arrays, schema=wanted)


def _schema(name: str) -> pa.Schema:
    if name not in TABLES:
        raise StorageError(f"a study has no table {name!r}; did you mean {', '.join(nearest(name, TABLES))}?")
    return TABLES[name]


def _array(name: str, field: pa.Field, values: Any, rows: int) -> pa.Array:
    if values is None:
        if not field.nullable:
            raise OutputError(f"the table {name} needs its column {field.name!r}; give it")
        return pa.nulls(rows, field.type)
    if isinstance(values, pa.ChunkedArray):
        values = values.combine_chunks()
    if field.name in ("key", "reason") and not isinstance(values, pa.Array):
        write = key_to_text if field.name == "key" else printable
        values = [None if value is None else write(str(value)) for value in values]
    try:
        kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
        array = (
            values.cast(kind) if isinstance(values, pa.Array) else pa.array(_plain(values, kind), type=kind)
        )
        array = array.dictionary_encode() if pa.types.is_dictionary(field.type) else array
    except (pa.ArrowException, UnicodeError, TypeError, ValueError, OverflowError) as error:
        raise OutputError(f"the column {field.name!r} of {name} does not take its values ({error})") from None
    if array.null_count and not field.nullable:
        raise OutputError(
            f"the column {field.name!r} of {name} has {array.null_count} empty values; fill them"
        )
    return array


def _plain(values: Any, kind: pa.DataType) -> Any:
    """Values as Arrow takes them: rows of a matrix as lists, floats of any precision as they are."""
    if isinstance(values, np.ndarray) and values.ndim > 1:
        return list(values.reshape(len(values), -1))
    if isinstance(values, np.ndarray) and pa.types.is_floating(kind):
        return values.astype(kind.to_pandas_dtype())
    return values
