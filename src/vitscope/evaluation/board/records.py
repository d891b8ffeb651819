"""What a leaderboard is made of, as plain data: methods, states of scores, curves, and the pictures of its page."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from torch import Tensor

from vitscope.errors import EvaluationError, nearest
from vitscope.evaluation.board.statistics import resampled_sums
from vitscope.evaluation.board.sum_state import CurveSums, SumState, band_of, curve_rows, needs_rows
from vitscope.evaluation.metric_state import Metric
from vitscope.evaluation.protocol import Protocol
from vitscope.storage.recipe import Recipe

Place = tuple[str, str]
"""Where a score stands in the table: (method, metric)."""
Both = tuple[str, str, str]
"""A method on the pictures that another one has too, by a metric: (method, other, metric)."""
State = Metric | SumState
"""What a score is computed from: rows up to 100,000 pictures, sums beyond."""


@dataclass(frozen=True)
class MethodRecord:
    """A method of a leaderboard, with its cost.

    Args:
        name: Its name in the table.
        family: The group of methods it is listed with.
        class_specific: True when its maps depend on the explained class.
        control: True for a control, such as random maps.
        seconds: Seconds per picture on the machine of the run; NaN when unknown.
        memory: Peak memory of an explanation in MiB, above what was in use before; NaN where it could not be measured.

    Example:
        >>> import vitscope as vs
        >>> board = vs.evaluation.evaluate_world("shapes", ["dart"], ["mass"], count=2, controls=("uniform",))
        >>> [(record.name, record.control) for record in board.methods]
        [('dart', False), ('uniform', True)]
    """

    name: str
    family: str = ""
    class_specific: bool = True
    control: bool = False
    seconds: float = float("nan")
    memory: float = float("nan")


@dataclass
class CurveRecord:
    """Curves of one method, one per picture: ``values`` (n, K) at ``fractions`` (K,)."""

    fractions: Tensor
    keys: list[str]
    values: Tensor

    def mean(self) -> NDArray[np.float64]:
        """Mean over pictures, (K,)."""
        mean: NDArray[np.float64] = self.values.nanmean(0).numpy()
        return mean

    @property
    def start(self) -> float:
        """The mean at the first fraction."""
        return float(self.values[:, 0].nanmean())

    def band(self, seed: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Both ends of the 95 % bootstrap interval of the mean, (K,) each. seed: of the bootstrap."""
        if len(self.keys) < 2:
            return self.mean(), self.mean()
        sums, counts = resampled_sums(curve_rows(self.values), seed, 500).chunk(2, dim=1)
        return band_of(sums / counts)


@dataclass(repr=False)
class Board:
    """The data of a leaderboard: this is what is stored, merged and joined.

    Args:
        protocol: Everything that was equal for all scores.
        methods: The methods, controls last.
        metrics: Names of the metrics.
        states: One metric state per (method, metric); absent where a metric does not apply (shown as n/a).
        evaluations: Model evaluations by (method, metric), beyond those shared by several metrics.
        shared_evaluations: Model evaluations that several metrics shared.
        curves: By (method, name of the curve).
        pictures: What a page shows, by key, (H, W, 3) uint8.
        maps: What a page shows, by (method, key), (h, w) float32.
        shared: On sums, by (method, other, metric) the state of a method on the pictures that the other has too, where
            these are not all of its own.
        ranges: On sums, from where to where the positions of its pictures go; empty where rows are kept.
    """

    protocol: Protocol
    methods: list[MethodRecord]
    metrics: list[str]
    states: dict[Place, State]
    evaluations: dict[Place, int] = field(default_factory=dict)
    shared_evaluations: int = 0
    curves: dict[Place, CurveRecord | CurveSums] = field(default_factory=dict)
    pictures: dict[str, np.ndarray] = field(default_factory=dict)
    maps: dict[tuple[str, str], np.ndarray] = field(default_factory=dict)
    shared: dict[Both, SumState] = field(default_factory=dict)
    ranges: tuple[tuple[int, int], ...] = ()

    @property
    def recipe(self) -> Recipe:
        """What made these scores; boards of different recipes are not merged."""
        return self.protocol.recipe or Recipe("evaluate")

    @property
    def names(self) -> list[str]:
        """The names of the methods, controls last."""
        return [record.name for record in self.methods]

    @property
    def total_evaluations(self) -> int:
        """The number of model evaluations of the whole run, explanations not counted."""
        return self.shared_evaluations + sum(self.evaluations.values())

    def state(self, method: str, metric: str) -> State | None:
        """What a score is computed from; None where the metric does not apply.

        Args:
            method: Name of a method of this board.
            metric: Name of a metric of this board.

        Returns:
            The metric's state: one row per picture, or sums where there are more than 100,000 pictures.

        Raises:
            EvaluationError: The board has no such method or metric; the message gives the nearest names.
        """
        for kind, value, known in (("method", method, self.names), ("metric", metric, self.metrics)):
            if value not in known:
                raise unknown(kind, value, known)
        return self.states.get((method, metric))

    def per_image(self) -> pd.DataFrame:
        """All values as a table, one row per picture, method and metric.

        Returns:
            Columns: key, method, metric, value (NaN where undefined).

        Raises:
            EvaluationError: There are more than 100,000 pictures, so sums were kept.
        """
        frames = []
        for metric, method in itertools.product(self.metrics, self.names):
            state = self.state(method, metric)
            if isinstance(state, SumState):
                raise needs_rows("the value of each picture", state.count)
            if state is not None and state.keys:
                values = state.per_image().numpy()
                frames.append(
                    pd.DataFrame({"key": state.keys, "method": method, "metric": metric, "value": values})
                )
        columns = ["key", "method", "metric", "value"]
        return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=columns)


def unknown(kind: str, name: str, known: Iterable[str]) -> EvaluationError:
    """The error for a method or metric (``kind``) that a leaderboard does not have."""
    return EvaluationError(
        f"this leaderboard has no {kind} {name!r}; did you mean {', '.join(nearest(name, known))}?"
    )
