"""The columns of every table of a study.

``picture`` joins them: the position in the plan, which is the row in every array.
"""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

SCHEMA = 2
"""The form of tables and arrays that this version writes, and the newest that it reads."""

_NAMES = pa.dictionary(pa.int32(), pa.string())


def _column(name: str, kind: pa.DataType, nullable: bool = False) -> pa.Field:
    return pa.field(name, kind, nullable=nullable)


_PICTURE = _column("picture", pa.int64())

TABLES: dict[str, pa.Schema] = {
    "pictures": pa.schema(
        [
            _PICTURE,
            _column("key", pa.string()),
            _column("label", pa.int32(), nullable=True),
            _column("status", _NAMES),
            _column("reason", pa.string(), nullable=True),
            _column("width", pa.int32(), nullable=True),
            _column("height", pa.int32(), nullable=True),
            _column("bytes", pa.int64(), nullable=True),
            _column("content", pa.string(), nullable=True),
        ]
    ),
    "predictions": pa.schema(
        [
            _PICTURE,
            _column("rank", pa.int8()),
            _column("class", pa.int32()),
            _column("logit", pa.float32()),
            _column("probability", pa.float32()),
            _column("target", pa.int32(), nullable=True),
            _column("entropy", pa.float32(), nullable=True),
        ]
    ),
    "scores": pa.schema(
        [
            _PICTURE,
            _column("method", _NAMES),
            _column("metric", _NAMES),
            _column("value", pa.float64()),
            _column("defined", pa.bool_()),
            _column("statistics", pa.list_(pa.float64())),
        ]
    ),
    "curves": pa.schema(
        [
            _PICTURE,
            _column("method", _NAMES),
            _column("curve", _NAMES),
            _column("values", pa.list_(pa.float32())),
        ]
    ),
    "maps_ragged": pa.schema(
        [
            _PICTURE,
            _column("method", _NAMES),
            _column("h", pa.int16()),
            _column("w", pa.int16()),
            _column("values", pa.list_(pa.float32())),
        ]
    ),
    "head_scores": pa.schema(
        [
            _PICTURE,
            _column("block", pa.int16()),
            _column("head", pa.int16()),
            _column("metric", _NAMES),
            _column("value", pa.float32()),
        ]
    ),
}
"""Every table by its name. ``head_scores`` is the long form of the arrays of that name, made by `export` only."""


@dataclass(frozen=True)
class Column:
    """One column of a table, for the manifest."""

    name: str
    kind: str
    nullable: bool


def described(name: str) -> list[Column]:
    """The columns of a table in words, for the manifest.

    Example:
        >>> described("predictions")[1]
        Column(name='rank', kind='int8', nullable=False)
    """
    return [Column(field.name, str(field.type), field.nullable) for field in TABLES[name]]
