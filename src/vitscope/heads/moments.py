"""Streaming mean and spread: constant memory, mergeable, stable (Chan, Golub, LeVeque 1983)."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass
class Moments:
    """Mean and sum of squared deviations of a stream of equally shaped tensors, in float64."""

    count: int = 0
    mean: Tensor = field(default_factory=lambda: torch.zeros(()))
    squares: Tensor = field(default_factory=lambda: torch.zeros(()))

    def add(self, batch: Tensor) -> None:
        """Take in a batch (n, ...), one item per picture."""
        if batch.shape[0] == 0:
            return
        values = batch.detach().to("cpu", torch.float64)
        mean = values.mean(0)
        self.merge(Moments(values.shape[0], mean, (values - mean).square().sum(0)))

    def merge(self, other: Moments) -> None:
        """Take in another stream's moments: the result equals that of the joined stream."""
        if other.count == 0:
            return
        if self.count == 0:
            self.count, self.mean, self.squares = other.count, other.mean.clone(), other.squares.clone()
            return
        total = self.count + other.count
        delta = other.mean - self.mean
        self.mean = self.mean + delta * (other.count / total)
        self.squares = self.squares + other.squares + delta.square() * (self.count * other.count / total)
        self.count = total

    def spread(self) -> Tensor:
        """Standard deviation over the stream (n - 1); NaN where fewer than two items came."""
        if self.count < 2:
            return torch.full_like(self.mean, float("nan"))
        return (self.squares / (self.count - 1)).clamp_min(0).sqrt()
