"""The state of a metric: a row of statistics per picture, which shards add to."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from vitscope.errors import EvaluationError
from vitscope.evaluation.metric import MetricInfo, get_metric

if TYPE_CHECKING:
    from vitscope.evaluation.case import Subject


class Metric:
    """The state of one metric for one method: ``update`` with batches, ``merge`` with shards, ``compute``.

    The whole state is ``rows`` (n, K) and ``keys`` (n). A metric that is defined on a whole data set (mIoU, PxAP) also
    keeps one row of statistics per picture; its value is computed from the sum of the rows, so shards add up exactly.

    Args:
        metric: A registered metric or its name.

    Example:
        >>> import torch
        >>> import vitscope as vs
        >>> mass = vs.evaluation.Metric("mass")
        >>> mass.update_rows(["a.png", "b.png"], torch.tensor([[0.5, 1.0], [0.25, 1.0]]))
        >>> mass.compute(), mass.per_image().tolist()
        (0.375, [0.5, 0.25])
    """

    def __init__(self, metric: MetricInfo | str) -> None:
        self.info = get_metric(metric) if isinstance(metric, str) else metric
        self.keys: list[str] = []
        self._rows: list[Tensor] = []
        self._seen: set[str] = set()
        """The first keys as a set, as far as it was needed: made once, however many shards are merged."""

    @property
    def rows(self) -> Tensor:
        """Statistics per picture, (n, K) float64 on the CPU."""
        if not self._rows:
            return torch.zeros(0, 0, dtype=torch.float64)
        if len(self._rows) > 1:
            self._rows = [torch.cat(self._rows)]
        return self._rows[0]

    @property
    def count(self) -> int:
        """How many pictures."""
        return len(self.keys)

    def update(self, subject: Subject) -> None:
        """Add one batch; nothing is added when the metric does not apply to the method.

        Args:
            subject: The maps of one method on one batch.
        """
        values = self.info.function(subject)
        if values is not None:
            self.update_rows(subject.case.keys, statistics_of(values))

    def update_rows(self, keys: Sequence[str], rows: Tensor) -> None:
        """Add rows of statistics that are known already.

        Args:
            keys: Names of the B pictures.
            rows: (B, K).

        Raises:
            EvaluationError: Another number of rows than of keys.
        """
        if len(keys) != rows.shape[0]:
            raise EvaluationError(f"expected one row per picture, got {rows.shape[0]} for {len(keys)}")
        self.keys.extend(keys)
        self._rows.append(rows.detach().to("cpu", torch.float64))

    def merge(self, other: Metric) -> None:
        """Add the pictures of another shard.

        Args:
            other: The same metric on other pictures.

        Raises:
            EvaluationError: Another metric, or a picture that is in both.
        """
        if other.info.name != self.info.name:
            raise EvaluationError(
                f"cannot add {other.info.name!r} to {self.info.name!r}; merge like with like"
            )
        self._seen.update(self.keys[len(self._seen) :])
        twice = self._seen.intersection(other.keys)
        if twice:
            raise EvaluationError(
                f"{len(twice)} pictures are in both shards (such as {min(twice)!r}); give each shard its own"
            )
        if other.keys:
            self.keys.extend(other.keys)
            self._rows.append(other.rows)
            self._seen.update(other.keys)

    def only(self, called: Mapping[str, str]) -> Metric:
        """The same state of some of its pictures, under the names that they get.

        Args:
            called: The new name of each picture that is kept, by its old one; the others are left out.
        """
        places = [place for place, key in enumerate(self.keys) if key in called]
        made = Metric(self.info)
        made.update_rows([called[self.keys[place]] for place in places], self.rows[places])
        return made

    def compute(self) -> float:
        """The value over all pictures so far, in the metric's own unit; NaN when it is undefined."""
        if not self.keys:
            return float("nan")
        return float(self.info.finalise(self.rows.sum(0)))

    def per_image(self) -> Tensor:
        """The value of each picture alone, (n,) float64, NaN where undefined."""
        return self.info.finalise(self.rows) if self.keys else torch.zeros(0, dtype=torch.float64)

    def values_of(self, kept: Collection[str]) -> dict[str, float]:
        """The values of those of the ``kept`` pictures that it has, by key; NaN where undefined."""
        found = zip(self.keys, self.per_image().tolist(), strict=True)
        return {key: value for key, value in found if key in kept}

    def reset(self) -> None:
        """Remove all pictures."""
        self.keys.clear()
        self._rows.clear()
        self._seen.clear()


def statistics_of(values: Tensor) -> Tensor:
    """Rows of statistics: (B,) values with NaN for undefined become (value or 0, defined); (B, K) stays."""
    values = values.detach().double()
    if values.ndim == 2:
        return values
    defined = torch.isfinite(values)
    return torch.stack([torch.where(defined, values, torch.zeros_like(values)), defined.double()], dim=1)
