"""Models as the rows of a table: the differences between them by the same method, paired by picture."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd

from vitscope.errors import EvaluationError
from vitscope.evaluation.board.comparison import verdict
from vitscope.evaluation.board.leaderboard import Leaderboard
from vitscope.evaluation.board.paired_test import pictures_needed
from vitscope.evaluation.board.records import MethodRecord
from vitscope.evaluation.board.statistics import Difference, holm
from vitscope.evaluation.metric import get_metric

COLUMNS = [
    "method", "metric", "first", "second", "value_first", "value_second", "difference", "low", "high", "p", "p_holm",
    "n", "needed", "better", "verdict",
]  # fmt: skip


def models_by(boards: Mapping[str, Leaderboard], method: str, metric: str) -> Leaderboard:
    """The models as the rows of a board: paired tests between them are those between methods."""
    get_metric(metric)
    first = next(iter(boards.values()))
    states = {
        (name, metric): board.states[method, metric]
        for name, board in boards.items()
        if (method, metric) in board.states
    }
    return Leaderboard(first.protocol, [MethodRecord(name) for name in boards], [metric], states)


def model_differences(
    boards: Mapping[str, Leaderboard], methods: Sequence[str], metrics: Sequence[str]
) -> pd.DataFrame:
    """The differences between models by each method and metric, p values corrected by Holm over those of a metric.

    Args:
        boards: The leaderboard of each model by its name; the same picture has the same key in all.
        methods: The methods.
        metrics: The metrics.

    Returns:
        A row for each metric, method and pair of models, see ``COLUMNS``; a value is that of the model's own board.

    Raises:
        EvaluationError: A method that a board does not have.
    """
    rows: list[dict[str, Any]] = []
    for metric in metrics:
        found: list[tuple[str, Leaderboard, Difference]] = []
        for method in methods:
            for name, board in boards.items():
                if method not in board.names:
                    raise EvaluationError(
                        f"the leaderboard of {name} has no method {method!r}; name one that all models have"
                    )
            models = models_by(boards, method, metric)
            pairs = itertools.combinations(boards, 2)
            found += [(method, models, models.difference(one, other, metric)) for one, other in pairs]
        corrected = holm([each.p for _, _, each in found])
        needed = pictures_needed(sum(each.p == each.p for _, _, each in found) or len(found))
        for (method, models, each), p in zip(found, corrected, strict=True):
            told = replace(each, p_holm=p)
            winner, words = verdict(told, get_metric(metric).higher_is_better, needed)
            values = {
                f"value_{side}": models.interval(name, metric).value
                for side, name in (("first", each.first), ("second", each.second))
            }
            rows.append(
                {
                    "method": method, "metric": metric, **vars(told), **values, "needed": needed, "better": winner,
                    "verdict": words,
                }
            )  # fmt: skip
    return pd.DataFrame(rows, columns=COLUMNS)
