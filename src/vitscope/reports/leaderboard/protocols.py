"""Leaderboards under several protocols as one page: does the winner survive?"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Annotated

from vitscope.errors import RenderingError
from vitscope.evaluation import Leaderboard, get_metric, protocol_rank_correlation
from vitscope.options.bounds import Items
from vitscope.options.door import checked
from vitscope.rendering.pages.page import Column, Page
from vitscope.reports.leaderboard.cells import best_end, measured


@checked(RenderingError)
def protocols_page(
    boards: Annotated[Mapping[str, Leaderboard], Items(1)], path: str | os.PathLike[str] | None = None
) -> str:
    """One page on whether rankings agree under several protocols: a heat map per metric, and the values side by side.

    Args:
        boards: A leaderboard by the name of each protocol.
        path: Where to write the page, atomically; None writes nothing.

    Returns:
        The HTML text.

    Raises:
        OutputError: The file cannot be written.

    Example:
        >>> import vitscope as vs
        >>> boards = {f"seed {seed}": vs.evaluation.evaluate_world(
        ...     "shapes", ["dart"], ["mass"], count=2, seed=seed, controls=("uniform",)) for seed in (0, 1)}
        >>> "seed 1" in vs.reports.protocols_page(boards)
        True
    """
    made = Page("Does the winner survive?", f"Rankings under {', '.join(boards)}")
    for metric in ranked_metrics(boards):
        table = protocol_rank_correlation(boards, metric)
        made.section(metric, get_metric(metric).title)
        made.heat_map(
            table.to_numpy(), list(table.index), list(table.columns), caption="Kendall's τ", signed=True
        )
        names = next(iter(boards.values())).names
        columns: list[Column | str] = ["method", *(Column(name, True, best_end(metric)) for name in boards)]
        rows = [[name, *(measured(board, name, metric) for board in boards.values())] for name in names]
        made.table(columns, rows, caption=f"{metric} under each protocol")
    return made.finish(path)


def ranked_metrics(boards: Mapping[str, Leaderboard]) -> list[str]:
    """The metrics of the boards by which methods are ranked."""
    first = next(iter(boards.values()))
    return [metric for metric in first.metrics if get_metric(metric).higher_is_better is not None]
