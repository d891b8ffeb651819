"""A leaderboard as files: its states and curves as tables, the rest as a note."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from vitscope.evaluation.board import sum_encoding
from vitscope.evaluation.board.records import Board, CurveRecord, MethodRecord
from vitscope.evaluation.board.sum_state import CurveSums, SumState
from vitscope.evaluation.board.summing import Summed
from vitscope.evaluation.metric_state import Metric
from vitscope.evaluation.protocol import Protocol
from vitscope.storage import tables
from vitscope.storage.notes import decoding

B = TypeVar("B", bound=Board)
KIND = "leaderboard"


def encode(board: Board) -> tuple[dict[str, bytes], dict[str, Any]]:
    """(contents of the files by name, note): what `decode` makes the same leaderboard of."""
    statistics: dict[str, list[Any]] = {"key": [], "method": [], "metric": [], "row": []}
    for (method, metric), state in board.states.items():
        if isinstance(state, SumState):
            continue
        statistics["key"] += state.keys
        statistics["method"] += [method] * len(state.keys)
        statistics["metric"] += [metric] * len(state.keys)
        statistics["row"] += list(state.rows.numpy())
    curves: dict[str, list[Any]] = {"key": [], "method": [], "curve": [], "fractions": [], "values": []}
    for (method, name), curve in board.curves.items():
        if isinstance(curve, CurveSums):
            continue
        curves["key"] += curve.keys
        curves["method"] += [method] * len(curve.keys)
        curves["curve"] += [name] * len(curve.keys)
        curves["fractions"] += [curve.fractions.double().numpy()] * len(curve.keys)
        curves["values"] += list(curve.values.double().numpy())
    parts = {
        "statistics.parquet": tables.encode(pd.DataFrame(statistics), KIND, {}),
        "curves.parquet": tables.encode(pd.DataFrame(curves), KIND, {}),
    }
    note = {
        "protocol": board.protocol.to_dict(),
        "digest": board.protocol.digest,
        "methods": [asdict(method) for method in board.methods],
        "metrics": board.metrics,
        "evaluations": [[*place, count] for place, count in board.evaluations.items()],
        "shared_evaluations": board.shared_evaluations,
        "ranges": [list(each) for each in board.ranges],
    }
    if board.ranges:
        parts[sum_encoding.FILE] = sum_encoding.encode(board)
    return parts, note


def decode(parts: Mapping[str, bytes], note: Mapping[str, Any], place: Path, kind: type[B]) -> B:
    """What `encode` made, back, as this kind of board. ``place`` is what messages call it. Raises StorageError."""
    with decoding(place, KIND):
        ranges = tuple((int(start), int(stop)) for start, stop in note.get("ranges", ()))
        sums = sum_encoding.decode(parts[sum_encoding.FILE], place) if ranges else Summed()
        return kind(
            Protocol.from_dict(note["protocol"]),
            [MethodRecord(**method) for method in note["methods"]],
            [str(metric) for metric in note["metrics"]],
            {**_states(parts["statistics.parquet"], place), **sums.states},
            {(str(method), str(metric)): int(count) for method, metric, count in note["evaluations"]},
            int(note["shared_evaluations"]),
            {**_curves(parts["curves.parquet"], place), **sums.curves},
            shared=sums.shared,
            ranges=ranges,
        )


def _states(content: bytes, place: Path) -> dict[tuple[str, str], Metric]:
    table, _ = tables.decode(content, place, KIND, ("key", "method", "metric", "row"))
    states: dict[tuple[str, str], Metric] = {}
    for names, part in table.groupby(["method", "metric"], sort=False):
        method, metric = (str(name) for name in cast(tuple[str, str], names))
        states[method, metric] = Metric(metric)
        states[method, metric].update_rows([str(key) for key in part["key"]], _stacked(part["row"]))
    return states


def _curves(content: bytes, place: Path) -> dict[tuple[str, str], CurveRecord]:
    table, _ = tables.decode(content, place, KIND, ("key", "method", "curve", "fractions", "values"))
    kept: dict[tuple[str, str], CurveRecord] = {}
    for names, part in table.groupby(["method", "curve"], sort=False):
        method, name = (str(word) for word in cast(tuple[str, str], names))
        fractions = _stacked(part["fractions"][:1])[0]
        kept[method, name] = CurveRecord(
            fractions, [str(key) for key in part["key"]], _stacked(part["values"])
        )
    return kept


def _stacked(column: pd.Series) -> Tensor:
    """A column of equally long lists as (rows, length) float64."""
    return torch.from_numpy(np.stack([np.asarray(row, dtype=np.float64) for row in column]))
