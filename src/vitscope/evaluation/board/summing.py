"""A leaderboard on sums: the rows of a part added up, and parts added to each other, in memory that does not grow.

Two methods are compared on the pictures for which both have a value. Mostly these are all that each has; where they
are not, the sums of a method over the pictures that another one has as well are kept beside its own.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from vitscope.evaluation.board.records import Board, Both, CurveRecord, Place
from vitscope.evaluation.board.sum_state import CurveSums, SumState, curve_rows, where_of
from vitscope.evaluation.metric_state import Metric
from vitscope.sums.poisson_bootstrap import PoissonSums, poisson_parts


@dataclass
class Summed:
    """Sums by (method, metric); by (first, second, metric) those of ``first`` on the pictures that ``second`` has too,
    where these are not all of its own; and those of curves."""

    states: dict[Place, SumState] = field(default_factory=dict)
    shared: dict[Both, SumState] = field(default_factory=dict)
    curves: dict[Place, CurveSums] = field(default_factory=dict)

    @classmethod
    def of(cls, board: Board, start: int) -> Summed:
        """The sums of a board whose first picture stands at the position ``start`` of the whole."""
        made = cls(
            {place: state for place, state in board.states.items() if isinstance(state, SumState)},
            dict(board.shared),
            {place: curve for place, curve in board.curves.items() if isinstance(curve, CurveSums)},
        )
        columns = _Columns(start, board.protocol.seed)
        for metric in board.metrics:
            rows = {
                method: state
                for (method, name), state in board.states.items()
                if name == metric and isinstance(state, Metric) and state.keys
            }
            made._add_rows(metric, rows, columns)
        for place, curve in board.curves.items():
            if isinstance(curve, CurveRecord):
                made.curves[place] = CurveSums(curve.fractions, len(curve.keys))
                columns.want(made.curves[place].sums, curve_rows(curve.values))
        columns.draw()
        return made

    def merge(self, other: Summed) -> None:
        """Take in the sums of pictures at other positions."""
        for (one, metric), (two, name) in itertools.product({**self.states, **other.states}, repeat=2):
            if metric == name and one != two:
                self._merge_shared((one, two, metric), other)
        for place, state in other.states.items():
            self.states.setdefault(place, SumState(state.info)).merge(state)
        for place, curve in other.curves.items():
            self.curves.setdefault(place, CurveSums(curve.fractions)).merge(curve)

    def _merge_shared(self, both: Both, other: Summed) -> None:
        known = [on_both(side.states, side.shared, *both) for side in (self, other)]
        whole = [sum(s.where for s in self._all(both[place], both[2], other)) for place in (0, 1)]
        if both not in self.shared and both not in other.shared and (whole[0] - whole[1]) % 2**64 == 0:
            return
        first = both[0], both[2]
        info = (self.states.get(first) or other.states.get(first) or next(iter(other.states.values()))).info
        if both not in self.shared:
            self.shared[both] = SumState(info)
            if known[0] is not None:
                self.shared[both].merge(known[0])
        if known[1] is not None:
            self.shared[both].merge(known[1])

    def _all(self, method: str, metric: str, other: Summed) -> list[SumState]:
        return [side.states[method, metric] for side in (self, other) if (method, metric) in side.states]

    def _add_rows(self, metric: str, rows: Mapping[str, Metric], columns: _Columns) -> None:
        order = list(dict.fromkeys(key for state in rows.values() for key in state.keys))
        placed = {method: _in_order(state, order) for method, state in rows.items()}
        defined = {method: (values != 0).any(1) for method, values in placed.items()}
        sets = {method: known.numpy().tobytes() for method, known in defined.items()}
        for method, state in rows.items():
            self.states[method, metric] = self._state(state, defined[method], columns.start)
            columns.want(self.states[method, metric].sums, placed[method])
        for first, second in itertools.permutations(rows, 2):
            if sets[first] != sets[second]:
                both = defined[first] & defined[second]
                made = self._state(rows[first], both, columns.start)
                self.shared[first, second, metric] = made
                columns.want(made.sums, placed[first] * both[:, None])

    @staticmethod
    def _state(state: Metric, defined: Tensor, start: int) -> SumState:
        positions = np.flatnonzero(defined.numpy()).astype(np.uint64) + np.uint64(start)
        return SumState(state.info, len(state.keys), len(positions), where_of(positions))


def on_both(
    states: Mapping[Place, object], shared: Mapping[Both, SumState], first: str, second: str, metric: str
) -> SumState | None:
    """The sums of ``first`` on the pictures that ``second`` has too; None where one of them has no pictures."""
    own = states.get((first, metric))
    if not isinstance(own, SumState) or (second, metric) not in states:
        return None
    return shared.get((first, second, metric), own)


class _Columns:
    """Rows that wait to be added up, so that each block of bootstrap weights is drawn once for all of them."""

    def __init__(self, start: int, seed: int) -> None:
        self.start, self._seed = start, seed
        self._waiting: dict[int, list[tuple[PoissonSums, Tensor]]] = {}

    def want(self, into: PoissonSums, rows: Tensor) -> None:
        """Add these rows (n, K), whose first stands at the start, to ``into`` when all is drawn."""
        self._waiting.setdefault(len(rows), []).append((into, rows))

    def draw(self) -> None:
        """Add up all that waits."""
        for waiting in self._waiting.values():
            found = poisson_parts([rows for _, rows in waiting], self._seed, self.start)
            for (into, _), sums in zip(waiting, found, strict=True):
                into.merge(sums)


def _in_order(state: Metric, order: list[str]) -> Tensor:
    """The rows of a state with each picture at its place in ``order``, rows of zeros for those it does not have."""
    if state.keys == order:
        return state.rows
    place = {key: index for index, key in enumerate(order)}
    rows = torch.zeros(len(order), state.rows.shape[1], dtype=torch.float64)
    rows[[place[key] for key in state.keys]] = state.rows
    return rows
