"""One picture of a plan: its key, where its bytes lie, and what is known of it; plans as columns of a table."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import pyarrow as pa

from vitscope.errors import DataError
from vitscope.pictures.truth import Box

SCHEMA = pa.schema(
    [
        pa.field("picture", pa.int64(), nullable=False),
        pa.field("key", pa.string(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("offset", pa.int64(), nullable=False),
        pa.field("size", pa.int64(), nullable=False),
        pa.field("column", pa.string()),
        pa.field("label", pa.int32()),
        pa.field("boxes", pa.list_(pa.list_(pa.float64()))),
        pa.field("mask", pa.string()),
        pa.field("reason", pa.string()),
    ]
)
"""Columns of a table of planned pictures."""


class PlannedPicture(NamedTuple):
    """One picture that a run will look at: where it lies and what is known of it. Nothing is opened for it.

    Args:
        key: Its name, unique in the plan and independent of where the root lies; random draws depend on it.
        source: The file that its bytes lie in, relative to the root, or a whole URL; a name that is no UTF-8 is
            written ``bytes:caf%E9.png``.
        offset: Where its bytes begin in that file; with ``column``, the number of its row, from 0.
        size: How many bytes it has there; -1 for the whole file, and for a row.
        column: The column of a Parquet file that holds the bytes; None where ``source`` is no table.
        label: Its class, None when unknown.
        boxes: (x0, y0, x1, y1) each, in upright pixels; None when unknown.
        mask: The file of its mask, written as ``source`` is; None when unknown.
        reason: Why it cannot be read, known already when the plan was made; None otherwise.

    Example:
        >>> import vitscope as vs
        >>> vs.worlds.world("shapes").sample(1).images()[0].save("a.png")
        >>> from vitscope.pictures.planned import plan_pictures
        >>> [picture.key for picture in plan_pictures(".")]
        ['a.png']
    """

    key: str
    source: str
    offset: int = 0
    size: int = -1
    column: str | None = None
    label: int | None = None
    boxes: tuple[Box, ...] | None = None
    mask: str | None = None
    reason: str | None = None


_FIELDS = PlannedPicture._fields


def to_columns(pictures: Iterable[PlannedPicture], first: int = 0) -> pa.Table:
    """Planned pictures as a table with the columns ``SCHEMA``, one row for each.

    Args:
        pictures: Some of a plan, in order.
        first: The number of the first one, for the column ``picture``.

    Returns:
        The table; equal pictures give equal columns, whichever part of the plan they are.

    Example:
        >>> table = to_columns([PlannedPicture("a.png", "a.png", label=3)], first=7)
        >>> table.num_rows, table["picture"][0].as_py(), from_table(table)[0].label
        (1, 7, 3)
    """
    rows = list(pictures)
    columns: dict[str, list[object]] = {name: [getattr(row, name) for row in rows] for name in _FIELDS}
    columns["picture"] = list(range(first, first + len(rows)))
    return pa.table(columns, schema=SCHEMA)


def from_table(table: pa.Table) -> list[PlannedPicture]:
    """The planned pictures of a table that ``to_columns`` made.

    Args:
        table: A whole table or some of its rows.

    Returns:
        One record for each row.

    Raises:
        DataError: A column is missing or of another type.

    Example:
        >>> from_table(to_columns([PlannedPicture("a.png", "a.png")]))[0].source
        'a.png'
    """
    try:
        columns = table.select(list(_FIELDS)).cast(pa.schema([SCHEMA.field(name) for name in _FIELDS]))
    except (KeyError, ValueError, pa.ArrowException) as error:
        raise DataError(f"this is no table of planned pictures ({error}); make the study again") from error
    values = [columns[name].to_pylist() for name in _FIELDS]
    boxes = _FIELDS.index("boxes")
    values[boxes] = [None if known is None else _boxes(known) for known in values[boxes]]
    return [PlannedPicture(*row) for row in zip(*values, strict=True)]


def _boxes(known: Sequence[Sequence[float]]) -> tuple[Box, ...]:
    return tuple((x0, y0, x1, y1) for x0, y0, x1, y1 in known)


class PlanDigest:
    """The sha256 of a plan, made up while its pictures go by; in which portions they do makes no difference.

    Example:
        >>> pictures = [PlannedPicture("a.png", "a.png"), PlannedPicture("b.png", "b.png")]
        >>> whole, parts = PlanDigest(), PlanDigest()
        >>> whole.update(pictures)
        >>> parts.update(pictures[:1])
        >>> parts.update(pictures[1:])
        >>> whole.hexdigest() == parts.hexdigest()
        True
    """

    def __init__(self) -> None:
        self._state = hashlib.sha256()

    def update(self, pictures: Iterable[PlannedPicture]) -> None:
        """Add the next pictures.

        Args:
            pictures: In the order of the plan.
        """
        for picture in pictures:
            self._state.update(json.dumps(picture).encode() + b"\n")

    def hexdigest(self) -> str:
        """The digest of all pictures so far: 64 hexadecimal digits."""
        return self._state.hexdigest()
