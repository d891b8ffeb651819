"""Pairs of methods by rows: on the pictures that both have, by flipping signs and by drawing pictures anew."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from vitscope.evaluation.board.paired_test import influences, paired_p, pictures_needed
from vitscope.evaluation.board.records import unknown
from vitscope.evaluation.board.statistics import RESAMPLES, resampled_sums
from vitscope.evaluation.metric import MetricInfo
from vitscope.evaluation.metric_state import Metric
from vitscope.sums.poisson_bootstrap import EXACT, poisson_sums


class RowPairs:
    """What is computed of a method on a set of pictures is kept: pairs of one table mostly share all pictures.

    Args:
        info: The metric.
        states: The rows of each method; None where the metric does not apply.
        seed: Of the bootstrap.
    """

    def __init__(self, info: MetricInfo, states: Mapping[str, Metric | None], seed: int) -> None:
        self._info, self._states, self._seed = info, states, seed
        self._places: dict[str, dict[str, int]] = {}
        self._shared: dict[tuple[str, ...], tuple[str, ...]] = {}
        self._samples: dict[tuple[str, tuple[str, ...]], Tensor] = {}
        self._influences: dict[tuple[str, tuple[str, ...]], Tensor] = {}

    def count(self, first: str, second: str) -> int:
        """How many pictures both have."""
        return len(self._common([first, second]))

    def gap(self, first: str, second: str) -> float:
        """Value of ``first`` minus value of ``second`` on the pictures that both have."""
        keys = self._common([first, second])
        one, other = (self._info.finalise(self._rows(name, keys).sum(0)) for name in (first, second))
        return float(one - other)

    def gaps(self, first: str, second: str) -> Tensor:
        """The same over bootstrap samples of the pictures, (R,)."""
        keys = self._common([first, second])
        return self._resampled(first, keys) - self._resampled(second, keys)

    def p(self, first: str, second: str) -> float:
        """Two-sided p of "neither is better"; NaN where there are too few pictures."""
        keys = self._common([first, second])
        if len(keys) < pictures_needed():
            return math.nan
        return paired_p(self._influence(first, keys), self._influence(second, keys))

    def drawn(self, names: Sequence[str], resamples: int) -> list[Tensor]:
        """For each method its value and then that over bootstrap samples, (1 + R,), on the pictures that all have;
        nothing where there is none."""
        shared = self._common(names)
        if not shared:
            return []
        values = []
        for name in names:
            rows = self._rows(name, shared)
            # One seed: every method is ranked on the same drawn pictures.
            drawn = self._info.finalise(resampled_sums(rows, self._seed, resamples))
            values.append(torch.cat([self._info.finalise(rows.sum(0)).view(1), drawn]))
        return values

    def _common(self, names: Sequence[str]) -> tuple[str, ...]:
        """The pictures for which every one of the methods has a value, sorted."""
        if tuple(names) not in self._shared:
            defined = [self._place(name) for name in names]
            common = set(defined[0]).intersection(*defined[1:]) if defined else set()
            self._shared[tuple(names)] = tuple(sorted(common))
        return self._shared[tuple(names)]

    def _rows(self, name: str, keys: Sequence[str]) -> Tensor:
        """The statistics of a method on these pictures, (n, K) in their order."""
        state = self._states[name]
        assert state is not None
        place = self._place(name)
        return state.rows[[place[key] for key in keys]]

    def _place(self, name: str) -> dict[str, int]:
        """In which row of its state each picture stands for which the method has a value."""
        if name not in self._states:
            raise unknown("method", name, self._states)
        if name not in self._places:
            state = self._states[name]
            keys = [] if state is None else state.keys
            used = [] if state is None else (state.rows != 0).any(1).tolist()
            known = enumerate(zip(keys, used, strict=True))
            self._places[name] = {key: index for index, (key, ok) in known if ok}
        return self._places[name]

    def _influence(self, name: str, keys: tuple[str, ...]) -> Tensor:
        if (name, keys) not in self._influences:
            self._influences[name, keys] = influences(self._rows(name, keys), self._info.finalise)
        return self._influences[name, keys]

    def _resampled(self, name: str, keys: tuple[str, ...]) -> Tensor:
        """The value over bootstrap samples of these pictures, (R,)."""
        if (name, keys) not in self._samples:
            names = [name]
            if len(keys) > EXACT:
                # All that have these pictures at once: drawing costs more than adding.
                rest = [other for other in self._states if other != name]
                names += [other for other in rest if self._place(other).keys() >= set(keys)]
                sums = poisson_sums([self._rows(other, keys) for other in names], self._seed)
            else:
                sums = [resampled_sums(self._rows(name, keys), self._seed, 2 * RESAMPLES)]
            for other, own in zip(names, sums, strict=True):
                self._samples[other, keys] = self._info.finalise(own)
        return self._samples[name, keys]
