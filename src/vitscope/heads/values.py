"""Numbers for every head and picture: their means and spreads over pictures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vitscope.errors import nearest
from vitscope.heads.errors import HeadsError
from vitscope.heads.numbers import HeadNumbers
from vitscope.options.door import checked

Values = NDArray[np.float32]


@dataclass(frozen=True, repr=False)
class HeadValues(HeadNumbers):
    """Numbers for every (block, head) of n pictures.

    Args:
        values: By the name of each metric, (n, L, H) float32 for n pictures, L blocks and H heads; NaN where a head
            was not measured.
        pictures: The key of each picture.

    Raises:
        HeadsError: Arrays of different shapes, or for another number of pictures.
    """

    values: Mapping[str, Values]
    pictures: tuple[str, ...]

    def __post_init__(self) -> None:
        shapes = {array.shape[1:] for array in self.values.values()}
        counts = {array.shape[0] for array in self.values.values()}
        if not self.values or len(shapes) != 1 or counts != {len(self.pictures)}:
            raise HeadsError(
                f"expected arrays (pictures, blocks, heads) of one shape for {len(self.pictures)} pictures, got "
                f"{sorted({a.shape for a in self.values.values()})}; build the table from one sweep"
            )

    @property
    def metrics(self) -> list[str]:
        """The names of the metrics."""
        return list(self.values)

    @property
    def count(self) -> int:
        """The number of pictures."""
        return len(self.pictures)

    @property
    def shape(self) -> tuple[int, int]:
        """The number of blocks L and of heads H."""
        array = next(iter(self.values.values()))
        return int(array.shape[1]), int(array.shape[2])

    @checked(HeadsError)
    def __getitem__(self, metric: str) -> Values:
        """The values of one metric, (n, L, H) float32.

        Raises HeadsError with the nearest names when there is no such metric.
        """
        if metric not in self.values:
            near = ", ".join(nearest(metric, self.values))
            raise HeadsError(f"expected a metric of this table, got {metric!r}; the nearest names are {near}")
        return self.values[metric]

    @checked(HeadsError)
    def mean(self, metric: str) -> NDArray[np.float64]:
        """Mean over pictures, (L, H) in the metric's own unit, NaN where nothing was measured.

        Args:
            metric: A metric of this table.

        Raises:
            HeadsError: There is no such metric.
        """
        return _nan_mean(self[metric])

    @checked(HeadsError)
    def spread(self, metric: str) -> NDArray[np.float64]:
        """Standard deviation over pictures (with n − 1), (L, H); NaN for fewer than two pictures.

        Args:
            metric: A metric of this table.

        Raises:
            HeadsError: There is no such metric.
        """
        values = self[metric].astype(np.float64)
        count = np.isfinite(values).sum(0)
        squares = np.nansum((values - _nan_mean(values)) ** 2, axis=0)
        with np.errstate(invalid="ignore", divide="ignore"):
            result: NDArray[np.float64] = np.where(count > 1, np.sqrt(squares / (count - 1)), np.nan)
        return result

    @checked(HeadsError)
    def counted(self, metric: str) -> NDArray[np.int64]:
        """How many pictures were measured, (L, H).

        Args:
            metric: A metric of this table.

        Raises:
            HeadsError: There is no such metric.
        """
        measured: NDArray[np.int64] = np.isfinite(self[metric]).sum(0).astype(np.int64)
        return measured


def _nan_mean(values: NDArray[Any]) -> NDArray[np.float64]:
    count = np.isfinite(values).sum(0)
    with np.errstate(invalid="ignore", divide="ignore"):
        total = np.nansum(values.astype(np.float64), axis=0)
        result: NDArray[np.float64] = np.where(count > 0, total / np.maximum(1, count), np.nan)
    return result
