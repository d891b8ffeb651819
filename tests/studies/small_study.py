"""A small study's tables and arrays, put where a study would put them, and the values that they hold."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from vitscope.storage.stores import Store
from vitscope.studies.store.arrays import encode_shard
from vitscope.studies.store.specs import (
    ArraySpec,
    array_folders,
    array_metadata,
    array_spec,
    group_metadata,
    metadata_path,
    shard_path,
)
from vitscope.studies.store.tables import encode_table, table_path

STUDY = "6b0f0ab5-6a35-4f7e-9d52-1d39a1f7a001"
SIZE = 8
PICTURES = 20
SHARDS = (0, 1, 2)
SKIPPED = 5
"""The position of the picture that could not be read."""
SPECS = (
    array_spec("maps/gmar", (4, 5)),
    array_spec("maps/daam", (4, 5)),
    array_spec("flow/gmar", (2, 4, 5)),
    array_spec("class_rows/block_0", (3, 21)),
    array_spec("class_rows/block_1", (2, 21)),
    array_spec("head_scores/libra", (2, 3)),
    array_spec("head_scores/first_order", (2, 3)),
    array_spec("patterns/codes", (2, 3, 6)),
    array_spec("attention", (2, 3, 5, 5)),
)


def rows_of(shard: int) -> range:
    """The positions of a shard's pictures."""
    return range(shard * SIZE, min((shard + 1) * SIZE, PICTURES))


def values_of(spec: ArraySpec) -> np.ndarray[Any, Any]:
    """All rows of an array, in its own type."""
    seed = sum(spec.path.encode())
    values = np.random.default_rng(seed).standard_normal((PICTURES, *spec.shape)).astype(spec.dtype)
    values[SKIPPED] = np.nan
    return values


def columns_of(name: str, shard: int) -> dict[str, Any]:
    """The rows of a table in one shard, by hand."""
    rows = list(rows_of(shard))
    ok = [row for row in rows if row != SKIPPED]
    if name == "pictures":
        return {
            "picture": rows,
            "key": [f"birds/{row}.jpg" if row else "caf\udce9.jpg" for row in rows],
            "label": [row % 3 if row % 2 else None for row in rows],
            "status": ["skipped" if row == SKIPPED else "ok" for row in rows],
            "reason": ["cannot be read" if row == SKIPPED else None for row in rows],
            "width": [None if row == SKIPPED else 100 + row for row in rows],
            "height": [None if row == SKIPPED else 90 for row in rows],
            "bytes": [1000 * row for row in rows],
            "content": [f"{row:032x}" for row in rows],
        }
    if name == "predictions":
        return {
            "picture": np.repeat(ok, 2),
            "rank": np.tile([0, 1], len(ok)),
            "class": np.arange(2 * len(ok)) + shard,
            "logit": np.linspace(-1, 5, 2 * len(ok)),
            "probability": np.linspace(0, 1, 2 * len(ok)),
            "target": np.repeat(ok, 2),
        }
    pairs = [(row, method) for row in ok for method in ("gmar", "daam")]
    first = {"picture": [row for row, _ in pairs], "method": [method for _, method in pairs]}
    if name == "scores":
        value = [float("nan") if row % 7 == 6 else row / 3 + (method == "daam") for row, method in pairs]
        return {
            **first,
            "metric": ["srg"] * len(pairs),
            "value": value,
            "defined": [not np.isnan(each) for each in value],
            "statistics": [[each, 1.0] for each in value],
        }
    if name == "curves":
        values = np.arange(3 * len(pairs), dtype=np.float32).reshape(-1, 3)
        return {**first, "curve": ["morf"] * len(pairs), "values": values}
    assert name == "maps_ragged"
    values = [np.full((2, 1 + row % 3), row, dtype=np.float32) for row, _ in pairs]
    return {
        **first,
        "h": [2] * len(pairs),
        "w": [1 + row % 3 for row, _ in pairs],
        "values": [each.ravel() for each in values],
    }


NAMES = ("pictures", "predictions", "scores", "curves", "maps_ragged")


@functools.cache
def files_of(specs: tuple[ArraySpec, ...] = SPECS) -> dict[str, bytes]:
    """Every file of the tables and arrays, by path."""
    files = group_metadata(STUDY, specs)
    for spec in specs:
        files[metadata_path(spec.path)] = array_metadata(spec, PICTURES, SIZE)
        values = values_of(spec)
        for shard in SHARDS:
            files[shard_path(spec, shard)] = encode_shard(spec, SIZE, values[rows_of(shard)])
    for name in NAMES:
        for shard in SHARDS:
            columns = columns_of(name, shard)
            files[table_path(name, shard)] = encode_table(name, columns, study=STUDY, shard=shard)
    return files


@dataclass
class SmallStudy:
    """The store and every file that was put there."""

    store: Store
    files: Mapping[str, bytes]


def put_study(store: Store) -> SmallStudy:
    """Make the folders of a study and put all its tables and arrays there."""
    store.make_root([*array_folders(SPECS), *(f"tables/{name}" for name in NAMES)])
    for path, content in files_of().items():
        store.put(path, content)
    return SmallStudy(store, files_of())
