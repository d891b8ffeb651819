"""Uncertainty: bootstrap over pictures, Holm's correction of many comparisons, correlation of rankings."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from vitscope.errors import EvaluationError
from vitscope.evaluation.metric import Finalise
from vitscope.options.bounds import ReadLater
from vitscope.options.door import checked
from vitscope.sums.poisson_bootstrap import EXACT, poisson_sums
from vitscope.sums.poisson_bootstrap import RESAMPLES as POISSON_RESAMPLES

RESAMPLES = 2000
LEVEL = 0.95
BLOCK = 1 << 22
"""Weights (bootstrap samples × pictures) that are held at a time: 32 MiB."""


@dataclass(frozen=True)
class Interval:
    """A value with its 95 % bootstrap interval over n pictures."""

    value: float
    low: float
    high: float
    n: int


@dataclass(frozen=True)
class Difference:
    """A paired difference: the value of ``first`` minus that of ``second`` on the same n pictures.

    low and high are its 95 % bootstrap interval, p is two-sided (NaN with too few pictures to reach 5 %), p_holm the
    same after Holm's correction over the pairs of a table.
    """

    first: str
    second: str
    difference: float
    low: float
    high: float
    p: float
    p_holm: float
    n: int


def resampling_weights(count: int, seed: int, resamples: int = RESAMPLES) -> Tensor:
    """How often each picture is drawn in each bootstrap sample: (R, n) float64, rows sum to n."""
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randint(count, (resamples, count), generator=generator)
    weights = torch.zeros(resamples, count, dtype=torch.float64)
    return weights.scatter_add_(1, drawn, torch.ones_like(drawn, dtype=torch.float64))


def resampled_sums(rows: Tensor, seed: int, resamples: int = RESAMPLES) -> Tensor:
    """Sums of the rows (n, K) over bootstrap samples of the pictures, (R, K) float64.

    The samples of one seed and n are the same for all rows. Memory is bounded: many pictures go in several blocks, and
    very many (above ``EXACT``) in Poisson samples, at most 1,000.
    """
    count, rows = len(rows), rows.double()
    if count > EXACT:
        return poisson_sums([rows], seed, min(resamples, POISSON_RESAMPLES))[0]
    block = max(1, min(resamples, BLOCK // max(1, count)))
    if block == resamples:
        return _remembered_weights(count, seed, resamples) @ rows
    generator = torch.Generator().manual_seed(seed)
    sums = []
    for start in range(0, resamples, block):
        drawn = torch.randint(count, (min(block, resamples - start), count), generator=generator)
        weights = torch.zeros(drawn.shape, dtype=torch.float64)
        sums.append(weights.scatter_add_(1, drawn, torch.ones_like(drawn, dtype=torch.float64)) @ rows)
    return torch.cat(sums)


@functools.lru_cache(maxsize=3)
def _remembered_weights(count: int, seed: int, resamples: int) -> Tensor:
    return resampling_weights(count, seed, resamples)


def bootstrap(
    rows: Tensor, finalise: Finalise, seed: int, level: float = LEVEL, sums: Tensor | None = None
) -> Interval:
    """Percentile interval of ``finalise(sum of rows)`` over resampled pictures; rows (n, K).

    sums: of the rows over bootstrap samples (R, K), where they are known already.
    n counts the pictures that carry anything (undefined ones have rows of zeros). NaN bounds when n < 2.
    """
    rows = rows.double()
    used = int((rows != 0).any(1).sum()) if rows.numel() else 0
    if used == 0:
        return Interval(float("nan"), float("nan"), float("nan"), 0)
    value = float(finalise(rows.sum(0)))
    if used < 2:
        return Interval(value, float("nan"), float("nan"), used)
    samples = finalise(resampled_sums(rows, seed) if sums is None else sums)
    low, high = quantiles(samples, level)
    return Interval(value, low, high, used)


def quantiles(samples: Tensor, level: float = LEVEL) -> tuple[float, float]:
    """The central interval of samples (R,), those undefined left out."""
    samples = samples[torch.isfinite(samples)]
    if len(samples) == 0:
        return float("nan"), float("nan")
    ends = torch.tensor([(1 - level) / 2, (1 + level) / 2], dtype=samples.dtype)
    low, high = torch.quantile(samples, ends).tolist()
    return low, high


def holm(values: Sequence[float]) -> list[float]:
    """Holm's step-down correction of p values: never decreasing in their order, at most 1; NaN stays."""
    known = [(p, index) for index, p in enumerate(values) if p == p]
    corrected = [float("nan")] * len(values)
    largest = 0.0
    for place, (p, index) in enumerate(sorted(known)):
        largest = max(largest, min(1.0, (len(known) - place) * p))
        corrected[index] = largest
    return corrected


def kendall(first: Sequence[float], second: Sequence[float]) -> float:
    """Kendall's τ-b of two lists of scores; pairs with an undefined score are left out, NaN when too few remain."""
    pairs = [(a, b) for a, b in zip(first, second, strict=True) if a == a and b == b]
    if len(pairs) < 2:
        return float("nan")
    left = torch.tensor([a for a, _ in pairs], dtype=torch.float64)
    right = torch.tensor([b for _, b in pairs], dtype=torch.float64)
    i, j = torch.triu_indices(len(pairs), len(pairs), offset=1)
    a, b = torch.sign(left[i] - left[j]), torch.sign(right[i] - right[j])
    scale = float(a.abs().sum() * b.abs().sum()) ** 0.5
    return float((a * b).sum()) / scale if scale > 0 else float("nan")


Value = Annotated[float, ReadLater("a number, NaN where there is none")]


@checked(EvaluationError)
def rank_correlation(scores: Mapping[str, Mapping[str, Value]]) -> pd.DataFrame:
    """Kendall's τ-b between several rankings of the same things.

    Args:
        scores: By the name of each ranking, the score of each thing that is ranked; better is higher.

    Returns:
        A square table with the names of the rankings on both sides. Each pair is compared on what both rank; NaN when
        they share fewer than two.

    Example:
        >>> import vitscope as vs
        >>> scores = {"srg": {"a": 2.0, "b": 1.0}, "mass": {"a": 0.1, "b": 0.2}}
        >>> vs.evaluation.rank_correlation(scores).loc["srg", "mass"].item()
        -1.0
    """
    names = list(scores)
    table = np.eye(len(names))
    for (i, a), (j, b) in itertools.combinations(enumerate(names), 2):
        shared = [name for name in scores[a] if name in scores[b]]
        table[i, j] = table[j, i] = kendall([scores[a][m] for m in shared], [scores[b][m] for m in shared])
    return pd.DataFrame(table, index=names, columns=names)
