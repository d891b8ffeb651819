"""The state of a score or a curve over very many pictures: sums, and the same sums over bootstrap samples."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vitscope.errors import EvaluationError
from vitscope.evaluation.board.statistics import Interval, quantiles
from vitscope.evaluation.metric import MetricInfo
from vitscope.sums.poisson_bootstrap import PoissonSums

_WORDS = 2**64


@dataclass
class SumState:
    """One metric for one method over pictures that were added up; what a ``Metric`` says of rows, without them.

    Args:
        info: The metric.
        count: How many pictures.
        defined: How many of them have a value.
        where: A number that is equal for equal sets of pictures with a value, see ``where_of``.
        sums: Of the rows of statistics, (K,) and (R, K).
        shown: The values of the few pictures that a page shows, by key.
    """

    info: MetricInfo
    count: int = 0
    defined: int = 0
    where: int = 0
    sums: PoissonSums = field(default_factory=PoissonSums)
    shown: dict[str, float] = field(default_factory=dict)

    def merge(self, other: SumState) -> None:
        """Take in other pictures."""
        self.count += other.count
        self.defined += other.defined
        self.where = (self.where + other.where) % _WORDS
        self.sums.merge(other.sums)
        self.shown.update(other.shown)

    def copy(self) -> SumState:
        """The same sums, which adding to this state leaves as they are."""
        made = SumState(self.info)
        made.merge(self)
        return made

    def compute(self) -> float:
        """The value over all pictures, in the metric's own unit; NaN when it is undefined."""
        return float(self.info.finalise(self.sums.total.value())) if self.defined else float("nan")

    def resampled(self) -> Tensor:
        """The value over bootstrap samples of the pictures, (R,)."""
        return self.info.finalise(self.sums.samples.value())

    def interval(self) -> Interval:
        """The value and its 95 % percentile interval over the bootstrap samples."""
        low, high = quantiles(self.resampled()) if self.defined > 1 else (float("nan"), float("nan"))
        return Interval(self.compute(), low, high, self.defined)

    def values_of(self, kept: Collection[str]) -> dict[str, float]:
        """The values of those of the ``kept`` pictures that a page shows."""
        return {key: value for key, value in self.shown.items() if key in kept}

    def per_image(self) -> Tensor:
        """Refused: a sum does not know its pictures. Raises EvaluationError."""
        raise needs_rows("the value of each picture", self.count)


@dataclass
class CurveSums:
    """Curves of one method over pictures that were added up: at ``fractions`` (K,), sums of the values and of how
    many are known, (2 K,) and (R, 2 K)."""

    fractions: Tensor
    count: int = 0
    sums: PoissonSums = field(default_factory=PoissonSums)

    def merge(self, other: CurveSums) -> None:
        """Take in other pictures."""
        self.count += other.count
        self.sums.merge(other.sums)

    def mean(self) -> NDArray[np.float64]:
        """Mean over pictures, (K,); NaN where no picture has a value."""
        total, known = self.sums.total.value().chunk(2)
        return (total / known).numpy()

    @property
    def start(self) -> float:
        """The mean at the first fraction."""
        return float(self.mean()[0])

    def band(self, seed: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Both ends of the 95 % interval of the mean over the bootstrap samples, (K,) each; their seed is known."""
        if self.count < 2:
            return self.mean(), self.mean()
        total, known = self.sums.samples.value().chunk(2, dim=1)
        return band_of(total / known)


def band_of(samples: Tensor) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Both ends of the central 95 % of samples (R, K), (K,) each."""
    ends = [quantiles(samples[:, place]) for place in range(samples.shape[1])]
    return np.array([low for low, _ in ends]), np.array([high for _, high in ends])


def where_of(positions: NDArray[np.uint64]) -> int:
    """A number for a set of positions, equal for equal sets and, but for 1 in 2^64, for no others; of disjoint sets
    they add up modulo 2^64: the sum of splitmix64 (Steele et al. 2014) of each."""
    mixed = (positions.astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return int((mixed ^ (mixed >> np.uint64(31))).sum(dtype=np.uint64))


def needs_rows(what: str, count: int) -> EvaluationError:
    """The error for ``what`` a leaderboard on sums of ``count`` pictures cannot give."""
    return EvaluationError(
        f"a leaderboard of {count} pictures keeps sums, no rows, and so not {what}; evaluate at most 100,000 of them"
    )


def curve_rows(values: Tensor) -> Tensor:
    """Curves (n, K) as rows of statistics (n, 2 K): the values with 0 for unknown, and which are known."""
    known = torch.isfinite(values)
    return torch.cat([torch.where(known, values.double(), 0.0), known.double()], dim=1)
