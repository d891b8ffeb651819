"""The steps from one schema of a study to the next: pure functions of what its manifest says.

A schema is what the manifest, the records, the tables and the arrays of a study look like. A step changes the manifest
alone: shards are never rewritten. New columns of tables must therefore be nullable, and the files of older shards,
which do not have them, are read with nulls there (``store/tables.py``).

A new schema is one entry of MIGRATIONS, a number more in ``manifest.SCHEMA``, and a fixture study in the tests.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from vitscope.studies.store.schemas import TABLES

Values = Mapping[str, Any]


@dataclass(frozen=True)
class Migration:
    """One step, from schema ``start`` to the next.

    change: the values of a manifest of schema ``start`` to those of the next; it is pure, and need not set ``schema``.
    columns: by table, the columns that are new in it; each must be nullable. reads: whether a study can be read before
    it was migrated, because nothing came but such columns and values that have a default.
    """

    start: int
    change: Callable[[Values], Values]
    columns: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    reads: bool = True

    def __post_init__(self) -> None:
        for table, names in self.columns.items():
            for name in names:
                if not TABLES[table].field(name).nullable:
                    raise ValueError(
                        f"the new column {name} of {table} must be nullable: older shards lack it"
                    )


MIGRATIONS: tuple[Migration, ...] = (Migration(1, dict, {"predictions": ("entropy",)}),)
"""All steps, the oldest first.

1 to 2: predictions say the entropy of all class probabilities, and ``features`` may be kept."""


def between(schema: int, newest: int) -> list[Migration]:
    """The steps from a schema to the newest. Raises LookupError when one is missing."""
    known = {step.start: step for step in MIGRATIONS}
    return [known[number] for number in range(schema, newest)]


def readable(schema: int, newest: int) -> bool:
    """Whether a study of this schema can be read as it is."""
    try:
        return all(step.reads for step in between(schema, newest))
    except LookupError:
        return False


def changed(values: Values, schema: int, newest: int) -> dict[str, Any]:
    """The values of a manifest of an older schema as those of the newest."""
    found = dict(values)
    for step in between(schema, newest):
        found = {**step.change(found), "schema": step.start + 1}
    return found
