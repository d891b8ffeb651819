"""The same methods under several protocols: does the ranking survive another one, and does a claim hold?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from vitscope.evaluation.board.comparison import LEVEL
from vitscope.evaluation.board.leaderboard import Leaderboard
from vitscope.evaluation.board.paired_test import pictures_needed
from vitscope.evaluation.board.statistics import Difference, rank_correlation
from vitscope.evaluation.metric import get_metric


def protocol_rank_correlation(boards: Mapping[str, Leaderboard], metric: str) -> pd.DataFrame:
    """Does the winner survive? Kendall's τ between the rankings by one metric under several protocols.

    Args:
        boards: A leaderboard by the name of each protocol.
        metric: By which the methods are ranked.

    Returns:
        A square table with the names of the protocols on both sides; 1 is the same ranking.
    """
    return rank_correlation({name: board.oriented(metric) for name, board in boards.items()})


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
