"""What the plots of this room share."""

from __future__ import annotations

from collections.abc import Callable

from matplotlib.figure import Figure

from vitscope.heads.change_metrics import METRICS
from vitscope.heads.scores import SCORES

Drawn = Callable[[str], Figure]
"""From a theme's name ("light" or "dark") to a figure."""


def title_of(metric: str) -> str:
    """A metric's or score's title."""
    return METRICS[metric].title if metric in METRICS else SCORES.get(metric, metric.replace("_", " "))
