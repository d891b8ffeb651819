"""The scores that an agreement was made of, kept in its file: of every picture, or their sums."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from vitscope.heads.origin import Origin
from vitscope.heads.summed_table import SummedHeadTable
from vitscope.heads.table import HeadTable


def encode(table: HeadTable | SummedHeadTable) -> tuple[dict[str, Any], dict[str, Any]]:
    """(arrays by name, note) to put beside others."""
    if isinstance(table, SummedHeadTable):
        return {f"sums.{name}": array for name, array in table.arrays().items()}, {"sums": table.note()}
    note = {"pictures": table.pictures, "metadata": table.metadata, **table.origin.note()}
    return {f"table.{name}": table[name] for name in table.metrics}, {"table": note}


def decode(
    note: Mapping[str, Any], arrays: Mapping[str, Tensor], names: Sequence[str]
) -> HeadTable | SummedHeadTable | None:
    """What ``encode`` gave, back; None where there is nothing. Raises KeyError or ValueError for others."""
    if "sums" in note:
        kept = {name.removeprefix("sums."): array for name, array in arrays.items()}
        return SummedHeadTable.from_note(note["sums"], kept)
    if "table" not in note:
        return None
    about = note["table"]
    values = {name: arrays[f"table.{name}"].numpy() for name in names}
    keys = tuple(str(key) for key in about["pictures"])
    return HeadTable(values, keys, dict(about["metadata"]), Origin.from_note(about))
