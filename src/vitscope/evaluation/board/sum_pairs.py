"""Pairs of methods on sums: the same bootstrap samples of the pictures serve both, so their differences are paired.

Flipping the signs of pictures needs rows. Here p is that of a normal distribution whose spread is that of the
difference over the bootstrap samples: with the more than 100,000 pictures for which sums are kept a difference of
ratios of sums is normal to far below what a table can show, and 1,000 samples give its spread to 2 per cent.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from vitscope.evaluation.board.paired_test import EPSILON, pictures_needed
from vitscope.evaluation.board.records import Both, Place, State, unknown
from vitscope.evaluation.board.sum_state import SumState
from vitscope.evaluation.board.summing import on_both

LEAST = math.ldexp(1.0, -999)
"""No p is smaller: as with sign flips of very many pictures."""


class SumPairs:
    """Pairs of methods by one metric.

    Args:
        metric: Its name.
        names: The methods.
        states: The sums, by (method, metric).
        shared: The sums of a method on the pictures that another has too, where these are not all of its own.
    """

    def __init__(
        self,
        metric: str,
        names: Sequence[str],
        states: Mapping[Place, State],
        shared: Mapping[Both, SumState],
    ) -> None:
        self._metric, self._names, self._states, self._shared = metric, names, states, shared

    def count(self, first: str, second: str) -> int:
        """How many pictures both have."""
        pair = self._pair(first, second)
        return pair[0].defined if pair else 0

    def gap(self, first: str, second: str) -> float:
        """Value of ``first`` minus value of ``second`` on the pictures that both have."""
        pair = self._pair(first, second)
        return pair[0].compute() - pair[1].compute() if pair else math.nan

    def gaps(self, first: str, second: str) -> Tensor:
        """The same over bootstrap samples of the pictures, (R,)."""
        pair = self._pair(first, second)
        return pair[0].resampled() - pair[1].resampled() if pair else torch.zeros(0, dtype=torch.float64)

    def p(self, first: str, second: str) -> float:
        """Two-sided p of "the difference is 0" by the normal distribution; NaN where there are too few pictures."""
        pair = self._pair(first, second)
        if pair is None or pair[0].defined < pictures_needed():
            return math.nan
        one, other = (state.compute() for state in pair)
        gaps = pair[0].resampled() - pair[1].resampled()
        gap, spread = one - other, float(gaps[torch.isfinite(gaps)].std())
        if gap != gap or spread != spread:
            return math.nan
        # Where the methods agree rounding is left over: agreement is 0, and no evidence.
        if abs(gap) <= 64 * EPSILON * max(abs(one), abs(other)):
            return 1.0
        return max(LEAST, math.erfc(abs(gap) / spread / math.sqrt(2)) if spread > 0 else 0.0)

    def drawn(self, names: Sequence[str], resamples: int) -> list[Tensor]:
        """For each method its value and then that over bootstrap samples, (1 + R,), on all pictures that it has."""
        found = []
        for name in names:
            state = self._states[name, self._metric]
            assert isinstance(state, SumState)
            value = torch.tensor([state.compute()], dtype=torch.float64)
            found.append(torch.cat([value, state.resampled()[:resamples]]))
        return found

    def _pair(self, first: str, second: str) -> tuple[SumState, SumState] | None:
        """The sums of both on the pictures that both have; None where there is none."""
        for name in (first, second):
            if name not in self._names:
                raise unknown("method", name, self._names)
        one = on_both(self._states, self._shared, first, second, self._metric)
        other = on_both(self._states, self._shared, second, first, self._metric)
        return None if one is None or other is None or not one.defined else (one, other)
