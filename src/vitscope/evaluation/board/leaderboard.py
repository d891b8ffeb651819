"""The leaderboard: methods × metrics under one protocol, with intervals, paired tests and everything per picture."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, reduce
from pathlib import Path

import pandas as pd

from vitscope.errors import EvaluationError, OutputError, StorageError
from vitscope.evaluation.board import encoding, merging
from vitscope.evaluation.board.comparison import Comparison
from vitscope.evaluation.board.intervals import Intervals
from vitscope.evaluation.board.records import Board, unknown
from vitscope.evaluation.board.statistics import Difference, Interval, rank_correlation
from vitscope.evaluation.metric import get_metric
from vitscope.options.bounds import Folder, Seed
from vitscope.options.door import checked
from vitscope.shown import drawn_by
from vitscope.storage import files, folders, tables


@dataclass(repr=False)
class Leaderboard(Board):
    """Scores of methods under one protocol, with intervals, paired tests and all values per picture.

    Made by :func:`vitscope.evaluate`, or loaded from a folder; see :class:`~vitscope.evaluation.board.records.Board`.

    Example:
        >>> import vitscope as vs
        >>> methods, controls = ["dart", "rollout"], ["uniform"]
        >>> board = vs.evaluation.evaluate_world("shapes", methods, ["mass"], count=3, controls=controls)
        >>> board
        <Leaderboard: 3 methods and controls x mass, 3 pictures, protocol ...>
        >>> board.to_pandas()[["method", "metric", "n"]].values.tolist()
        [['dart', 'mass', 3], ['rollout', 'mass', 3], ['uniform', 'mass', 3]]
        >>> vs.Leaderboard.load(board.save("board")).interval("dart", "mass") == board.interval("dart", "mass")
        True
    """

    def __repr__(self) -> str:
        table = f"{len(self.methods)} methods and controls x {', '.join(self.metrics)}"
        return f"<Leaderboard: {table}, {self.protocol.pictures} pictures, protocol {self.protocol.digest}>"

    def interval(self, method: str, metric: str) -> Interval:
        """The value of a score with its 95 % bootstrap interval over pictures.

        Args:
            method: Name of a method of this board.
            metric: Name of a metric of this board.

        Returns:
            Value, low, high in the metric's own unit, and n, the number of pictures. n is 0 and the value NaN where
            the metric does not apply.

        Raises:
            EvaluationError: The board has no such method or metric.
        """
        self.state(method, metric)
        return self._intervals.of(method, metric)

    @cached_property
    def _intervals(self) -> Intervals:
        return Intervals(self.states, self.protocol.seed)

    def by(self, metric: str) -> Comparison:
        """The methods compared by one metric.

        Args:
            metric: Name of a metric of this board.

        Returns:
            The comparison: ranking, paired differences, best methods.

        Raises:
            EvaluationError: The board has no such metric.
        """
        if metric not in self.metrics:
            raise unknown("metric", metric, self.metrics)
        return Comparison(self, metric, self._intervals)

    def to_pandas(self) -> pd.DataFrame:
        """The board as a table, one row per method and metric.

        Returns:
            Columns: method, metric, value, low, high (95 % interval), n, undefined (pictures without a value), start
            (value of the metric's curve at step 0), higher_is_better, best (not worse than the first by a paired test
            with Holm's correction), family, control, class_specific, seconds (per picture), memory_mib, evaluations,
            protocol. Undefined values are NaN.
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
                        "undefined": (state.count if state else self.protocol.pictures) - interval.n,
                        "start": curve.start if curve is not None else float("nan"),
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

    def ranking(self, metric: str) -> list[str]:
        """The methods from best to worst by a metric; those without a value at the end.

        Args:
            metric: Name of a metric of this board.

        Returns:
            Names of all methods.

        Raises:
            EvaluationError: The board has no such metric.
        """
        return self.by(metric).ranking()

    def difference(self, first: str, second: str, metric: str) -> Difference:
        """The value of ``first`` minus the value of ``second``, on the pictures that both have.

        Args:
            first: Name of a method.
            second: Name of another.
            metric: Name of a metric.

        Returns:
            The difference in the metric's own unit, its 95 % interval, the two-sided p and the number of pictures.

        Raises:
            EvaluationError: The board has no such method or metric.
        """
        return self.by(metric).difference(first, second)

    def compare(self, metric: str, pairs: Iterable[tuple[str, str]] | None = None) -> pd.DataFrame:
        """Paired differences of all pairs of methods, with p values corrected by Holm's method over the pairs.

        The two-sided p comes from flipping the signs of the pictures' differences; it is NaN with fewer than 6
        pictures, which cannot reach 5 %. On sums (above 100,000 pictures, see :meth:`summed`) it is that of a normal
        distribution with the spread of the difference over 1,000 bootstrap samples.

        Args:
            metric: Name of a metric.
            pairs: Which pairs of methods; None takes all.

        Returns:
            Columns: first, second, difference (first − second), low, high, p, p_holm, n, needed (the smallest number of
            pictures at which the clearest of these comparisons could be significant), better (the better method, or
            an empty text) and verdict ("… is better", "undecided", or how many pictures are missing).

        Raises:
            EvaluationError: The board has no such method or metric.
        """
        return self.by(metric).compare(pairs)

    def best(self, metric: str) -> list[str]:
        """The first method and all that are not significantly worse, after Holm's correction over all pairs.

        Args:
            metric: Name of a metric.

        Returns:
            Names of methods; empty for a metric that does not rank, and for too few pictures (``by(metric).needed``).

        Raises:
            EvaluationError: The board has no such metric.
        """
        return self.by(metric).best()

    def rank_stability(self, metric: str, resamples: int = 500) -> pd.DataFrame:
        """How certain the ranking is: for each method the 95 % interval of its rank over resampled pictures.

        Args:
            metric: Name of a metric.
            resamples: How many bootstrap samples; on sums at most 1,000.

        Returns:
            Columns: method, rank (from 1), low, high; on the pictures that all methods have, on sums that each has.

        Raises:
            EvaluationError: The board has no such metric.
        """
        return self.by(metric).rank_stability(resamples)

    def rank_correlation(self, metrics: Sequence[str] | None = None) -> pd.DataFrame:
        """Kendall's τ-b between the rankings of the methods by each pair of metrics, oriented so that better is higher.

        Args:
            metrics: Which metrics; None takes all that rank.

        Returns:
            A square table with names of metrics on both sides.
        """
        ranked = [m for m in (metrics or self.metrics) if get_metric(m).higher_is_better is not None]
        return rank_correlation({metric: self.by(metric).oriented() for metric in ranked})

    @checked(EvaluationError)
    def join(self, *others: Leaderboard) -> Leaderboard:
        """Other methods or metrics of the same pictures under the same protocol, in one table.

        Args:
            others: The boards to add.

        Returns:
            The joined board.

        Raises:
            EvaluationError: The protocols differ, or a score is in two of them.
        """
        return reduce(merging.join, others, self)

    @checked(EvaluationError)
    def merge(self, *others: Leaderboard) -> Leaderboard:
        """The leaderboard of several shards of one data set: equal to that of the whole. Merge many at once.

        Above 100,000 pictures the board is on sums, see :meth:`summed`, and the shards follow in the order given.

        Args:
            others: Boards of other pictures.

        Returns:
            The board of all pictures.

        Raises:
            EvaluationError: Protocols differ in more than the pictures, methods or metrics differ, or a picture or a
                position is in two shards.
        """
        return merging.merge((self, *others))

    @checked(EvaluationError)
    def summed(self, start: Seed = 0) -> Leaderboard:
        """The board on sums: of each score and curve the sum and 1,000 bootstrap sums, no values of pictures.

        Args:
            start: The position of the first picture in the whole that the board will be merged into.

        Returns:
            The board on sums; this one, where it is on sums already.
        """
        return self if self.ranges else merging.merge([self], [start], rows=0)

    @checked(OutputError)
    def save(self, folder: Folder) -> Path:
        """Write the board into a folder, with leaderboard.parquet and per_image.parquet for other programs.

        A board that is there is replaced. On sums, there is no per_image.parquet.

        Args:
            folder: Where to write.

        Returns:
            The folder.

        Raises:
            OutputError: It cannot be written.
        """
        place = Path(folder)
        files.make_folder(place)
        tables.export(place / "leaderboard.parquet", self.to_pandas())
        if self.ranges:
            files.remove(place / "per_image.parquet")
        else:
            tables.export(place / "per_image.parquet", self.per_image())
        parts, note = encoding.encode(self)
        return folders.save(place, encoding.KIND, parts, note)

    @classmethod
    @checked(StorageError)
    def load(cls, folder: Folder) -> Leaderboard:
        """Read a board that :meth:`save` wrote, without pictures and maps.

        Args:
            folder: Where it was written.

        Returns:
            The board, with the same values and intervals.

        Raises:
            StorageError: The folder holds no leaderboard, or a damaged one.
        """
        parts, note = folders.load(Path(folder), encoding.KIND)
        return encoding.decode(parts, note, Path(folder), cls)

    def to_html(self, path: str | Path | None = None, command: str = "") -> str:
        """A self-contained page: table, intervals, curves, heat maps of rank correlation, worst and best pictures.

        Args:
            path: Where to write it; None writes nothing.
            command: What made the board, printed on the page.

        Returns:
            The HTML text.
        """
        return str(drawn_by("leaderboard.page", "leaderboard_page")(self, path, command))

    def _repr_html_(self) -> str:
        return str(drawn_by("leaderboard.notebook", "leaderboard_html")(self))
