"""The bootstrap of very many pictures: how often each is drawn is an independent Poisson number with mean 1.

A bootstrap sample of n pictures draws each of them about Poisson(1) times. Taken as exactly that, the draws of a
picture need to know nothing of the others: they come from a counter (Philox) keyed by the seed and the place of the
picture's block, so that blocks are drawn one after the other, in memory that does not grow with n, and the same for
every method, which keeps differences paired (Chamandy et al. 2012, "Estimating uncertainty for massive data streams").
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

BLOCK = 512
"""Pictures whose draws come from one key."""
RESAMPLES = 1000


def poisson_sums(
    states: Sequence[Tensor], seed: int, resamples: int = RESAMPLES, order: Tensor | None = None
) -> list[Tensor]:
    """Weighted sums of rows over bootstrap samples, the same samples for all states.

    Args:
        states: Rows (n, K) of each state, all of the same n pictures; K may differ.
        seed: Of the draws.
        resamples: R, how many samples.
        order: (n,), in which order the rows are taken; as they are by default.

    Returns:
        (R, K) float64 for each state. A sample's weights add up to about n, not to n: what is finalised must be a
        ratio of sums, as every metric is.
    """
    count, widths = len(states[0]), [rows.shape[1] for rows in states]
    sums = torch.zeros(resamples, sum(widths), dtype=torch.float64)
    for start in range(0, count, BLOCK):
        chosen = slice(start, start + BLOCK) if order is None else order[start : start + BLOCK]
        block = torch.cat([rows[chosen].double() for rows in states], dim=1)
        weights = poisson_weights(seed, start, resamples)[:, : len(block)]
        sums.addmm_(torch.from_numpy(weights.astype(np.float64)), block)
    return list(sums.split(widths, dim=1))


def poisson_weights(seed: int, start: int, resamples: int) -> NDArray[np.uint8]:
    """How often each picture of the block that begins at ``start`` is drawn in each sample, (R, 512)."""
    words = 2**64 - 1
    bits = np.random.Philox(key=[seed & words, start & words]).random_raw(resamples * BLOCK // 4)
    counts: NDArray[np.uint8] = _counts()[np.asarray(bits, dtype="<u8").view(np.uint16)]
    return counts.reshape(resamples, BLOCK)


@functools.cache
def _counts() -> NDArray[np.uint8]:
    """The Poisson(1) number for each of the 65,536 values of two random bytes."""
    shares = np.cumsum([math.exp(-1) / math.factorial(k) for k in range(12)])
    edges = np.round(shares * 65536)
    return np.searchsorted(edges, np.arange(65536), side="right").astype(np.uint8)
