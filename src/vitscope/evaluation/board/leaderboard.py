"""The leaderboard: methods × metrics under one protocol, with intervals, paired tests and everything per picture."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from vitscope.errors import EvaluationError, nearest
from vitscope.evaluation.board import comparison, merging
from vitscope.evaluation.board.poisson_bootstrap import poisson_sums
from vitscope.evaluation.board.statistics import EXACT, Difference, Interval, bootstrap
from vitscope.evaluation.metric import Metric, get_metric
from vitscope.evaluation.protocol import Protocol
from vitscope.shown import drawn_by
from vitscope.storage.recipe import Recipe


@dataclass(frozen=True)
class MethodRecord:
    """What is said about a method beside its scores. seconds: per picture; memory: peak of an explanation in MiB
    above what was in use before, NaN where it could not be measured; both are of this machine."""

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
class Leaderboard:
    """Scores of methods under one protocol. Made by :func:`vitscope.evaluate` or loaded from a folder.

    states: one metric state per (method, metric); absent where a metric does not apply (shown as n/a).
    evaluations: model evaluations made for (method, metric) beyond what was shared before it. pictures, maps: what a
    page shows, see ``gallery``.
    """

    protocol: Protocol
    methods: list[MethodRecord]
    metrics: list[str]
    states: dict[tuple[str, str], Metric]
    evaluations: dict[tuple[str, str], int] = field(default_factory=dict)
    shared_evaluations: int = 0
    curves: dict[tuple[str, str], CurveRecord] = field(default_factory=dict)
    pictures: dict[str, np.ndarray] = field(default_factory=dict)
    maps: dict[tuple[str, str], np.ndarray] = field(default_factory=dict)
    _intervals: dict[tuple[str, str], tuple[int, Interval]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def __repr__(self) -> str:
        table = f"{len(self.methods)} methods and controls x {', '.join(self.metrics)}"
        return f"<Leaderboard: {table}, {self.protocol.pictures} pictures, protocol {self.protocol.digest}>"

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

    def interval(self, method: str, metric: str) -> Interval:
        """Value with its 95 % bootstrap interval; n is 0 and the value NaN where the metric does not apply."""
        state = self.state(method, metric)
        if state is None:
            return Interval(float("nan"), float("nan"), float("nan"), 0)
        count, known = self._intervals.get((method, metric), (-1, None))
        if known is None or count != len(state.keys):
            self._find_intervals(method, metric, state)
            known = self._intervals[(method, metric)][1]
        return known

    def _find_intervals(self, method: str, metric: str, state: Metric) -> None:
        """By bootstrap over the pictures in the order of their names, so not in that of shards. Of very many pictures
        all states are resampled at once, because drawing costs more than adding."""
        known, seed = len(state.keys), self.protocol.seed
        order = torch.tensor(sorted(range(known), key=state.keys.__getitem__))
        if known <= EXACT:
            found = bootstrap(state.rows[order], state.info.finalise, seed)
            self._intervals[(method, metric)] = (known, found)
            return
        alike = {place: other for place, other in self.states.items() if other.keys == state.keys}
        sums = poisson_sums([other.rows for other in alike.values()], seed, order=order)
        for (place, other), own in zip(alike.items(), sums, strict=True):
            self._intervals[place] = (known, bootstrap(other.rows, other.info.finalise, seed, sums=own))

    def to_pandas(self) -> pd.DataFrame:
        """One row per method and metric.

        Columns: method, metric, value, low, high, n, undefined, start (value of the metric's curve at step 0),
        higher_is_better, best (not worse than the first by a paired test with Holm's correction), family, control,
        class_specific, seconds, memory_mib, evaluations, protocol. Undefined cases are NaN.
        """
        rows = []
        for metric in self.metrics:
            info, best = get_metric(metric), set(self.best(metric))
            for record in self.methods:
                interval = self.interval(record.name, metric)
                state = self.state(record.name, metric)
                curve = self.curves.get((record.name, metric))
                rows.append(
                    {
                        "method": record.name,
                        "metric": metric,
                        "value": interval.value,
                        "low": interval.low,
                        "high": interval.high,
                        "n": interval.n,
                        "undefined": (len(state.keys) if state else self.protocol.pictures) - interval.n,
                        "start": float(curve.values[:, 0].nanmean()) if curve is not None else float("nan"),
                        "higher_is_better": info.higher_is_better,
                        "best": record.name in best,
                        "family": record.family,
                        "control": record.control,
                        "class_specific": record.class_specific,
                        "seconds": record.seconds,
                        "memory_mib": record.memory,
                        "evaluations": self.evaluations.get((record.name, metric), 0),
                        "protocol": self.protocol.digest,
                    }
                )
        return pd.DataFrame(rows)

    def per_image(self) -> pd.DataFrame:
        """One row per picture, method and metric: key, method, metric, value (NaN where undefined)."""
        frames = []
        for metric, method in itertools.product(self.metrics, self.names):
            state = self.state(method, metric)
            if state is not None and state.keys:
                values = state.per_image().numpy()
                frames.append(
                    pd.DataFrame({"key": state.keys, "method": method, "metric": metric, "value": values})
                )
        columns = ["key", "method", "metric", "value"]
        return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=columns)

    def ranking(self, metric: str) -> list[str]:
        """Methods from best to worst by value; those without a value at the end."""
        return comparison.ranking(self, metric)

    def difference(self, first: str, second: str, metric: str) -> Difference:
        """Value of ``first`` minus value of ``second`` over the pictures that both have, with interval and p."""
        return comparison.difference(self, first, second, metric)

    def compare(self, metric: str, pairs: Iterable[tuple[str, str]] | None = None) -> pd.DataFrame:
        """Paired differences of all pairs of methods (or the given ones), p values corrected by Holm together.

        The two-sided p is that of sign flips, see ``paired_test``, whose resolution suffices
        for any number of methods; NaN with fewer than 6 pictures, which cannot reach 5 %. Columns: first, second,
        difference (first − second), low, high, p, p_holm, n, needed (from how many pictures on the clearest of so
        many comparisons could be told apart), better (the better method, or an empty text) and verdict ("… is
        better", "undecided", or how many pictures are missing).
        """
        return comparison.compare(self, metric, pairs)

    def best(self, metric: str) -> list[str]:
        """The first method and all that are not worse than it beyond noise (Holm over all pairs, as ``compare``).

        Empty for metrics that are described and not ranked, and where nothing has a value.
        """
        return comparison.best(self, metric)

    def rank_stability(self, metric: str, resamples: int = 500) -> pd.DataFrame:
        """How sure the ranking is: for each method the 95 % interval of its rank over resampled pictures."""
        return comparison.rank_stability(self, metric, resamples)

    def agreement(self, metrics: Sequence[str] | None = None) -> pd.DataFrame:
        """Kendall's τ between the rankings of the methods by each pair of ranked metrics; better is always up."""
        from vitscope.evaluation.board.agreement import agreement

        ranked = [m for m in (metrics or self.metrics) if get_metric(m).higher_is_better is not None]
        return agreement({metric: self.oriented(metric) for metric in ranked})

    def oriented(self, metric: str) -> dict[str, float]:
        """The value of each method with its sign turned so that more is better."""
        sign = 1 if get_metric(metric).higher_is_better else -1
        return {name: sign * self.interval(name, metric).value for name in self.names}

    def join(self, other: Leaderboard) -> Leaderboard:
        """Other methods or metrics of the same pictures under the same protocol, in one table.

        Raises EvaluationError when the protocols differ or a score is in both.
        """
        return merging.join(self, other)

    def merge(self, *others: Leaderboard) -> Leaderboard:
        """The leaderboard of shards of one data set: equal to that of the whole. Merge many at once.

        Raises EvaluationError when protocols differ beyond the pictures, or methods or metrics do.
        """
        return merging.merge((self, *others))

    def save(self, folder: str | Path) -> Path:
        """Write it into a folder, in the place of one that is there, with leaderboard.parquet and per_image.parquet."""
        from vitscope.evaluation.board.encoding import save

        return save(self, Path(folder))

    @classmethod
    def load(cls, folder: str | Path) -> Leaderboard:
        """Read back what :meth:`save` wrote, without pictures and maps.

        Raises StorageError when the folder holds no leaderboard, or a damaged one."""
        from vitscope.evaluation.board.encoding import load

        return load(Path(folder))

    def to_html(self, path: str | Path | None = None) -> str:
        """A self-contained page: table, intervals, curves, heat maps of rank agreement, worst and best pictures."""
        text: str = drawn_by("leaderboard.page", "page")(self)
        if path is not None:
            from vitscope.rendering.files import write_atomically

            write_atomically(path, text)
        return text

    def _repr_html_(self) -> str:
        wide = self.to_pandas().pivot(index="method", columns="metric", values="value")
        table = wide.reindex(index=self.names, columns=self.metrics)
        return str(table.to_html(na_rep="n/a", float_format="{:.3g}".format))

    def state(self, method: str, metric: str) -> Metric | None:
        """What a score is made of; None where the metric does not apply. Raises EvaluationError for unknown names."""
        for kind, value, known in (("method", method, self.names), ("metric", metric, self.metrics)):
            if value not in known:
                raise EvaluationError(
                    f"this leaderboard has no {kind} {value!r}; did you mean {', '.join(nearest(value, known))}?"
                )
        return self.states.get((method, metric))
