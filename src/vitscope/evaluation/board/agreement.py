"""Agreement: of rankings with each other, and of protocols about a claim."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from vitscope.evaluation.board.comparison import LEVEL
from vitscope.evaluation.board.leaderboard import Leaderboard
from vitscope.evaluation.board.paired_test import pictures_needed
from vitscope.evaluation.board.statistics import Difference, kendall
from vitscope.evaluation.metric import get_metric


def agreement(scores: dict[str, dict[str, float]]) -> pd.DataFrame:
    """Kendall's τ between rankings: {ranking name: {method: score, better is higher}} -> square table."""
    names = list(scores)
    table = np.eye(len(names))
    for (i, a), (j, b) in itertools.combinations(enumerate(names), 2):
        shared = [method for method in scores[a] if method in scores[b]]
        tau = kendall([scores[a][m] for m in shared], [scores[b][m] for m in shared])
        table[i, j] = table[j, i] = tau
    return pd.DataFrame(table, index=names, columns=names)


def protocol_agreement(boards: dict[str, Leaderboard], metric: str) -> pd.DataFrame:
    """Does the winner survive? Kendall's τ between the rankings by one metric under several protocols."""
    scores: dict[str, dict[str, float]] = {}
    for name, board in boards.items():
        scores[name] = board.oriented(metric)
    return agreement(scores)


@dataclass(frozen=True)
class Claim:
    """ "``first`` is better than ``second``" under several protocols. holds: True or False (the opposite holds) when
    at least ``needed`` protocols say so beyond noise and none says the contrary, else None: undecided."""

    first: str
    second: str
    metric: str
    holds: bool | None
    differences: dict[str, Difference]
    needed: int

    @property
    def verdict(self) -> str:
        """ "holds", "the opposite holds" or "undecided", and which protocols have too few pictures to say anything."""
        if self.holds is not None:
            return "holds" if self.holds else "the opposite holds"
        least = pictures_needed()
        short = [f"{name} has {d.n}" for name, d in self.differences.items() if d.n < least]
        return (
            f"undecided: at least {least} pictures are needed, {', '.join(short)}" if short else "undecided"
        )


def claim(
    boards: Mapping[str, Leaderboard],
    metric: str,
    first: str,
    second: str,
    needed: int = 3,
    level: float = LEVEL,
) -> Claim:
    """Decide a claim by paired differences under several protocols: a claim about removals needs at least three of
    one sign, because the operator decides rankings.

    With as many protocols as are needed, each must say so at ``level``. With more, that at least ``needed`` of N do is
    a choice of the best, so each is held to level / (N − needed + 1) (Benjamini and Heller 2008, partial conjunction).
    """
    found = {name: board.difference(first, second, metric) for name, board in boards.items()}
    sign = -1 if get_metric(metric).higher_is_better is False else 1
    strict = level / max(1, len(found) - needed + 1)
    sure = [sign * d.difference > 0 for d in found.values() if d.p < strict]
    holds = sure[0] if len(sure) >= needed and len(set(sure)) == 1 else None
    return Claim(first, second, metric, holds, found, needed)
