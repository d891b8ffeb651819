"""The leaderboard: methods × metrics under one protocol, with intervals, paired tests and everything per picture."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd

from vitscope.evaluation.board import encoding, merging
from vitscope.evaluation.board.comparison import Comparison
from vitscope.evaluation.board.intervals import Intervals
from vitscope.evaluation.board.records import Board, unknown
from vitscope.evaluation.board.statistics import Difference, Interval, rank_correlation
from vitscope.evaluation.metric import get_metric
from vitscope.shown import drawn_by
from vitscope.storage import files, folders, tables


@dataclass(repr=False)
class Leaderboard(Board):
    """Scores of methods under one protocol. Made by :func:`vitscope.evaluate` or loaded from a folder."""

    def __repr__(self) -> str:
        table = f"{len(self.methods)} methods and controls x {', '.join(self.metrics)}"
        return f"<Leaderboard: {table}, {self.protocol.pictures} pictures, protocol {self.protocol.digest}>"

    def interval(self, method: str, metric: str) -> Interval:
        """Value with its 95 % bootstrap interval; n is 0 and the value NaN where the metric does not apply."""
        self.state(method, metric)
        return self._intervals.of(method, metric)

    @cached_property
    def _intervals(self) -> Intervals:
        return Intervals(self.states, self.protocol.seed)

    def by(self, metric: str) -> Comparison:
        """The methods compared by one metric. Raises EvaluationError for a metric that this leaderboard has not."""
        if metric not in self.metrics:
            raise unknown("metric", metric, self.metrics)
        return Comparison(get_metric(metric), self.names, self.states, self._intervals, self.protocol.seed)

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
        return self.by(metric).ranking()

    def difference(self, first: str, second: str, metric: str) -> Difference:
        """Value of ``first`` minus value of ``second`` over the pictures that both have, with interval and p."""
        return self.by(metric).difference(first, second)

    def compare(self, metric: str, pairs: Iterable[tuple[str, str]] | None = None) -> pd.DataFrame:
        """Paired differences of all pairs of methods (or the given ones), p values corrected by Holm together.

        The two-sided p is that of sign flips, see ``paired_test``, whose resolution suffices
        for any number of methods; NaN with fewer than 6 pictures, which cannot reach 5 %. Columns: first, second,
        difference (first − second), low, high, p, p_holm, n, needed (from how many pictures on the clearest of so
        many comparisons could be told apart), better (the better method, or an empty text) and verdict ("… is
        better", "undecided", or how many pictures are missing).
        """
        return self.by(metric).compare(pairs)

    def best(self, metric: str) -> list[str]:
        """The first method and all that are not worse than it beyond noise (Holm over all pairs, as ``compare``).

        Empty for metrics that are described and not ranked, and where nothing has a value.
        """
        return self.by(metric).best()

    def rank_stability(self, metric: str, resamples: int = 500) -> pd.DataFrame:
        """How sure the ranking is: for each method the 95 % interval of its rank over resampled pictures."""
        return self.by(metric).rank_stability(resamples)

    def rank_correlation(self, metrics: Sequence[str] | None = None) -> pd.DataFrame:
        """Kendall's τ between the rankings of the methods by each pair of ranked metrics; better is always up."""
        ranked = [m for m in (metrics or self.metrics) if get_metric(m).higher_is_better is not None]
        return rank_correlation({metric: self.oriented(metric) for metric in ranked})

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
        place = Path(folder)
        files.make_folder(place)
        tables.export(place / "leaderboard.parquet", self.to_pandas())
        tables.export(place / "per_image.parquet", self.per_image())
        parts, note = encoding.encode(self)
        return folders.save(place, encoding.KIND, parts, note)

    @classmethod
    def load(cls, folder: str | Path) -> Leaderboard:
        """Read back what :meth:`save` wrote, without pictures and maps.

        Raises StorageError when the folder holds no leaderboard, or a damaged one."""
        parts, note = folders.load(Path(folder), encoding.KIND)
        return encoding.decode(parts, note, Path(folder), cls)

    def to_html(self, path: str | Path | None = None) -> str:
        """A self-contained page: table, intervals, curves, heat maps of rank correlation, worst and best pictures."""
        text: str = drawn_by("leaderboard.page", "leaderboard_page")(self, path)
        return text

    def _repr_html_(self) -> str:
        wide = self.to_pandas().pivot(index="method", columns="metric", values="value")
        table = wide.reindex(index=self.names, columns=self.metrics)
        return str(table.to_html(na_rep="n/a", float_format="{:.3g}".format))
