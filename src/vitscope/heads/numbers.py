"""What is known of numbers for every head over pictures, whether each picture's are kept or sums of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from vitscope.heads.errors import HeadsError
from vitscope.heads.pruning.change_metrics import METRICS
from vitscope.options.door import checked


class HeadNumbers:
    """Means and spreads over pictures of numbers for every (block, head): intervals, an order of the heads, a table."""

    @property
    def metrics(self) -> list[str]:
        """The names of the metrics."""
        raise NotImplementedError

    @property
    def count(self) -> int:
        """The number of pictures."""
        raise NotImplementedError

    @property
    def shape(self) -> tuple[int, int]:
        """The number of blocks L and of heads H."""
        raise NotImplementedError

    def mean(self, metric: str) -> NDArray[np.float64]:
        """Mean over pictures, (L, H) in the metric's own unit, NaN where nothing was measured."""
        raise NotImplementedError

    def spread(self, metric: str) -> NDArray[np.float64]:
        """Standard deviation over pictures (with n − 1), (L, H); NaN for fewer than two pictures."""
        raise NotImplementedError

    def counted(self, metric: str) -> NDArray[np.int64]:
        """How many pictures were measured, (L, H)."""
        raise NotImplementedError

    @checked(HeadsError)
    def interval(self, metric: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The 95 % normal interval of the mean over pictures.

        Args:
            metric: A metric of this table.

        Returns:
            (low, high), each (L, H).

        Raises:
            HeadsError: There is no such metric.
        """
        mean, half = (
            self.mean(metric),
            1.96 * self.spread(metric) / np.sqrt(np.maximum(1, self.counted(metric))),
        )
        return mean - half, mean + half

    @checked(HeadsError)
    def order(self, metric: str, *, most_important_first: bool = True) -> list[tuple[int, int]]:
        """The heads sorted by the mean of a metric; heads that were not measured are left out.

        Args:
            metric: A metric of this table.
            most_important_first: True sorts from the largest mean to the smallest.

        Returns:
            (block, head) pairs, both from 0.

        Raises:
            HeadsError: There is no such metric.
        """
        mean = self.mean(metric)
        blocks, heads = np.nonzero(np.isfinite(mean))
        ranked = sorted(zip(blocks.tolist(), heads.tolist(), strict=True), key=lambda head: -mean[head])
        return ranked if most_important_first else ranked[::-1]

    def to_pandas(self) -> pd.DataFrame:
        """The aggregated table, one row per head.

        Returns:
            Columns: block, head, n (pictures), and for each metric its mean, NAME_std, NAME_low and NAME_high.
        """
        blocks, heads = self.shape
        columns: dict[str, Any] = {
            "block": np.repeat(np.arange(blocks), heads),
            "head": np.tile(np.arange(heads), blocks),
            "n": np.max([self.counted(metric) for metric in self.metrics], axis=0).ravel(),
        }
        for metric in self.metrics:
            low, high = self.interval(metric)
            columns[metric] = self.mean(metric).ravel()
            columns[f"{metric}_std"] = self.spread(metric).ravel()
            columns[f"{metric}_low"], columns[f"{metric}_high"] = low.ravel(), high.ravel()
        return pd.DataFrame(columns)

    def describe(self) -> pd.DataFrame:
        """What each metric means, one row per metric: name, title, family, signed."""
        rows = [METRICS[name] for name in self.metrics if name in METRICS]
        return pd.DataFrame([vars(row) for row in rows])
