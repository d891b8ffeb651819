"""What the plots of heads call things: titles of metrics and scores, and "other" for what is beyond ten colours."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable

from matplotlib.figure import Figure

from vitscope.heads.pruning.change_metrics import METRICS
from vitscope.heads.rankings.scores import SCORES

Drawn = Callable[[str], Figure]
"""From a theme's name ("light" or "dark") to a figure."""


def title_of(metric: str) -> str:
    """A metric's or score's title."""
    return METRICS[metric].title if metric in METRICS else SCORES.get(metric, metric.replace("_", " "))


def few_groups(names: Iterable[str], most: int = 9) -> list[str]:
    """The same names, those beyond the `most` commonest as "other": a plot has ten colours."""
    given = list(names)
    kept = {name for name, _ in Counter(given).most_common(most if len(set(given)) > most + 1 else most + 1)}
    return [name if name in kept else "other" for name in given]
