"""What every head matters on one picture."""

from __future__ import annotations

from typing import Any

import numpy as np

from vitscope.app.answers.maps import Arrays
from vitscope.heads import METRICS, HeadTable

DEFAULT = "first_order"


def importance_answer(table: HeadTable, metric: str = DEFAULT) -> tuple[Arrays, dict[str, Any]]:
    """One metric of a table of head importance of one picture, (L, H) float32, NaN where a block has no such head."""
    values = np.asarray(table[metric][0], np.float32)
    return {"importance": values}, {**metric_record(metric), "methods": offered()}


def metric_record(metric: str) -> dict[str, Any]:
    """What a metric of heads is called, and whether it has a sign."""
    known = METRICS[metric]
    return {"metric": metric, "title": known.title, "signed": known.signed, "family": known.family}


def offered() -> list[str]:
    """The metrics that can be asked for of a picture without a label; those that need no pruning first."""
    names = [name for name in METRICS if not name.endswith("_label") and name != "accuracy_drop"]
    return sorted(names, key=lambda name: METRICS[name].family != "gradient")
