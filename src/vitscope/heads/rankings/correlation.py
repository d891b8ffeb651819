"""Rank correlations with bootstrap intervals, and where two rankings part."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import scipy
from numpy.typing import NDArray

Scores = NDArray[np.float64]


def spearman_matrix(scores: Scores) -> Scores:
    """Spearman's rho of every pair of scores, with average ranks for ties.

    Ranks and their products are whole numbers of quarters, so no order of summing changes a bit.

    Args:
        scores: (M, heads); of a pair count the heads for which both are finite.

    Returns:
        (M, M), 1 on the diagonal; NaN for a pair with fewer than 3 heads, or where one of the two is constant.
    """
    keep = np.isfinite(scores)
    if (keep == keep[:1]).all():  # the usual case: each score is ranked once, not once for every other
        ranks = _centred_ranks(scores, keep)
        products, squares = ranks @ ranks.T, (ranks * ranks).sum(1)
        return _ratios(products, squares[:, None] * squares[None], keep)
    products, scales = np.zeros((2, len(scores), len(scores)))
    for index, (score, known) in enumerate(zip(scores, keep, strict=True)):
        both = keep & known
        mine = _centred_ranks(np.broadcast_to(score, scores.shape), both)
        theirs = _centred_ranks(scores, both)
        products[index] = (mine * theirs).sum(1)
        scales[index] = (mine * mine).sum(1) * (theirs * theirs).sum(1)
    return _ratios(products, scales, keep)


def kendall_matrix(scores: Scores) -> Scores:
    """Kendall's tau-b of every pair of scores, over all pairs of heads at once; as `spearman_matrix`."""
    keep = np.isfinite(scores)
    known = np.where(keep, scores, 0.0)
    compared = (keep[:, :, None] & keep[:, None]).reshape(len(scores), -1).astype(np.float64)
    signs = np.sign(known[:, :, None] - known[:, None]).reshape(len(scores), -1) * compared
    # (M, M): pairs of heads that the first score tells apart and the second knows.
    untied = np.abs(signs) @ compared.T
    return _ratios(signs @ signs.T, untied * untied.T, keep)


def _centred_ranks(scores: Scores, keep: NDArray[np.bool_]) -> Scores:
    """(M, heads) average ranks among the heads that are kept, less their mean; 0 for the others, which rank behind."""
    ranks = scipy.stats.rankdata(np.where(keep, scores, np.inf), axis=1)
    centred: Scores = np.where(keep, ranks - (keep.sum(1, keepdims=True) + 1) / 2, 0.0)
    return centred


def _ratios(products: Scores, scales: Scores, keep: NDArray[np.bool_]) -> Scores:
    """(M, M) products over the roots of their scales, where a pair has at least 3 heads and something differs."""
    shared = keep.astype(np.float64) @ keep.T
    with np.errstate(invalid="ignore", divide="ignore"):
        ratios: Scores = np.where((shared >= 3) & (scales > 0), products / np.sqrt(scales), np.nan)
    np.fill_diagonal(ratios, 1.0)
    return ratios


def spearman(first: Scores, second: Scores) -> float:
    """Spearman's rho of two scores of the same heads; NaN as for `spearman_matrix`."""
    return float(spearman_matrix(np.stack([first, second]))[0, 1])


MATRICES = {"spearman": spearman_matrix, "kendall": kendall_matrix}


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
        ranks[keep] = (scipy.stats.rankdata(scores[keep]) - 1) / (keep.sum() - 1)
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
