"""A leaderboard in a notebook: every method by every metric, and the first ranked metric with its intervals."""

from __future__ import annotations

from vitscope.evaluation import Leaderboard, get_metric
from vitscope.rendering.plots.charts import bars
from vitscope.reports.leaderboard.cells import ends
from vitscope.reports.notebook import result_html


def leaderboard_html(board: Leaderboard) -> str:
    """The methods from best to worst by the first ranked metric beside a plot of that metric."""
    ranked = [metric for metric in board.metrics if get_metric(metric).higher_is_better is not None]
    names = board.ranking(ranked[0]) if ranked else board.names
    rows = [[name, *(_score(board, name, metric) for metric in board.metrics)] for name in names]
    figure = None
    if ranked:
        found = {name: board.interval(name, ranked[0]) for name in names}
        shown = [name for name in names if found[name].n > 0]
        between = [ends(found[name]) for name in shown]
        figure = bars(
            shown,
            [found[name].value for name in shown],
            [low for low, _ in between],
            [high for _, high in between],
            title=ranked[0],
            sort=False,
        )
    return result_html(
        f"{len(board.names)} methods and controls on {board.protocol.pictures} pictures",
        ["method", *board.metrics],
        rows,
        figure,
        "the first ranked metric with its intervals",
    )


def _score(board: Leaderboard, method: str, metric: str) -> float | str:
    interval = board.interval(method, metric)
    return "n/a" if interval.n == 0 else float(interval.value)
