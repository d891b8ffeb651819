"""Results about heads as tables: one row per picture and place, written for other programs and read back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from vitscope.options.bounds import FilePath
from vitscope.storage import tables

COUNTED = ("pictures", "full_forwards", "seconds")
"""What adds up over shards, in metadata."""


def merged_metadata(first: Mapping[str, Any], *others: Mapping[str, Any]) -> dict[str, Any]:
    """The metadata of several shards together; what holds of some only is left out."""
    found: dict[str, Any] = {}
    for name, value in first.items():
        if name in COUNTED and all(name in other for other in others):
            found[name] = sum((other[name] for other in others), value)
        elif all(other.get(name) == value for other in others):
            found[name] = value
    return found


def write_frame(frame: pd.DataFrame, path: FilePath, metadata: Mapping[str, Any] | None = None) -> Path:
    """Write a table about heads for other programs: .parquet, with its metadata as note, or .csv; returns its path."""
    return tables.export(path, frame, {"metadata": metadata or {}})


def picture_rows(frame: pd.DataFrame, place: Sequence[str]) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    """(pictures in their order, index of the picture of every row) of a table with one row per picture and ``place``.

    Two pictures may have one name: the rows of the second come after those of the first."""
    names = frame["picture"].astype(str)
    repeat = frame.groupby(["picture", *place], sort=False).cumcount()
    index, unique = pd.factorize(pd.MultiIndex.from_arrays([names, repeat]))
    return tuple(str(name) for name, _ in unique), index.astype(np.int64)


def check_once(index: tuple[NDArray[np.int64], ...], shape: tuple[int, ...]) -> None:
    """Raise ValueError unless the rows of a table fill an array, each place once."""
    if any(part.min(initial=0) < 0 for part in index):
        raise ValueError("it counts from below 0")
    filled = np.zeros(shape, bool)
    filled[index] = True
    if len(index[0]) != filled.size or not filled.all():
        raise ValueError("it has not every row once")
