"""Mean scores of heads over resampled pictures or heads, and rank correlations between them with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from vitscope.heads.rankings.correlation import MATRICES, Scores, interval
from vitscope.heads.summed_table import SummedHeadTable
from vitscope.heads.table import HeadTable
from vitscope.progress import CountedStage

Resample = Literal["pictures", "heads"]
"""What a bootstrap draws again."""


def head_means(scores: Scores, weights: NDArray[np.int64] | None = None) -> Scores:
    """Mean over pictures, NaN left out.

    Args:
        scores: (M, n, heads), M scores of n pictures.
        weights: (n,) how often each picture was drawn; once each by default.

    Returns:
        (M, heads), NaN where no picture has a value.
    """
    finite = np.isfinite(scores)
    drawn = np.ones(scores.shape[1]) if weights is None else weights.astype(np.float64)
    total = np.einsum("mnh,n->mh", np.where(finite, scores, 0.0), drawn)
    count = np.einsum("mnh,n->mh", finite.astype(np.float64), drawn)
    with np.errstate(invalid="ignore", divide="ignore"):
        means: Scores = np.where(count > 0, total / count, np.nan)
    return means


def resampled_means(
    scores: Scores, resample: Resample, rounds: int, seed: int, stage: CountedStage
) -> list[Scores]:
    """The means of each bootstrap sample, (M, heads) each: of drawn pictures, or of drawn heads.

    Args:
        scores: (M, n, heads).
        resample: What is drawn.
        rounds: How many samples.
        seed: Of the draws.
        stage: Counts the samples.
    """
    means, count = head_means(scores), scores.shape[1]
    random = np.random.default_rng(seed)
    draws = []
    for _ in range(rounds):
        stage.check()
        if resample == "pictures":
            weights = np.bincount(random.integers(0, count, count), minlength=count)
            draws.append(head_means(scores, weights))
        else:
            draws.append(means[:, random.integers(0, means.shape[1], means.shape[1])])
        stage.advance()
    return draws


def means_and_draws(
    table: HeadTable | SummedHeadTable, resample: Resample, rounds: int, seed: int, stage: CountedStage
) -> tuple[Scores, list[Scores]]:
    """The mean scores of heads, (M, heads), and those of each bootstrap sample.

    Args:
        table: The scores; on sums the samples of pictures are those that were added up.
        resample: What is drawn.
        rounds: How many samples, at most those that there are sums of.
        seed: Of the draws.
        stage: Counts the samples.
    """
    if isinstance(table, HeadTable):
        values = np.stack([table[name] for name in table.metrics]).astype(np.float64)  # (M, n, L, H)
        flat = values.reshape(len(values), values.shape[1], -1)
        return head_means(flat), resampled_means(flat, resample, rounds, seed, stage)
    means = np.stack([table.mean(name).ravel() for name in table.metrics])
    if resample == "heads":
        # The means are as scores of one picture.
        return means, resampled_means(means[:, None], resample, rounds, seed, stage)
    drawn = np.stack([table.resampled(name)[:rounds] for name in table.metrics], 1)  # (R, M, L, H)
    stage.advance(rounds)
    return means, list(drawn.reshape(*drawn.shape[:2], -1))


def correlations(
    means: Scores, draws: Sequence[Scores], statistic: str, stage: CountedStage
) -> tuple[Scores, Scores, Scores]:
    """The rank correlation of every pair of scores, and both ends of its 95 % interval over the draws, (M, M) each.

    Args:
        means: (M, heads).
        draws: The same of bootstrap samples.
        statistic: "spearman" or "kendall".
        stage: Counts the matrices, one more than there are draws.
    """
    measure, found = MATRICES[statistic], []
    for scores in (means, *draws):
        stage.check()
        found.append(measure(scores))
        stage.advance()
    value, *drawn = found
    low, high = (np.eye(len(means)) for _ in range(2))
    for i, j in combinations(range(len(means)), 2):
        low[i, j], high[i, j] = interval(np.array([matrix[i, j] for matrix in drawn]))
        low[j, i], high[j, i] = low[i, j], high[i, j]
    return value, low, high
