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
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vitscope.sums.moments import ExactSum

BLOCK = 512
"""Pictures whose draws come from one key."""
RESAMPLES = 1000
EXACT = 100_000
"""Up to this number of pictures rows are kept, and bootstrap samples draw n of n; beyond, sums of this form."""


@dataclass
class PoissonSums:
    """Sums of rows over pictures at known positions, (K,), and over bootstrap samples of them, (R, K).

    The draws of a picture belong to its position in the whole, so the parts of any split add up; cut at whole blocks
    they give the bits of the whole.
    """

    total: ExactSum = field(default_factory=ExactSum)
    samples: ExactSum = field(default_factory=ExactSum)

    def merge(self, other: PoissonSums) -> None:
        """Take in the sums of pictures at other positions."""
        self.total.merge(other.total)
        self.samples.merge(other.samples)


def poisson_parts(
    states: Sequence[Tensor], seed: int, start: int = 0, resamples: int = RESAMPLES
) -> list[PoissonSums]:
    """Sums of the rows of some pictures, over the same bootstrap samples for all states.

    Args:
        states: Rows (n, K) of each state, all of the same n pictures; K may differ.
        seed: Of the draws.
        start: The position of the first picture in the whole.
        resamples: R, how many samples.

    Returns:
        The sums of each state. A sample's weights add up to about n, not to n: what is finalised must be a ratio of
        sums, as every metric is.
    """
    widths, stop = [rows.shape[1] for rows in states], start + len(states[0])
    total, samples = ExactSum(), ExactSum()
    for first in range(start - start % BLOCK, stop, BLOCK):
        begin, end = max(first, start), min(first + BLOCK, stop)
        block = torch.cat([rows[begin - start : end - start].double() for rows in states], dim=1)
        weights = poisson_weights(seed, first, resamples)[:, begin - first : end - first]
        product = torch.from_numpy(weights.astype(np.float64)) @ block
        samples.take(product, torch.zeros_like(product))
        total.add(block)
    if stop == start:
        total.add(torch.zeros(1, sum(widths)))
        samples.add(torch.zeros(1, resamples, sum(widths)))
    pieces = zip(
        *(each.split(widths, dim=-1) for each in (total.high, total.low, samples.high, samples.low)),
        strict=True,
    )
    return [PoissonSums(ExactSum(a, b), ExactSum(c, d)) for a, b, c, d in pieces]


def poisson_sums(states: Sequence[Tensor], seed: int, resamples: int = RESAMPLES) -> list[Tensor]:
    """As `poisson_parts` for all pictures at once: the sums over the samples alone, (R, K) float64 for each state."""
    return [part.samples.value() for part in poisson_parts(states, seed, 0, resamples)]


@functools.lru_cache(maxsize=2)
def poisson_weights(seed: int, start: int, resamples: int) -> NDArray[np.uint8]:
    """How often each picture of the block that begins at ``start`` is drawn in each sample, (R, 512)."""
    words = 2**64 - 1
    bits = np.random.Philox(key=[seed & words, start & words]).random_raw(resamples * BLOCK // 4)
    counts: NDArray[np.uint8] = _counts()[np.asarray(bits, dtype="<u8").view(np.uint16)]
    counts.flags.writeable = False
    return counts.reshape(resamples, BLOCK)


@functools.cache
def _counts() -> NDArray[np.uint8]:
    """The Poisson(1) number for each of the 65,536 values of two random bytes."""
    shares = np.cumsum([math.exp(-1) / math.factorial(k) for k in range(12)])
    edges = np.round(shares * 65536)
    return np.searchsorted(edges, np.arange(65536), side="right").astype(np.uint8)
