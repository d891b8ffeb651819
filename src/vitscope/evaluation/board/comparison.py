"""Methods compared by one metric: their ranking, paired differences, and who is best within noise."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Protocol

import pandas as pd
import torch
from torch import Tensor

from vitscope.evaluation.board.intervals import Intervals
from vitscope.evaluation.board.paired_test import pictures_needed
from vitscope.evaluation.board.records import Board
from vitscope.evaluation.board.row_pairs import RowPairs
from vitscope.evaluation.board.statistics import Difference, holm, quantiles
from vitscope.evaluation.board.sum_pairs import SumPairs
from vitscope.evaluation.board.sum_state import SumState
from vitscope.evaluation.metric import get_metric
from vitscope.evaluation.metric_state import Metric

LEVEL = 0.05


class Pairs(Protocol):
    """What is known of pairs of methods on the pictures that both have: from rows, or from sums."""

    def count(self, first: str, second: str) -> int:
        """How many pictures both have."""

    def gap(self, first: str, second: str) -> float:
        """Value of ``first`` minus value of ``second``."""

    def gaps(self, first: str, second: str) -> Tensor:
        """The same over bootstrap samples, (R,)."""

    def p(self, first: str, second: str) -> float:
        """Two-sided p of "neither is better"; NaN where there are too few pictures."""

    def drawn(self, names: Sequence[str], resamples: int) -> list[Tensor]:
        """For each method its value and then that over bootstrap samples, (1 + R,); nothing where none is shared."""


def pairs_of(board: Board, metric: str) -> Pairs:
    """The pairs of methods of a board by a metric: from sums where it has them, else from rows."""
    rows: dict[str, Metric | None] = dict.fromkeys(board.names)
    for name in board.names:
        state = board.states.get((name, metric))
        if isinstance(state, SumState):
            return SumPairs(metric, board.names, board.states, board.shared)
        rows[name] = state
    return RowPairs(get_metric(metric), rows, board.protocol.seed)


class Comparison:
    """Methods by one metric, pair by pair on the pictures that both have.

    Args:
        board: Whose methods.
        metric: Its name.
        intervals: The values and intervals of the board.
    """

    def __init__(self, board: Board, metric: str, intervals: Intervals) -> None:
        self._info, self._names, self._intervals = get_metric(metric), board.names, intervals
        self._pairs = pairs_of(board, metric)

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
        count, nan = self._pairs.count(first, second), math.nan
        if not count:
            return Difference(first, second, nan, nan, nan, nan, nan, 0)
        low, high = quantiles(self._pairs.gaps(first, second)) if count > 1 else (nan, nan)
        p = self._pairs.p(first, second)
        return Difference(first, second, self._pairs.gap(first, second), low, high, p, p, count)

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

    def _valued(self) -> list[str]:
        return [name for name in self.ranking() if self._intervals.of(name, self._info.name).n > 0]

    @property
    def needed(self) -> int:
        """From how many pictures on the clearest comparison of two of these methods could be told apart."""
        count = len(self._valued())
        return pictures_needed(count * (count - 1) // 2)

    def best(self) -> list[str]:
        """The first method and all that are not worse than it beyond noise; empty for a metric that ranks nothing, and
        for fewer pictures than ``needed``, of which nothing could be told apart.

        Holm's correction is over all pairs, as in ``compare``: that the leader leads was seen in the same numbers.
        """
        if self._info.higher_is_better is None:
            return []
        ranked = self._valued()
        if len(ranked) > 1 and max(self._pairs.count(ranked[0], other) for other in ranked[1:]) < self.needed:
            return []
        pairs = list(itertools.combinations(ranked, 2))
        corrected = holm([self._pairs.p(first, second) for first, second in pairs])
        worse = {
            second
            for (first, second), p in zip(pairs, corrected, strict=True)
            # On the pictures that both have, the leader need not lead.
            if first == ranked[0]
            and p < LEVEL
            and (self._pairs.gap(first, second) > 0) == self._info.higher_is_better
        }
        return [name for name in ranked if name not in worse]

    def rank_stability(self, resamples: int) -> pd.DataFrame:
        """How sure the ranking is: for each method the 95 % interval of its rank over resampled pictures."""
        names = [name for name in self._names if self._intervals.of(name, self._info.name).n > 1]
        values = self._pairs.drawn(names, resamples) if names else []
        if not values:
            return pd.DataFrame(columns=["method", "rank", "low", "high"])
        higher = self._info.higher_is_better is not False
        table = torch.stack(values, dim=1).nan_to_num(nan=-torch.inf if higher else torch.inf)
        ranks = table.argsort(dim=1, descending=higher, stable=True).argsort(1).double() + 1
        found = []
        for place, name in enumerate(names):
            low, high = quantiles(ranks[1:, place])
            found.append({"method": name, "rank": int(ranks[0, place]), "low": low, "high": high})
        return pd.DataFrame(found).sort_values("rank", ignore_index=True)


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
