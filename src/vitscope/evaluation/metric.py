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
from vitscope.options.door import checked

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


ROOM = "vitscope.evaluation.metrics"
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
"""Files of the room ``metrics``, in the order in which metrics are loaded: faithfulness first."""
_METRICS: dict[str, MetricInfo] = {}


@checked(EvaluationError)
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
    """All registered metrics: ours in the order of ``FILES``, then those that a user registered.

    Returns:
        What is known of each metric: name, family, citation, what it requires.

    Example:
        >>> import vitscope as vs
        >>> sorted(info.name for info in vs.evaluation.all_metrics() if info.family == "localisation")[:3]
        ['auroc', 'average-precision', 'mass']
    """
    _load()
    places = {f"{ROOM}.{file}": place for place, file in enumerate(FILES)}
    return sorted(_METRICS.values(), key=lambda info: places.get(info.function.__module__, len(places)))


@checked(EvaluationError)
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
        importlib.import_module(f"{ROOM}.{file}")
