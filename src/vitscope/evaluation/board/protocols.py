"""The same methods under several protocols: whether the ranking is the same, and whether a claim holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from vitscope.errors import EvaluationError
from vitscope.evaluation.board.comparison import LEVEL
from vitscope.evaluation.board.leaderboard import Leaderboard
from vitscope.evaluation.board.paired_test import pictures_needed
from vitscope.evaluation.board.statistics import Difference, rank_correlation
from vitscope.evaluation.metric import get_metric
from vitscope.options.door import checked


@checked(EvaluationError)
def protocol_rank_correlation(boards: Mapping[str, Leaderboard], metric: str) -> pd.DataFrame:
    """Kendall's τ-b between the rankings by one metric under several protocols: does the winner stay the same?

    Args:
        boards: A leaderboard by the name of each protocol.
        metric: The metric that ranks the methods.

    Returns:
        A square table with names of protocols on both sides; 1 is the same ranking, −1 the reverse.

    Raises:
        EvaluationError: A board does not have the metric.

    Example:
        >>> import vitscope as vs
        >>> seeds = {f"seed {seed}": vs.evaluation.evaluate_world(
        ...     "shapes", ["dart"], ["mass"], count=3, seed=seed, controls=("uniform",)) for seed in (0, 1)}
        >>> vs.evaluation.protocol_rank_correlation(seeds, "mass").loc["seed 0", "seed 1"].item()
        1.0
    """
    return rank_correlation({name: board.by(metric).oriented() for name, board in boards.items()})


@dataclass(frozen=True)
class Claim:
    """The statement that ``first`` is better than ``second``, tested under several protocols.

    Made by :func:`claim`.

    Args:
        first: Name of a method.
        second: Name of another.
        metric: The metric that compares them.
        holds: True or False (the opposite holds) when at least ``needed`` protocols show it significantly and none
            shows the contrary; else None, undecided.
        differences: The paired difference by the name of each protocol.
        needed: In how many protocols it must be seen.

    Example:
        >>> from vitscope.evaluation import Claim
        >>> Claim("dart", "rollout", "srg", holds=True, differences={}, needed=3).verdict
        'holds'
    """

    first: str
    second: str
    metric: str
    holds: bool | None
    differences: dict[str, Difference]
    needed: int

    @property
    def verdict(self) -> str:
        """The result in words, with the protocols that have too few pictures."""
        if self.holds is not None:
            return "holds" if self.holds else "the opposite holds"
        least = pictures_needed()
        short = [f"{name} has {d.n}" for name, d in self.differences.items() if d.n < least]
        return (
            f"undecided: at least {least} pictures are needed, {', '.join(short)}" if short else "undecided"
        )


@checked(EvaluationError)
def claim(
    boards: Mapping[str, Leaderboard],
    metric: str,
    first: str,
    second: str,
    needed: int = 3,
    level: float = LEVEL,
) -> Claim:
    """Decide whether one method is better than another, by paired differences under several protocols.

    The removal operator changes rankings, so a claim about removal metrics needs at least three of one sign. With
    exactly as many protocols as are needed, each must show it at ``level``. With more, "at least ``needed`` of N" is a
    choice of the best, so each is tested at level / (N − needed + 1).

    Args:
        boards: A leaderboard by the name of each protocol.
        metric: The metric that compares them.
        first: Name of the method said to be better.
        second: Name of the other one.
        needed: In how many protocols it must be seen.
        level: Significance level.

    Returns:
        The claim with its verdict and all differences.

    Raises:
        EvaluationError: A board does not have the methods or the metric.

    Example:
        >>> import vitscope as vs
        >>> board = vs.evaluation.evaluate_world("shapes", ["dart"], ["mass"], count=3, controls=("uniform",))
        >>> vs.evaluation.claim({"masks": board}, "mass", "dart", "uniform", needed=1).verdict
        'undecided: at least 6 pictures are needed, masks has 3'

    Source: partial conjunction, Benjamini and Heller 2008.
    """
    found = {name: board.difference(first, second, metric) for name, board in boards.items()}
    sign = -1 if get_metric(metric).higher_is_better is False else 1
    strict = level / max(1, len(found) - needed + 1)
    sure = [sign * d.difference > 0 for d in found.values() if d.p < strict]
    holds = sure[0] if len(sure) >= needed and len(set(sure)) == 1 else None
    return Claim(first, second, metric, holds, found, needed)
