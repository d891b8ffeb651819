"""What the plots of heads have in common: a theme gives a figure, and "other" stands for what is beyond ten colours."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable

from matplotlib.figure import Figure

Drawn = Callable[[str], Figure]
"""From a theme's name ("light" or "dark") to a figure."""


def few_groups(names: Iterable[str], most: int = 9) -> list[str]:
    """The same names, those beyond the `most` commonest as "other": a plot has ten colours."""
    given = list(names)
    kept = {name for name, _ in Counter(given).most_common(most if len(set(given)) > most + 1 else most + 1)}
    return [name if name in kept else "other" for name in given]
