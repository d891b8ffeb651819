"""The intervals of all scores of a table, each found when it is first asked for."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from vitscope.evaluation.board.records import Place, State
from vitscope.evaluation.board.statistics import Interval, bootstrap
from vitscope.evaluation.board.sum_state import SumState
from vitscope.evaluation.metric_state import Metric
from vitscope.sums.poisson_bootstrap import EXACT, poisson_sums


class Intervals:
    """95 % bootstrap intervals over the pictures in the order of their names, so not in that of shards.

    Args:
        states: What the scores are made of; pictures may be added to them later.
        seed: Of the bootstrap.
    """

    def __init__(self, states: Mapping[Place, State], seed: int) -> None:
        self._states, self._seed = states, seed
        self._known: dict[Place, tuple[int, Interval]] = {}

    def of(self, method: str, metric: str) -> Interval:
        """The value and its interval; n is 0 and the value NaN where the metric does not apply."""
        place = (method, metric)
        state = self._states.get(place)
        if state is None:
            return Interval(float("nan"), float("nan"), float("nan"), 0)
        count, known = self._known.get(place, (-1, None))
        if known is None or count != state.count:
            if isinstance(state, SumState):
                self._known[place] = (state.count, state.interval())
            else:
                self._find(place, state)
            known = self._known[place][1]
        return known

    def _find(self, place: Place, state: Metric) -> None:
        """Of very many pictures all states are resampled at once, because drawing costs more than adding."""
        known = len(state.keys)
        order = torch.tensor(sorted(range(known), key=state.keys.__getitem__))
        if known <= EXACT:
            found = bootstrap(state.rows[order], state.info.finalise, self._seed)
            self._known[place] = (known, found)
            return
        alike = {
            place: other
            for place, other in self._states.items()
            if isinstance(other, Metric) and other.keys == state.keys
        }
        sums = poisson_sums([other.rows[order] for other in alike.values()], self._seed)
        for (other_place, other), own in zip(alike.items(), sums, strict=True):
            self._known[other_place] = (
                known,
                bootstrap(other.rows, other.info.finalise, self._seed, sums=own),
            )
