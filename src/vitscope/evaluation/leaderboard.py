"""The leaderboard: methods × metrics under one protocol, with intervals, paired tests and everything per picture."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from vitscope.errors import EvaluationError, nearest
from vitscope.evaluation.metric import Metric, get_metric
from vitscope.evaluation.protocol import Protocol
from vitscope.evaluation.statistics import (
    Difference,
    Interval,
    bootstrap,
    holm,
    paired_difference,
    quantiles,
    resampling_weights,
)


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


@dataclass
class Leaderboard:
    """Scores of methods under one protocol. Made by :func:`vitscope.evaluation.evaluate` or loaded from a folder.

    states: one metric state per (method, metric); absent where a metric does not apply (shown as n/a).
    evaluations: model evaluations made for (method, metric) beyond what was shared before it.
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
        state = self._state(method, metric)
        if state is None:
            return Interval(float("nan"), float("nan"), float("nan"), 0)
        return bootstrap(state.rows, state.info.finalise, self.protocol.seed)

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
                state = self._state(record.name, metric)
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
            state = self._state(method, metric)
            if state is not None and state.keys:
                values = state.per_image().numpy()
                frames.append(
                    pd.DataFrame({"key": state.keys, "method": method, "metric": metric, "value": values})
                )
        columns = ["key", "method", "metric", "value"]
        return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=columns)

    def ranking(self, metric: str) -> list[str]:
        """Methods from best to worst by value; those without a value at the end."""
        higher = get_metric(metric).higher_is_better
        sign = -1.0 if higher in (True, None) else 1.0
        values = {name: self.interval(name, metric).value for name in self.names}
        return sorted(
            self.names,
            key=lambda n: (values[n] != values[n], sign * values[n] if values[n] == values[n] else 0),
        )

    def difference(self, first: str, second: str, metric: str) -> Difference:
        """Value of ``first`` minus value of ``second`` over the pictures that both have, with interval and p."""
        rows, info = self._paired(first, second, metric), get_metric(metric)
        if rows is None:
            nan = float("nan")
            return Difference(first, second, nan, nan, nan, nan, nan, 0)
        difference, low, high, p = paired_difference(*rows, info.finalise, self.protocol.seed)
        return Difference(first, second, difference, low, high, p, p, len(rows[0]))

    def compare(self, metric: str, pairs: Iterable[tuple[str, str]] | None = None) -> pd.DataFrame:
        """Paired differences of all pairs of methods (or the given ones), p values corrected by Holm together.

        Columns: first, second, difference (first − second), low, high, p, p_holm, n, better (the better method, or
        an empty text within noise).
        """
        chosen = list(itertools.combinations(self.ranking(metric), 2)) if pairs is None else list(pairs)
        found = [self.difference(first, second, metric) for first, second in chosen]
        corrected = holm([difference.p for difference in found])
        sign = -1 if get_metric(metric).higher_is_better is False else 1
        rows = []
        for difference, p in zip(found, corrected, strict=True):
            row = vars(replace(difference, p_holm=p))
            winner = difference.first if sign * difference.difference > 0 else difference.second
            rows.append({**row, "better": winner if p < 0.05 else ""})
        columns = [*Difference.__dataclass_fields__, "better"]
        return pd.DataFrame(rows, columns=columns)

    def best(self, metric: str) -> list[str]:
        """The first method and all that are not worse than it beyond noise (Holm over the comparisons with it).

        Empty for metrics that are described and not ranked, and where nothing has a value.
        """
        if get_metric(metric).higher_is_better is None:
            return []
        ranked = [name for name in self.ranking(metric) if self.interval(name, metric).n > 0]
        if len(ranked) < 2:
            return ranked
        leader, rest = ranked[0], ranked[1:]
        corrected = holm([self.difference(leader, other, metric).p for other in rest])
        return [leader] + [other for other, p in zip(rest, corrected, strict=True) if not p < 0.05]

    def agreement(self, metrics: Sequence[str] | None = None) -> pd.DataFrame:
        """Kendall's τ between the rankings of the methods by each pair of ranked metrics; better is always up."""
        ranked = [m for m in (metrics or self.metrics) if get_metric(m).higher_is_better is not None]
        from vitscope.evaluation.agreement import agreement

        return agreement({metric: self.oriented(metric) for metric in ranked})

    def rank_stability(self, metric: str, resamples: int = 500) -> pd.DataFrame:
        """How sure the ranking is: for each method the 95 % interval of its rank over resampled pictures."""
        names = [name for name in self.names if self.interval(name, metric).n > 1]
        shared = self._shared_keys(names, metric)
        if not shared:
            return pd.DataFrame(columns=["method", "rank", "low", "high"])
        info = get_metric(metric)
        weights = resampling_weights(len(shared), self.protocol.seed, resamples)
        values = []
        for name in names:
            rows = self._rows_of(name, metric, shared)
            values.append(torch.cat([info.finalise(rows.sum(0)).view(1), info.finalise(weights @ rows)]))
        table = torch.stack(values, dim=1).nan_to_num(nan=-torch.inf if info.higher_is_better else torch.inf)
        ranks = (
            table.argsort(dim=1, descending=info.higher_is_better is not False, stable=True)
            .argsort(1)
            .double()
            + 1
        )
        rows_out = []
        for place, name in enumerate(names):
            low, high = quantiles(ranks[1:, place])
            rows_out.append({"method": name, "rank": int(ranks[0, place]), "low": low, "high": high})
        return pd.DataFrame(rows_out).sort_values("rank", ignore_index=True)

    def join(self, other: Leaderboard) -> Leaderboard:
        """Other methods or metrics of the same pictures under the same protocol, in one table.

        Raises EvaluationError when the protocols differ or a score is in both.
        """
        self.protocol.require_equal(other.protocol)
        twice = set(self.states) & set(other.states)
        if twice:
            raise EvaluationError(
                f"both tables hold {' / '.join(min(twice))}; join tables without common scores"
            )
        known = {record.name for record in self.methods}
        return Leaderboard(
            self.protocol,
            self.methods + [record for record in other.methods if record.name not in known],
            self.metrics + [metric for metric in other.metrics if metric not in self.metrics],
            {**self.states, **other.states},
            {**self.evaluations, **other.evaluations},
            self.shared_evaluations + other.shared_evaluations,
            {**self.curves, **other.curves},
            {**self.pictures, **other.pictures},
            {**self.maps, **other.maps},
        )

    def merge(self, other: Leaderboard) -> Leaderboard:
        """The leaderboard of two shards of one data set: equal to that of the whole.

        Raises EvaluationError when protocols differ beyond the pictures, or methods or metrics do.
        """
        protocol = self.protocol.merged(other.protocol)
        if self.names != other.names or self.metrics != other.metrics:
            raise EvaluationError(
                "shards must hold the same methods and metrics; evaluate both with the same lists"
            )
        states: dict[tuple[str, str], Metric] = {}
        for place in [*self.states, *(p for p in other.states if p not in self.states)]:
            merged = Metric(place[1])
            for state in (self.states.get(place), other.states.get(place)):
                if state is not None:
                    merged.merge(state)
            states[place] = merged
        curves = dict(self.curves)
        for place, curve in other.curves.items():
            mine = curves.get(place)
            curves[place] = (
                curve
                if mine is None
                else CurveRecord(
                    mine.fractions, mine.keys + curve.keys, torch.cat([mine.values, curve.values])
                )
            )
        counts = (self.protocol.pictures, other.protocol.pictures)
        return Leaderboard(
            protocol,
            [_pooled(a, b, counts) for a, b in zip(self.methods, other.methods, strict=True)],
            self.metrics,
            states,
            {p: self.evaluations.get(p, 0) + other.evaluations.get(p, 0) for p in states},
            self.shared_evaluations + other.shared_evaluations,
            curves,
            {**self.pictures, **other.pictures},
            {**self.maps, **other.maps},
        )

    def save(self, folder: str | Path) -> Path:
        """Write leaderboard.parquet, per_image.parquet, statistics.parquet, curves.parquet and protocol.json."""
        from vitscope.evaluation.storage import save

        return save(self, Path(folder))

    @classmethod
    def load(cls, folder: str | Path) -> Leaderboard:
        """Read back what :meth:`save` wrote (pictures and maps are not stored)."""
        from vitscope.evaluation.storage import load

        return load(Path(folder))

    def to_html(self, path: str | Path | None = None) -> str:
        """A self-contained page: table, intervals, curves, heat maps of rank agreement, worst and best pictures."""
        from vitscope.evaluation.report import page

        text = page(self)
        if path is not None:
            from vitscope.rendering.files import write_atomically

            write_atomically(path, text)
        return text

    def _repr_html_(self) -> str:
        wide = self.to_pandas().pivot(index="method", columns="metric", values="value")
        table = wide.reindex(index=self.names, columns=self.metrics)
        return str(table.to_html(na_rep="n/a", float_format="{:.3g}".format))

    def _state(self, method: str, metric: str) -> Metric | None:
        for kind, value, known in (("method", method, self.names), ("metric", metric, self.metrics)):
            if value not in known:
                raise EvaluationError(
                    f"this leaderboard has no {kind} {value!r}; did you mean {', '.join(nearest(value, known))}?"
                )
        return self.states.get((method, metric))

    def oriented(self, metric: str) -> dict[str, float]:
        """The value of each method with its sign turned so that more is better."""
        sign = 1 if get_metric(metric).higher_is_better else -1
        return {name: sign * self.interval(name, metric).value for name in self.names}

    def _shared_keys(self, names: Sequence[str], metric: str) -> list[str]:
        states = [self._state(name, metric) for name in names]
        if not states or any(state is None for state in states):
            return []
        defined = []
        for state in states:
            assert state is not None
            used = (state.rows != 0).any(1).tolist()
            defined.append({key for key, ok in zip(state.keys, used, strict=True) if ok})
        return sorted(set.intersection(*defined))

    def _rows_of(self, name: str, metric: str, keys: Sequence[str]) -> Tensor:
        state = self._state(name, metric)
        assert state is not None
        place = {key: index for index, key in enumerate(state.keys)}
        return state.rows[[place[key] for key in keys]]

    def _paired(self, first: str, second: str, metric: str) -> tuple[Tensor, Tensor] | None:
        keys = self._shared_keys([first, second], metric)
        if len(keys) < 2:
            return None
        return self._rows_of(first, metric, keys), self._rows_of(second, metric, keys)


def _pooled(first: MethodRecord, second: MethodRecord, counts: tuple[int, int]) -> MethodRecord:
    total = max(1, sum(counts))
    seconds = (first.seconds * counts[0] + second.seconds * counts[1]) / total
    memory: Any = np.fmax(first.memory, second.memory)
    return replace(first, seconds=seconds, memory=float(memory))
