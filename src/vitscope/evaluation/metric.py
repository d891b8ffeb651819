"""What a metric is: a function of one batch, a row of numbers per picture, and a rule that turns sums into a value.

Every metric, also one that is defined on a whole data set (mIoU, PxAP), gives each picture a row of sufficient
statistics; its value is ``finalise(sum of the rows)``. So shards of a data set add up exactly, and one bootstrap
over pictures serves all metrics.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from vitscope.errors import EvaluationError, nearest

if TYPE_CHECKING:
    from vitscope.evaluation.case import Subject

MetricFunction = Callable[["Subject"], "Tensor | None"]
Finalise = Callable[[Tensor], Tensor]


def mean_of(sums: Tensor) -> Tensor:
    """Finalise of a mean: (..., 2) sums of (value, defined) -> (...), NaN where nothing was defined."""
    return torch.where(sums[..., 1] > 0, sums[..., 0] / sums[..., 1].clamp_min(1e-300), torch.nan)


@dataclass(frozen=True)
class MetricInfo:
    """A registered metric.

    Args:
        name: Its name.
        family: The group of metrics it is listed with.
        title: What it measures, in a few words.
        citation: The publication it comes from.
        higher_is_better: None for a metric that describes and does not rank.
        requires: What the pictures must come with: ``labels``, ``masks``, ``boxes``, ``flow``, ``mosaics``, or
            ``model`` for metrics that explain changed pictures.
        beside: Metrics that are always reported together with this one.
        function: (subject) -> one number, or one row of statistics, for each picture of a batch.
        finalise: Turns sums of rows (..., K) into values (...).
        chance: The value of a random map in expectation, None when unknown.

    Example:
        >>> import vitscope as vs
        >>> srg = vs.evaluation.get_metric("srg")
        >>> srg.title, srg.higher_is_better
        ('symmetric relevance gain, AUC(LIF) − AUC(MIF)', True)
    """

    name: str
    family: str
    title: str
    citation: str
    higher_is_better: bool | None
    requires: tuple[str, ...]
    beside: tuple[str, ...]
    function: MetricFunction
    finalise: Finalise
    chance: float | None


FILES = (
    "removal_curves",
    "insertion_deletion",
    "average_drop",
    "class_perturbation",
    "single_deletion",
    "saco",
    "subset_fidelity",
    "road",
    "localisation",
    "segmentation",
    "box_accuracy",
    "grid_pointing",
    "class_sensitivity",
    "sanity",
    "stability",
    "completeness",
    "complexity",
    "flow",
)
"""Files of the room ``metrics``, in the order of the formula sheet, which is the order of every list of metrics."""
_METRICS: dict[str, MetricInfo] = {}


def register_metric(
    name: str,
    *,
    family: str,
    title: str,
    citation: str,
    higher_is_better: bool | None,
    requires: Sequence[str] = (),
    beside: Sequence[str] = (),
    finalise: Finalise = mean_of,
    chance: float | None = None,
) -> Callable[[MetricFunction], MetricFunction]:
    """Register a metric; evaluation, the command line, the docs and the tests then know it.

    The decorated function takes a :class:`~vitscope.evaluation.case.Subject`, the maps of one method on one batch. It
    returns one number per picture, (B,) with NaN for undefined; or rows of statistics (B, K) when ``finalise`` is
    given; or None when the metric does not apply to the method.

    Args:
        name: Its name; it must be free.
        family: The group of metrics it is listed with.
        title: What it measures, in a few words.
        citation: The publication it comes from.
        higher_is_better: None for a metric that describes and does not rank.
        requires: What the pictures must come with, see :class:`MetricInfo`.
        beside: Metrics that are always reported together with this one.
        finalise: Turns sums (..., K) into values (...) by differentiable torch operations: the paired test asks how a
            value changes with each picture. Default: the mean of the defined numbers.
        chance: The value of a random map in expectation.

    Returns:
        A decorator that gives the function back unchanged.

    Raises:
        EvaluationError: The name is taken.

    Example:
        >>> import vitscope as vs
        >>> @vs.evaluation.register_metric(
        ...     "peak", family="example", title="largest value of the map", citation="", higher_is_better=None
        ... )
        ... def peak(subject):
        ...     return subject.flat.amax(1)
        >>> vs.evaluation.evaluate_world("shapes", ["rollout"], ["peak"], count=2, controls=())
        <Leaderboard: 1 methods and controls x peak, 2 pictures, protocol ...>
    """

    def add(function: MetricFunction) -> MetricFunction:
        if name in _METRICS and _METRICS[name].function.__qualname__ != function.__qualname__:
            raise EvaluationError(f"a metric named {name!r} exists already; choose another name")
        _METRICS[name] = MetricInfo(
            name,
            family,
            title,
            citation,
            higher_is_better,
            tuple(requires),
            tuple(beside),
            function,
            finalise,
            chance,
        )
        return function

    return add


def all_metrics() -> list[MetricInfo]:
    """All registered metrics.

    Returns:
        What is known of each metric: name, family, citation, what it requires.

    Example:
        >>> import vitscope as vs
        >>> sorted(info.name for info in vs.evaluation.all_metrics() if info.family == "localisation")[:3]
        ['auroc', 'average-precision', 'mass']
    """
    _load()
    return list(_METRICS.values())


def get_metric(name: str) -> MetricInfo:
    """The registered metric of a name.

    Args:
        name: Its name, such as ``"srg"`` (symmetric relevance gain).

    Returns:
        What is known of the metric.

    Raises:
        EvaluationError: There is no such metric; the message gives the nearest names.

    Example:
        >>> import vitscope as vs
        >>> vs.evaluation.get_metric("mass").requires
        ('masks',)
    """
    _load()
    if name not in _METRICS:
        raise EvaluationError(
            f"no metric is named {name!r}; did you mean {', '.join(nearest(name, _METRICS))}?"
        )
    return _METRICS[name]


def _load() -> None:
    for file in FILES:
        importlib.import_module(f"vitscope.evaluation.metrics.{file}")


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

    def compute(self) -> float:
        """The value over all pictures so far, in the metric's own unit; NaN when it is undefined."""
        if not self.keys:
            return float("nan")
        return float(self.info.finalise(self.rows.sum(0)))

    def per_image(self) -> Tensor:
        """The value of each picture alone, (n,) float64, NaN where undefined."""
        return self.info.finalise(self.rows) if self.keys else torch.zeros(0, dtype=torch.float64)

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
