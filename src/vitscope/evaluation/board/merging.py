"""Leaderboards put together: other methods or metrics of the same pictures, or other pictures (shards)."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, replace
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from torch import Tensor

from vitscope.errors import EvaluationError
from vitscope.evaluation.board import gallery
from vitscope.evaluation.board.records import Board, CurveRecord, MethodRecord, Place
from vitscope.evaluation.metric_state import Metric
from vitscope.evaluation.protocol import Protocol

B = TypeVar("B", bound=Board)
"""What is put together, and so what comes out: records alone, or the leaderboard around them."""


def join(first: B, second: B) -> B:
    """Other methods or metrics of the same pictures under the same protocol, in one table."""
    common = set(first.recipe.truth) & set(second.recipe.truth)
    _of_scores(first.protocol, common).require_equal(_of_scores(second.protocol, common))
    mine, theirs = (_methods(board.protocol) for board in (first, second))
    for name in set(mine) & set(theirs):
        one, other = ({k: v for k, v in of[name].items() if k != "metrics"} for of in (mine, theirs))
        if one != other:
            raise EvaluationError(
                f"both tables hold '{name}', with different options ({one} against {other}); name it with its options"
            )
    twice = set(first.states) & set(second.states)
    if twice:
        raise EvaluationError(f"both tables hold {' / '.join(min(twice))}; join tables without common scores")
    return side_by_side(first, second)


def side_by_side(first: B, second: B) -> B:
    """As ``join`` for two tables that are known to belong together."""
    known = set(first.names)
    return replace(
        first,
        protocol=_joined(first.protocol, second.protocol),
        methods=first.methods + [record for record in second.methods if record.name not in known],
        metrics=first.metrics + [metric for metric in second.metrics if metric not in first.metrics],
        states={**first.states, **second.states},
        evaluations={**first.evaluations, **second.evaluations},
        shared_evaluations=first.shared_evaluations + second.shared_evaluations,
        curves={**first.curves, **second.curves},
        pictures={**first.pictures, **second.pictures},
        maps={**first.maps, **second.maps},
    )


def merge(boards: Iterable[B]) -> B:
    """The leaderboard of shards of one data set: equal to that of the whole, in time that grows with the rows.

    The boards are read one after the other and may be made meanwhile. Raises EvaluationError when protocols differ
    beyond the pictures, methods or metrics do, or a picture is in two of them.
    """
    sums: _Sums[B] | None = None
    for board in boards:
        if sums is None:
            sums = _Sums(board)
        sums.add(board)
    if sums is None:
        raise EvaluationError("expected at least one leaderboard to merge, got none")
    return sums.board()


@dataclass
class _Sums(Generic[B]):
    """What has been added up so far."""

    first: B
    protocols: list[Protocol] = field(default_factory=list)
    states: dict[Place, Metric] = field(default_factory=dict)
    evaluations: dict[Place, int] = field(default_factory=dict)
    shared: int = 0
    curves: dict[Place, list[CurveRecord]] = field(default_factory=dict)
    methods: list[list[MethodRecord]] = field(default_factory=list)
    pictures: dict[str, Any] = field(default_factory=dict)
    maps: dict[Place, Any] = field(default_factory=dict)
    values: dict[str, dict[str, float]] = field(default_factory=dict)

    def add(self, board: B) -> None:
        if self.first.names != board.names or self.first.metrics != board.metrics:
            raise EvaluationError(
                "shards must hold the same methods and metrics; evaluate both with the same lists"
            )
        if self.protocols:
            self.protocols[0].merged(board.protocol)
        self.protocols.append(board.protocol)
        self.methods.append(board.methods)
        self.shared += board.shared_evaluations
        for place, state in board.states.items():
            self.states.setdefault(place, Metric(state.info)).merge(state)
        for place, count in board.evaluations.items():
            self.evaluations[place] = self.evaluations.get(place, 0) + count
        for place, curve in board.curves.items():
            self.curves.setdefault(place, []).append(curve)
        self.pictures.update(board.pictures)
        self.maps.update(board.maps)
        # Only what is shown is looked at again, so the cost does not grow with what was added before.
        for method, known in gallery.values_of(board.states, board.metrics, board.pictures).items():
            self.values.setdefault(method, {}).update(known)
        gallery.prune(self.values, self.pictures, self.maps)

    def board(self) -> B:
        counts = [protocol.pictures for protocol in self.protocols]
        records = [_pooled(same, counts) for same in zip(*self.methods, strict=True)]
        return replace(
            self.first,
            protocol=self.protocols[0].merged(*self.protocols[1:]),
            methods=records,
            states=self.states,
            evaluations=self.evaluations,
            shared_evaluations=self.shared,
            curves={place: _longer(found) for place, found in self.curves.items()},
            pictures=self.pictures,
            maps=self.maps,
        )


def _methods(protocol: Protocol) -> dict[str, Any]:
    """What the recipe says of each row of the table, by its name."""
    return {} if protocol.recipe is None else dict(protocol.recipe.options.get("methods", {}))


def _of_scores(protocol: Protocol, truth: Collection[str]) -> Protocol:
    """The protocol without what tables of other methods or metrics may differ in."""
    if protocol.recipe is None:
        return protocol
    options = {k: v for k, v in protocol.recipe.options.items() if k not in ("methods", "mosaics of")}
    known = {kind: digest for kind, digest in protocol.recipe.truth.items() if kind in truth}
    return replace(protocol, recipe=replace(protocol.recipe, options=options, truth=known))


def _joined(first: Protocol, second: Protocol) -> Protocol:
    if first.recipe is None or second.recipe is None:
        return first
    methods: dict[str, Any] = {name: dict(row) for name, row in _methods(first).items()}
    for name, row in _methods(second).items():
        known = methods.get(name, {"metrics": []})
        methods[name] = {**row, "metrics": sorted({*known["metrics"], *row["metrics"]})}
    options = {**second.recipe.options, **first.recipe.options, "methods": methods}
    truth = {**second.recipe.truth, **first.recipe.truth}
    return replace(first, recipe=replace(first.recipe, options=options, truth=truth))


def _longer(found: list[CurveRecord]) -> CurveRecord:
    keys = [key for curve in found for key in curve.keys]
    values: Tensor = torch.cat([curve.values for curve in found])
    return replace(found[0], keys=keys, values=values)


def _pooled(records: tuple[MethodRecord, ...], counts: list[int]) -> MethodRecord:
    total = max(1, sum(counts))
    seconds = sum(record.seconds * count for record, count in zip(records, counts, strict=True)) / total
    memory: Any = np.fmax.reduce([record.memory for record in records])
    return replace(records[0], seconds=seconds, memory=float(memory))
