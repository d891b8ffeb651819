"""Methods compared by one metric: their ranking, paired differences, and who is best within noise."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import pandas as pd
import torch
from torch import Tensor

from vitscope.evaluation.board.intervals import Intervals
from vitscope.evaluation.board.paired_test import influences, paired_p, pictures_needed
from vitscope.evaluation.board.poisson_bootstrap import poisson_sums
from vitscope.evaluation.board.records import Place, unknown
from vitscope.evaluation.board.statistics import EXACT, RESAMPLES, Difference, holm, quantiles, resampled_sums
from vitscope.evaluation.metric import MetricInfo
from vitscope.evaluation.metric_state import Metric

LEVEL = 0.05


class Comparison:
    """Methods by one metric, pair by pair on the pictures that both have.

    What is computed of a method on a set of pictures is kept: pairs of one table mostly share all pictures.

    Args:
        info: The metric.
        names: The methods, in the order of the table.
        states: What the scores are made of, by (method, metric).
        intervals: Their values and intervals.
        seed: Of the bootstrap.
    """

    def __init__(
        self,
        info: MetricInfo,
        names: Sequence[str],
        states: Mapping[Place, Metric],
        intervals: Intervals,
        seed: int,
    ) -> None:
        self._info, self._names, self._seed = info, list(names), seed
        self._states = {name: states.get((name, info.name)) for name in names}
        self._intervals = intervals
        self._places: dict[str, dict[str, int]] = {}
        self._shared: dict[tuple[str, ...], tuple[str, ...]] = {}
        self._samples: dict[tuple[str, tuple[str, ...]], Tensor] = {}
        self._influences: dict[tuple[str, tuple[str, ...]], Tensor] = {}

    def ranking(self) -> list[str]:
        """Methods from best to worst by value; those without a value at the end."""
        sign = 1.0 if self._info.higher_is_better is False else -1.0
        values = {name: self._intervals.of(name, self._info.name).value for name in self._names}
        return sorted(
            self._names,
            key=lambda n: (values[n] != values[n], sign * values[n] if values[n] == values[n] else 0),
        )

    def oriented(self) -> dict[str, float]:
        """The value of each method by name, with its sign turned so that more is better; NaN where undefined."""
        sign = 1 if self._info.higher_is_better else -1
        return {name: sign * self._intervals.of(name, self._info.name).value for name in self._names}

    def difference(self, first: str, second: str) -> Difference:
        """Value of ``first`` minus value of ``second`` on the pictures that both have, with its interval and p."""
        keys, nan = self._common([first, second]), math.nan
        if not keys:
            return Difference(first, second, nan, nan, nan, nan, nan, 0)
        low, high = nan, nan
        if len(keys) > 1:
            low, high = quantiles(self._resampled(first, keys) - self._resampled(second, keys))
        p = self._p(first, second)
        return Difference(first, second, self._gap(first, second), low, high, p, p, len(keys))

    def compare(self, pairs: Iterable[tuple[str, str]] | None = None) -> pd.DataFrame:
        """Paired differences of all pairs of methods (or the given ones), p values corrected by Holm together.

        Columns: those of a ``Difference``, needed (from how many pictures on the clearest of so many comparisons could
        be told apart), better (the better method, or an empty text) and verdict.
        """
        chosen = list(itertools.combinations(self.ranking(), 2)) if pairs is None else list(pairs)
        found = [self.difference(first, second) for first, second in chosen]
        corrected = holm([each.p for each in found])
        needed = pictures_needed(sum(each.p == each.p for each in found) or len(found))
        rows = []
        for each, p in zip(found, corrected, strict=True):
            winner, words = verdict(replace(each, p_holm=p), self._info.higher_is_better, needed)
            rows.append(
                {**vars(replace(each, p_holm=p)), "needed": needed, "better": winner, "verdict": words}
            )
        return pd.DataFrame(rows, columns=[*Difference.__dataclass_fields__, "needed", "better", "verdict"])

    def best(self) -> list[str]:
        """The first method and all that are not worse than it beyond noise; empty for a metric that ranks nothing.

        Holm's correction is over all pairs, as in ``compare``: that the leader leads was seen in the same numbers.
        """
        if self._info.higher_is_better is None:
            return []
        ranked = [name for name in self.ranking() if self._intervals.of(name, self._info.name).n > 0]
        pairs = list(itertools.combinations(ranked, 2))
        corrected = holm([self._p(first, second) for first, second in pairs])
        worse = {
            second
            for (first, second), p in zip(pairs, corrected, strict=True)
            # On the pictures that both have, the leader need not lead.
            if first == ranked[0]
            and p < LEVEL
            and (self._gap(first, second) > 0) == self._info.higher_is_better
        }
        return [name for name in ranked if name not in worse]

    def rank_stability(self, resamples: int) -> pd.DataFrame:
        """How sure the ranking is: for each method the 95 % interval of its rank over resampled pictures."""
        names = [name for name in self._names if self._intervals.of(name, self._info.name).n > 1]
        shared = self._common(names)
        if not shared:
            return pd.DataFrame(columns=["method", "rank", "low", "high"])
        values = []
        for name in names:
            rows = self._rows(name, shared)
            # One seed: every method is ranked on the same drawn pictures.
            drawn = self._info.finalise(resampled_sums(rows, self._seed, resamples))
            values.append(torch.cat([self._info.finalise(rows.sum(0)).view(1), drawn]))
        higher = self._info.higher_is_better is not False
        table = torch.stack(values, dim=1).nan_to_num(nan=-torch.inf if higher else torch.inf)
        ranks = table.argsort(dim=1, descending=higher, stable=True).argsort(1).double() + 1
        found = []
        for place, name in enumerate(names):
            low, high = quantiles(ranks[1:, place])
            found.append({"method": name, "rank": int(ranks[0, place]), "low": low, "high": high})
        return pd.DataFrame(found).sort_values("rank", ignore_index=True)

    def _p(self, first: str, second: str) -> float:
        """Two-sided p of "neither is better"; NaN where there are too few pictures."""
        keys = self._common([first, second])
        if len(keys) < pictures_needed():
            return math.nan
        return paired_p(self._influence(first, keys), self._influence(second, keys))

    def _gap(self, first: str, second: str) -> float:
        """Value of ``first`` minus value of ``second`` on the pictures that both have."""
        keys = self._common([first, second])
        one, other = (self._info.finalise(self._rows(name, keys).sum(0)) for name in (first, second))
        return float(one - other)

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
            raise unknown("method", name, self._names)
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
                rest = [other for other in self._names if other != name]
                names += [other for other in rest if self._place(other).keys() >= set(keys)]
                sums = poisson_sums([self._rows(other, keys) for other in names], self._seed)
            else:
                sums = [resampled_sums(self._rows(name, keys), self._seed, 2 * RESAMPLES)]
            for other, own in zip(names, sums, strict=True):
                self._samples[other, keys] = self._info.finalise(own)
        return self._samples[name, keys]


def verdict(found: Difference, higher_is_better: bool | None, needed: int) -> tuple[str, str]:
    """The better method (or an empty text) and the result in words, at 5 % of the corrected p.

    Args:
        found: The difference of the pair.
        higher_is_better: The direction of the metric; None for one that ranks nothing.
        needed: From how many pictures on the clearest of the comparisons could be told apart.
    """
    if found.n == 0:
        return "", "n/a: no picture has a value for both"
    if found.n < needed:
        return "", f"n/a: {found.n} pictures, at least {needed} needed"
    if not found.p_holm < LEVEL:
        return "", "undecided"
    larger, smaller = (found.first, found.second)[:: 1 if found.difference > 0 else -1]
    if higher_is_better is None:
        return "", f"{larger} is higher"
    winner = larger if higher_is_better else smaller
    return winner, f"{winner} is better"
