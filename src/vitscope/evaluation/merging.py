"""Leaderboards put together: other methods or metrics of the same pictures, or other pictures (shards)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from vitscope.errors import EvaluationError
from vitscope.evaluation import gallery
from vitscope.evaluation.metric import Metric

if TYPE_CHECKING:
    from vitscope.evaluation.leaderboard import CurveRecord, Leaderboard, MethodRecord

Place = tuple[str, str]


def join(first: Leaderboard, second: Leaderboard) -> Leaderboard:
    """Other methods or metrics of the same pictures under the same protocol, in one table."""
    first.protocol.require_equal(second.protocol)
    twice = set(first.states) & set(second.states)
    if twice:
        raise EvaluationError(f"both tables hold {' / '.join(min(twice))}; join tables without common scores")
    return side_by_side(first, second)


def side_by_side(first: Leaderboard, second: Leaderboard) -> Leaderboard:
    """As ``join`` for two tables that are known to belong together."""
    known = set(first.names)
    return replace(
        first,
        methods=first.methods + [record for record in second.methods if record.name not in known],
        metrics=first.metrics + [metric for metric in second.metrics if metric not in first.metrics],
        states={**first.states, **second.states},
        evaluations={**first.evaluations, **second.evaluations},
        shared_evaluations=first.shared_evaluations + second.shared_evaluations,
        curves={**first.curves, **second.curves},
        pictures={**first.pictures, **second.pictures},
        maps={**first.maps, **second.maps},
    )


def merge(first: Leaderboard, second: Leaderboard) -> Leaderboard:
    """The leaderboard of two shards of one data set: equal to that of the whole."""
    protocol = first.protocol.merged(second.protocol)
    if first.names != second.names or first.metrics != second.metrics:
        raise EvaluationError(
            "shards must hold the same methods and metrics; evaluate both with the same lists"
        )
    places = list(dict.fromkeys((*first.states, *second.states)))
    counts = (first.protocol.pictures, second.protocol.pictures)
    merged = replace(
        first,
        protocol=protocol,
        methods=[_pooled(a, b, counts) for a, b in zip(first.methods, second.methods, strict=True)],
        states={place: _added(place, first, second) for place in places},
        evaluations={p: first.evaluations.get(p, 0) + second.evaluations.get(p, 0) for p in places},
        shared_evaluations=first.shared_evaluations + second.shared_evaluations,
        curves={
            place: _longer(first.curves.get(place), second.curves.get(place))
            for place in dict.fromkeys((*first.curves, *second.curves))
        },
        pictures={**first.pictures, **second.pictures},
        maps={**first.maps, **second.maps},
    )
    gallery.prune(merged.states, merged.metrics, merged.pictures, merged.maps)
    return merged


def _added(place: Place, first: Leaderboard, second: Leaderboard) -> Metric:
    merged = Metric(place[1])
    for state in (first.states.get(place), second.states.get(place)):
        if state is not None:
            merged.merge(state)
    return merged


def _longer(first: CurveRecord | None, second: CurveRecord | None) -> CurveRecord:
    if first is None or second is None:
        only = second if first is None else first
        assert only is not None
        return only
    return replace(first, keys=first.keys + second.keys, values=torch.cat([first.values, second.values]))


def _pooled(first: MethodRecord, second: MethodRecord, counts: tuple[int, int]) -> MethodRecord:
    total = max(1, sum(counts))
    seconds = (first.seconds * counts[0] + second.seconds * counts[1]) / total
    memory: Any = np.fmax(first.memory, second.memory)
    return replace(first, seconds=seconds, memory=float(memory))
