"""Rank correlations with bootstrap intervals, and where two rankings part."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import rankdata

Scores = NDArray[np.float64]


def spearman(first: Scores, second: Scores) -> float:
    """Spearman's rho with average ranks for ties; NaN when fewer than 3 finite pairs or one side is constant."""
    keep = np.isfinite(first) & np.isfinite(second)
    if keep.sum() < 3:
        return float("nan")
    a, b = rankdata(first[keep]), rankdata(second[keep])
    a, b = a - a.mean(), b - b.mean()
    scale = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / scale if scale > 0 else float("nan")


def kendall(first: Scores, second: Scores) -> float:
    """Kendall's tau-b; NaN as for `spearman`.

    Over all pairs at once: heads are few (36 to a few hundred) and the bootstrap calls this thousands of times.
    """
    keep = np.isfinite(first) & np.isfinite(second)
    if keep.sum() < 3:
        return float("nan")
    a = np.sign(first[keep][:, None] - first[keep][None])
    b = np.sign(second[keep][:, None] - second[keep][None])
    scale = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return float((a * b).sum()) / scale if scale > 0 else float("nan")


STATISTICS = {"spearman": spearman, "kendall": kendall}


@dataclass(frozen=True)
class Correlation:
    """A rank correlation over heads with a 95 % percentile interval."""

    value: float
    low: float
    high: float


def interval(samples: Scores) -> tuple[float, float]:
    """2.5 % and 97.5 % percentiles of the finite samples; NaN when there are none."""
    finite = samples[np.isfinite(samples)]
    if finite.size == 0:
        return float("nan"), float("nan")
    low, high = np.percentile(finite, [2.5, 97.5])
    return float(low), float(high)


def rank_heads(scores: Scores) -> Scores:
    """Ranks from 0 (least important) to 1 (most important), NaN kept."""
    ranks = np.full(scores.shape, np.nan)
    keep = np.isfinite(scores)
    if keep.sum() > 1:
        ranks[keep] = (rankdata(scores[keep]) - 1) / (keep.sum() - 1)
    return ranks


def rank_ranges(ranks: Scores, names: Sequence[str]) -> pd.DataFrame:
    """Heads by how differently several scores rank them, the largest range of ranks first.

    Args:
        ranks: (M, L, H), from 0 to 1, NaN where a score has none.
        names: The M scores.

    Returns:
        Columns: block, head, range, highest and lowest (the scores that rank it so), then the rank by every score.
        Heads that fewer than two scores rank are left out.
    """
    rows = []
    for block, head in np.ndindex(*ranks.shape[1:]):
        column = ranks[:, block, head]
        if np.isfinite(column).sum() < 2:
            continue
        row: dict[str, Any] = {
            "block": block,
            "head": head,
            "range": float(np.nanmax(column) - np.nanmin(column)),
            "highest": names[int(np.nanargmax(column))],
            "lowest": names[int(np.nanargmin(column))],
        }
        row.update({name: float(rank) for name, rank in zip(names, column, strict=True)})
        rows.append(row)
    return pd.DataFrame(rows).sort_values("range", ascending=False, ignore_index=True)
