"""Leaderboards put together: other methods or metrics of the same pictures, or other pictures (shards)."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor

from vitscope.errors import EvaluationError
from vitscope.evaluation.board import gallery
from vitscope.evaluation.board.records import Board, CurveRecord, Place, State
from vitscope.evaluation.board.spent import Spent
from vitscope.evaluation.board.sum_state import CurveSums, SumState
from vitscope.evaluation.board.summing import Summed
from vitscope.evaluation.metric_state import Metric
from vitscope.evaluation.protocol import Protocol
from vitscope.sums import poisson_bootstrap
from vitscope.sums.positions import Overlap, with_range

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
    for metric in set(first.metrics) & set(second.metrics):
        _check_sums(metric, first, second)
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
        shared={**first.shared, **second.shared},
        ranges=first.ranges or second.ranges,
    )


def _check_sums(metric: str, first: Board, second: Board) -> None:
    """Sums know which pictures two methods share only where they were added up together, or where they are the same.
    Raises EvaluationError for others."""
    one, other = ([s for (_, name), s in board.states.items() if name == metric] for board in (first, second))
    if one and other:
        sums = [state for state in (*one, *other) if isinstance(state, SumState)]
        if sums and (len(sums) < len(one) + len(other) or len({state.where for state in sums}) > 1):
            raise EvaluationError(
                f"methods by {metric!r} with values on other pictures cannot be joined on sums; evaluate them together"
            )


def merge(boards: Iterable[B], starts: Iterable[int] | None = None, *, rows: int | None = None) -> B:
    """The leaderboard of shards of one data set: equal to that of the whole.

    The boards are read one after the other and may be made meanwhile. Once they are of more pictures than ``rows``, or
    one is on sums, sums alone are kept: time then grows with the pictures, memory does not.

    Args:
        boards: Of other pictures each, in the order of the pictures.
        starts: The position of the first picture of each board; one after the other by default. A board on sums knows
            its own.
        rows: The most pictures of which rows are kept; by default 100,000.

    Raises:
        EvaluationError: Protocols differ beyond the pictures, methods or metrics do, or a picture (of rows) or a
            position (of sums) is in two of them.
    """
    merged: _Merged[B] | None = None
    positions = itertools.repeat(None) if starts is None else iter(starts)
    for board, start in zip(boards, positions, strict=False):
        if merged is None:
            merged = _Merged(board, poisson_bootstrap.EXACT if rows is None else rows)
        merged.add(board, start)
    if merged is None:
        raise EvaluationError("expected at least one leaderboard to merge, got none")
    return merged.board()


@dataclass
class _Merged(Generic[B]):
    """What has been put together so far: the rows of every board, or the sums of all."""

    first: B
    most: int
    protocol: Protocol | None = None
    spent: Spent = field(default_factory=Spent)
    waiting: list[tuple[int, B]] = field(default_factory=list)
    summed: Summed | None = None
    count: int = 0
    ranges: list[tuple[int, int]] = field(default_factory=list)
    pictures: dict[str, Any] = field(default_factory=dict)
    maps: dict[Place, Any] = field(default_factory=dict)
    values: dict[str, dict[str, float]] = field(default_factory=dict)

    def add(self, board: B, start: int | None) -> None:
        if self.first.names != board.names or self.first.metrics != board.metrics:
            raise EvaluationError(
                "shards must hold the same methods and metrics; evaluate both with the same lists"
            )
        self.protocol = board.protocol if self.protocol is None else self.protocol.merged(board.protocol)
        self.spent.add(board)
        self._add_scores(board, start)
        self.pictures.update(board.pictures)
        self.maps.update(board.maps)
        # Only what is shown is looked at again, so the cost does not grow with what was added before.
        for method, known in gallery.values_of(board.states, board.metrics, board.pictures).items():
            self.values.setdefault(method, {}).update(known)
        gallery.prune(self.values, self.pictures, self.maps)

    def _add_scores(self, board: B, start: int | None) -> None:
        size = max((board.protocol.pictures, *(state.count for state in board.states.values())))
        if start is None:
            start = self.ranges[-1][1] if self.ranges else 0
        own = board.ranges or ((start, start + size),)
        try:
            for each in own:
                self.ranges = with_range(self.ranges, *each)
        except Overlap as error:
            raise EvaluationError(f"two shards hold {error}") from error
        self.count += size
        # The gallery is kept apart.
        self.waiting.append((own[0][0], replace(board, pictures={}, maps={})))
        if self.summed is None and (board.ranges or self.count > self.most):
            _rows_of([board for _, board in self.waiting])  # which refuses a picture that is in two of them
            self.summed = Summed()
        if self.summed is not None:
            for place, part in self.waiting:
                self.summed.merge(Summed.of(part, place))
            self.waiting = []

    def board(self) -> B:
        assert self.protocol is not None
        states: dict[Place, State]
        curves: dict[Place, CurveRecord | CurveSums]
        if self.summed is None:
            states, curves = _rows_of([board for _, board in self.waiting])
            ranges: tuple[tuple[int, int], ...] = ()
        else:
            states, curves = {**self.summed.states}, {**self.summed.curves}
            ranges = tuple(self.ranges)
            metric = gallery.ordering_metric(self.first.metrics)
            for (method, name), state in self.summed.states.items():
                if name == metric:
                    state.shown = gallery.oriented(state, self.values.get(method, {}))
        return replace(
            self.first,
            protocol=self.protocol,
            methods=self.spent.records(),
            states=states,
            evaluations=self.spent.evaluations,
            shared_evaluations=self.spent.shared,
            curves=curves,
            pictures=self.pictures,
            maps=self.maps,
            shared={} if self.summed is None else self.summed.shared,
            ranges=ranges,
        )


def _rows_of(boards: Sequence[Board]) -> tuple[dict[Place, State], dict[Place, CurveRecord | CurveSums]]:
    """The rows and curves of all boards, those on sums left out. Raises EvaluationError for a picture in two."""
    states: dict[Place, Metric] = {}
    found: dict[Place, list[CurveRecord]] = {}
    for board in boards:
        for place, state in board.states.items():
            if isinstance(state, Metric):
                states.setdefault(place, Metric(state.info)).merge(state)
        for place, curve in board.curves.items():
            if isinstance(curve, CurveRecord):
                found.setdefault(place, []).append(curve)
    return {**states}, {place: _longer(curves) for place, curves in found.items()}


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
