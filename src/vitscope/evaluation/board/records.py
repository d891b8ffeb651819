"""What a leaderboard is made of, as plain data: who took part, the state of every score, curves, what a page shows."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from torch import Tensor

from vitscope.errors import EvaluationError, nearest
from vitscope.evaluation.metric import Metric
from vitscope.evaluation.protocol import Protocol
from vitscope.storage.recipe import Recipe

Place = tuple[str, str]
"""Where a score stands in the table: (method, metric)."""


@dataclass(frozen=True)
class MethodRecord:
    """A method of the table and what it costs. seconds: per picture; memory: peak of an explanation in MiB above what
    was in use before, NaN where it could not be measured; both are of this machine."""

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


@dataclass(repr=False)
class Board:
    """The data of a leaderboard: it is stored, merged and joined as this, whatever is asked of it later.

    states: one metric state per (method, metric); absent where a metric does not apply (shown as n/a).
    evaluations: model evaluations made for (method, metric) beyond what was shared before it. curves: by (method,
    name of the curve). pictures, maps: what a page shows, see ``gallery``.
    """

    protocol: Protocol
    methods: list[MethodRecord]
    metrics: list[str]
    states: dict[Place, Metric]
    evaluations: dict[Place, int] = field(default_factory=dict)
    shared_evaluations: int = 0
    curves: dict[tuple[str, str], CurveRecord] = field(default_factory=dict)
    pictures: dict[str, np.ndarray] = field(default_factory=dict)
    maps: dict[tuple[str, str], np.ndarray] = field(default_factory=dict)

    @property
    def recipe(self) -> Recipe:
        """What made these scores; boards of different recipes are not merged."""
        return self.protocol.recipe or Recipe("evaluate")

    @property
    def names(self) -> list[str]:
        """Names of the methods, controls last."""
        return [record.name for record in self.methods]

    @property
    def total_evaluations(self) -> int:
        """Model evaluations of the whole run, explanations not counted."""
        return self.shared_evaluations + sum(self.evaluations.values())

    def state(self, method: str, metric: str) -> Metric | None:
        """What a score is made of; None where the metric does not apply. Raises EvaluationError for unknown names."""
        for kind, value, known in (("method", method, self.names), ("metric", metric, self.metrics)):
            if value not in known:
                raise unknown(kind, value, known)
        return self.states.get((method, metric))


def unknown(kind: str, name: str, known: Iterable[str]) -> EvaluationError:
    """The error for a ``kind`` ("method", "metric") of this name, which a leaderboard has not."""
    return EvaluationError(
        f"this leaderboard has no {kind} {name!r}; did you mean {', '.join(nearest(name, known))}?"
    )
