"""Sums over any number of pictures that do not depend on how the pictures were split or ordered.

A sum is kept as two float64 numbers: the sum and what its roundings lost (Knuth's two-sum, Dekker's product). Rounded
to one number at the end, it is that of the exact sum, so shards merged in any order give the bits of the whole; a
running mean with Chan's formula agrees to some 1e-15 only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

_SPLIT = 134217729.0  # 2^27 + 1: cuts a float64 into two halves of 26 bits


def _nothing() -> Tensor:
    return torch.zeros((), dtype=torch.float64)


@dataclass
class ExactSum:
    """The sum of a stream of equally shaped tensors: ``high`` + ``low``, both float64 on the CPU."""

    high: Tensor = field(default_factory=_nothing)
    low: Tensor = field(default_factory=_nothing)

    def add(self, batch: Tensor) -> None:
        """Take in a batch (n, ...), one item per picture."""
        values = batch.detach().to("cpu", torch.float64)
        if len(values):
            self.take(*_together(values, torch.zeros_like(values)))

    def merge(self, other: ExactSum) -> None:
        """Take in another stream's sum."""
        self.take(other.high, other.low)

    def value(self) -> Tensor:
        """The sum as float64."""
        return self.high + self.low

    def take(self, high: Tensor, low: Tensor) -> None:
        """Take in one item, ``high`` + ``low``."""
        total, lost = _two_sum(self.high, high)
        self.high, self.low = total, self.low + lost + low


@dataclass
class Moments:
    """How many, the sum and the sum of squares of a stream of equally shaped tensors: what mean and spread need."""

    count: int = 0
    total: ExactSum = field(default_factory=ExactSum)
    squared: ExactSum = field(default_factory=ExactSum)

    def add(self, batch: Tensor) -> None:
        """Take in a batch (n, ...), one item per picture."""
        values = batch.detach().to("cpu", torch.float64)
        self.count += len(values)
        self.total.add(values)
        if len(values):
            self.squared.take(*_together(*_square(values)))

    def merge(self, other: Moments) -> None:
        """Take in another stream's moments: the result is that of the joined stream, in any order."""
        self.count += other.count
        self.total.merge(other.total)
        self.squared.merge(other.squared)

    @property
    def mean(self) -> Tensor:
        """Mean over the stream, float64; NaN when nothing came."""
        if not self.count:
            return torch.full_like(self.total.high, torch.nan)
        return self.total.value() / self.count

    @property
    def squares(self) -> Tensor:
        """Sum of squared deviations from the mean: sum of squares minus squared sum / n, with both halves of each."""
        if not self.count:
            return torch.full_like(self.total.high, torch.nan)
        high, low = self.total.high, self.total.low
        product, lost = _square(high)
        lost = lost + 2 * high * low
        share = product / self.count
        whole, rest = _product(share, torch.full_like(share, float(self.count)))
        remainder = ((product - whole) - rest + lost) / self.count
        difference, error = _two_sum(self.squared.high, -share)
        return (difference + (error + self.squared.low - remainder)).clamp_min(0)

    def spread(self) -> Tensor:
        """Standard deviation over the stream (n - 1); NaN where fewer than two items came."""
        if self.count < 2:
            return torch.full_like(self.total.high, torch.nan)
        return (self.squares / (self.count - 1)).sqrt()

    def tensors(self, name: str) -> dict[str, Tensor]:
        """The four tensors to keep it as, each with ``name`` in front."""
        return {
            f"{name}.sum.high": self.total.high,
            f"{name}.sum.low": self.total.low,
            f"{name}.squares.high": self.squared.high,
            f"{name}.squares.low": self.squared.low,
        }

    @classmethod
    def from_tensors(cls, name: str, count: int, kept: Mapping[str, Tensor]) -> Moments:
        """What ``tensors`` gave, back. Raises KeyError where one is missing."""
        return cls(
            count,
            ExactSum(kept[f"{name}.sum.high"], kept[f"{name}.sum.low"]),
            ExactSum(kept[f"{name}.squares.high"], kept[f"{name}.squares.low"]),
        )


def _together(high: Tensor, low: Tensor) -> tuple[Tensor, Tensor]:
    """The sum over the first axis of ``high`` + ``low``, neighbour by neighbour, and what rounding lost."""
    while len(high) > 1:
        even = len(high) - len(high) % 2
        total, lost = _two_sum(high[:even:2], high[1:even:2])
        below = low[:even:2] + low[1:even:2] + lost
        high, low = torch.cat([total, high[even:]]), torch.cat([below, low[even:]])
    return high[0], low[0]


def _two_sum(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """The rounded sum and exactly what rounding lost."""
    total = first + second
    part = total - first
    return total, (first - (total - part)) + (second - part)


def _product(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """The rounded product and exactly what rounding lost."""
    total = first * second
    a, b = _halves(first)
    c, d = _halves(second)
    return total, ((a * c - total) + a * d + b * c) + b * d


def _square(value: Tensor) -> tuple[Tensor, Tensor]:
    return _product(value, value)


def _halves(value: Tensor) -> tuple[Tensor, Tensor]:
    scaled = _SPLIT * value
    high = scaled - (scaled - value)
    return high, value - high
