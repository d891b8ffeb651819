"""In which orders more and more heads are removed, and in how many steps."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vitscope.heads import HeadTable

STEPS = 12
"""Steps of a curve over removed heads."""


def orders(table: HeadTable, metric: str) -> dict[str, list[tuple[int, int]]]:
    """Least important first, by the metrics that are measured for every head."""
    import numpy as np

    wanted = dict.fromkeys((metric, "probability_drop_label", "probability_drop_top", "first_order"))
    return {
        name: table.order(name, most_important_first=False)
        for name in wanted
        if name in table.metrics and bool(np.isfinite(table.mean(name)).all())
    }
