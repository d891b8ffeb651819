"""Scores as the cells of a page's tables."""

from __future__ import annotations

from vitscope.evaluation import Leaderboard, get_metric
from vitscope.evaluation.board.statistics import Interval
from vitscope.rendering.pages.page import Measure


def measured(board: Leaderboard, method: str, metric: str) -> Measure | str:
    """A score with its interval; "n/a" where the metric does not apply."""
    interval = board.interval(method, metric)
    if interval.n == 0:
        return "n/a"
    if interval.n < 2:
        return Measure(interval.value)
    return Measure(interval.value, interval.low, interval.high)


def best_end(metric: str) -> str | None:
    """Which end of a metric's column is the best: "high", "low", or None where it is not ranked."""
    return {True: "high", False: "low", None: None}[get_metric(metric).higher_is_better]


def ends(interval: Interval) -> tuple[float, float]:
    """Interval ends that hold the value: a percentile interval of a skewed sample may just miss it."""
    if interval.low != interval.low:
        return interval.value, interval.value
    return min(interval.low, interval.value), max(interval.high, interval.value)
