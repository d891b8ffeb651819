"""Lists of pictures as people have them: CSV with one file a row, Parquet with file names or with the pictures."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Mapping
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from vitscope.errors import DataError, VitscopeError, brief
from vitscope.pictures.annotations.labels import plain_columns
from vitscope.pictures.identity import key_of_name
from vitscope.pictures.planned.names import text_of_name
from vitscope.pictures.planned.record import PlannedPicture
from vitscope.pictures.planned.values import RowReader

KNOWN = ("file", "key", "class_index", "boxes", "mask")
"""Columns that are read; those of ``ALIASES`` are understood in their place."""
IMAGES = ("image", "img", "picture", "jpg", "jpeg", "png", "webp", "pixel_values", "bytes")
"""Names of columns that hold pictures, the first that is there."""


def pictures_in_csv(stream: IO[bytes], name: str, read: RowReader) -> Iterator[PlannedPicture]:
    """The pictures of a CSV file with the columns file, class_index, boxes, mask and key (all but the first optional).

    Raises DataError: not CSV in UTF-8, no column file, or a row that cannot be used; names the line.
    """
    with io.TextIOWrapper(stream, encoding="utf-8-sig", newline="") as text:
        try:
            rows = csv.DictReader(text, skipinitialspace=True, strict=True)
            rows.fieldnames = plain_columns(rows.fieldnames or ())
            if "file" not in rows.fieldnames:
                found = ",".join(rows.fieldnames)[:80] or "nothing"
                raise DataError(
                    f"{name}: expected a header with a column file (found {found}); add a header line, "
                    "separate by commas"
                )
            for row in rows:
                yield read(row, f"{name}, line {rows.line_num}")
        except (UnicodeDecodeError, csv.Error) as error:
            raise DataError(
                f"{name} is not a CSV text file in UTF-8 ({error}); export it again as CSV UTF-8"
            ) from error


def pictures_in_parquet(
    stream: IO[bytes], name: str, below: Callable[[], str], read: RowReader
) -> Iterator[PlannedPicture]:
    """The pictures of a Parquet file: named in a column of texts, or held in a column of bytes.

    Args:
        stream: The file.
        name: What messages call it.
        below: Its name relative to the root, asked when it holds the pictures itself; keys are ``name::row``, unless a
            column ``key`` tells.
        read: Makes a picture of a row of names.

    Yields:
        One picture for each row; the column of bytes itself is not read.

    Raises:
        DataError: No such file, or a row that cannot be used.
    """
    try:
        file = pq.ParquetFile(stream)
        columns = _columns(file.schema_arrow)
        held = _held(file.schema_arrow)
        source = key = ""
        if held is None and "file" not in columns:
            raise DataError(
                f"{name}: expected a column file with names, or image with pictures, found "
                f"{', '.join(file.schema_arrow.names)[:120]}; rename one"
            )
        if held is not None:
            columns.pop("file", None)
            source = text_of_name(below())
            key = key_of_name(below().partition("?")[0] if read.place.remote else below())
        number = 0
        for batch in file.iter_batches(batch_size=4096, columns=list(columns.values())):
            values = {plain: batch.column(own).to_pylist() for plain, own in columns.items()}
            for place in range(batch.num_rows):
                row = {plain: column[place] for plain, column in values.items()}
                where = f"{name}, row {number}"
                yield read(row, where) if held is None else _row(row, where, source, key, held, number, read)
                number += 1
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DataError(f"{name} cannot be read as Parquet ({brief(error)}); export it again") from error
    except KeyError as error:
        raise VitscopeError(f"{name} has no column {error}; export it again") from error


def _row(
    row: Mapping[str, Any], where: str, source: str, key: str, held: str, number: int, read: RowReader
) -> PlannedPicture:
    own = row.get("key")
    name = f"{key}::{number}" if own in (None, "") else key_of_name(str(own))
    return PlannedPicture(name, source, number, -1, held, **read.known(row, where))


def _columns(schema: pa.Schema) -> dict[str, str]:
    """The columns that are read, by their plain names."""
    plain = plain_columns(schema.names)
    readable = {
        known: own
        for known, own in zip(plain, schema.names, strict=True)
        if known in KNOWN and not (known == "file" and not _is_text(schema.field(own).type))
    }
    return readable


def _held(schema: pa.Schema) -> str | None:
    """The column that holds encoded pictures, as bytes or as a record of bytes and path."""
    able = {
        field.name: field.name
        for field in schema
        if _is_bytes(field.type)
        or (pa.types.is_struct(field.type) and field.type.get_field_index("bytes") >= 0)
    }
    lower = {name.lower(): name for name in able}
    named = next((lower[name] for name in IMAGES if name in lower), None)
    return named or (None if "file" in _columns(schema) else next(iter(able), None))


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_dictionary(kind))


def _is_bytes(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))
