"""HeadTable on sums: of so many pictures that their numbers cannot be kept one by one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vitscope.errors import StorageError, nearest
from vitscope.heads.errors import HeadsError
from vitscope.heads.frames import merged_metadata, write_frame
from vitscope.heads.numbers import HeadNumbers
from vitscope.heads.origin import HasOrigin, Origin
from vitscope.heads.table import HeadTable
from vitscope.options.bounds import FilePath, Seed
from vitscope.options.door import checked
from vitscope.shown import drawn_by
from vitscope.storage import tensors
from vitscope.storage.notes import decoding
from vitscope.sums.moments import ExactSum
from vitscope.sums.poisson_bootstrap import PoissonSums, poisson_parts
from vitscope.sums.positions import Overlap, Range, with_range

KIND = "head table on sums"
PARTS = ("total.high", "total.low", "samples.high", "samples.low", "squares.high", "squares.low")


@dataclass
class MetricSums:
    """Of one metric: sums of the numbers and of how many are known, (2 L H) and (R, 2 L H); squares, (L H)."""

    sums: PoissonSums = field(default_factory=PoissonSums)
    squares: ExactSum = field(default_factory=ExactSum)

    def merge(self, other: MetricSums) -> None:
        """Take in other pictures."""
        self.sums.merge(other.sums)
        self.squares.merge(other.squares)


@dataclass(frozen=True, repr=False)
class SummedHeadTable(HeadNumbers, HasOrigin):
    """Numbers for every (block, head), added up over pictures: means, spreads, 1,000 bootstrap sums.

    What :class:`HeadTable` becomes above 100,000 pictures: its size does not depend on their number. It ranks, tells
    intervals and agreement; what needs the numbers of each picture it does not have.

    Args:
        sums: By the name of each metric.
        shape: The number of blocks L and of heads H.
        ranges: From where to where the positions of its pictures go.
        seed: Of the bootstrap.
        metadata: Model, options and cost, as plain JSON values.
        origin: The recipe and skipped pictures; the content ids are not kept.

    Example:
        >>> import numpy as np
        >>> import vitscope as vs
        >>> values = np.float32([[[1, 2], [4, 3]], [[3, 2], [4, 5]]])
        >>> summed = vs.heads.SummedHeadTable.of(vs.heads.HeadTable({"importance": values}, ("a.png", "b.png")))
        >>> summed
        <SummedHeadTable: 2 blocks x 2 heads, 1 metric, 2 pictures>
        >>> summed.mean("importance").tolist(), summed.order("importance")[0]
        ([[2.0, 2.0], [4.0, 4.0]], (1, 0))
    """

    sums: Mapping[str, MetricSums]
    shape: tuple[int, int] = (0, 0)
    ranges: tuple[Range, ...] = ()
    seed: int = 0
    metadata: Mapping[str, Any] = field(default_factory=dict)
    origin: Origin = field(default_factory=Origin)

    @classmethod
    @checked(HeadsError)
    def of(cls, table: HeadTable, start: Seed = 0, seed: Seed = 0) -> SummedHeadTable:
        """The sums of a table.

        Args:
            table: Numbers of every picture.
            start: The position of its first picture in the whole that it will be merged into.
            seed: Of the bootstrap.

        Returns:
            The table on sums.
        """
        flat = {name: torch.from_numpy(array).double().flatten(1) for name, array in table.values.items()}
        known = {name: torch.isfinite(values) for name, values in flat.items()}
        zeroed = {name: torch.where(known[name], values, 0.0) for name, values in flat.items()}
        rows = [torch.cat([zeroed[name], known[name].double()], 1) for name in flat]
        made = {}
        for name, sums in zip(flat, poisson_parts(rows, seed, start), strict=True):
            made[name] = MetricSums(sums)
            made[name].squares.add(
                zeroed[name].square() if table.count else torch.zeros(1, zeroed[name].shape[1])
            )
        origin = replace(table.origin, ids=())
        ranges = ((start, start + table.count),) if table.count else ()
        return cls(made, table.shape, ranges, seed, dict(table.metadata), origin)

    def __repr__(self) -> str:
        L, H = self.shape
        metrics = f"{len(self.sums)} metric{'s' * (len(self.sums) != 1)}"
        return f"<SummedHeadTable: {L} blocks x {H} heads, {metrics}, {self.count} pictures>"

    def _repr_html_(self) -> str:
        return str(drawn_by("heads.notebook", "table_html")(self))

    @property
    def metrics(self) -> list[str]:
        """The names of the metrics."""
        return list(self.sums)

    @property
    def count(self) -> int:
        """The number of pictures."""
        return sum(stop - start for start, stop in self.ranges)

    def mean(self, metric: str) -> NDArray[np.float64]:
        """Mean over pictures, (L, H) in the metric's own unit, NaN where nothing was measured."""
        (mean,) = self._means(self._of(metric).sums.total.value()[None])
        return np.asarray(mean, dtype=np.float64)

    def counted(self, metric: str) -> NDArray[np.int64]:
        """How many pictures were measured, (L, H)."""
        known = self._of(metric).sums.total.value().chunk(2)[1]
        counted: NDArray[np.int64] = known.round().long().numpy().reshape(self.shape)
        return counted

    def spread(self, metric: str) -> NDArray[np.float64]:
        """Standard deviation over pictures (with n − 1), (L, H); NaN for fewer than two pictures."""
        found = self._of(metric)
        heads = self.shape[0] * self.shape[1]
        total = _long(found.sums.total.high[:heads], found.sums.total.low[:heads])
        count = self.counted(metric).ravel().astype(np.longdouble)
        with np.errstate(invalid="ignore", divide="ignore"):
            squares = _long(found.squares.high, found.squares.low) - total * total / count
            spread = np.where(count > 1, np.sqrt(np.maximum(squares, 0) / (count - 1)), np.nan)
        result: NDArray[np.float64] = spread.astype(np.float64).reshape(self.shape)
        return result

    @checked(HeadsError)
    def resampled(self, metric: str) -> NDArray[np.float64]:
        """The means over bootstrap samples of the pictures, (R, L, H).

        Args:
            metric: A metric of this table.

        Raises:
            HeadsError: There is no such metric.
        """
        return self._means(self._of(metric).sums.samples.value())

    @checked(HeadsError)
    def merge(self, *others: SummedHeadTable) -> SummedHeadTable:
        """Join tables on sums of other pictures: in any order those of the whole.

        Args:
            others: The sums of pictures at other positions.

        Returns:
            The sums of all pictures.

        Raises:
            RecipeError: The tables were made in different ways; the message says what differs.
            HeadsError: A position is in two of them, or their metrics, heads or seeds differ.
        """
        origin = self.origin.merge(*(other.origin for other in others), what="head tables")
        made = {name: MetricSums() for name in self.sums}
        ranges: list[Range] = []
        for part in (self, *others):
            if (set(part.sums), part.shape, part.seed) != (set(self.sums), self.shape, self.seed):
                raise HeadsError(
                    "expected sums of the same metrics, heads and seed, got others; make both alike"
                )
            try:
                for each in part.ranges:
                    ranges = with_range(ranges, *each)
            except Overlap as error:
                raise HeadsError(f"two shards hold {error}") from error
            for name, sums in made.items():
                sums.merge(part.sums[name])
        metadata = merged_metadata(self.metadata, *(other.metadata for other in others))
        return SummedHeadTable(made, self.shape, tuple(ranges), self.seed, metadata, origin)

    @checked(HeadsError)
    def select(self, metrics: Sequence[str]) -> SummedHeadTable:
        """The sums of some metrics.

        Args:
            metrics: Their names.

        Returns:
            The smaller table.

        Raises:
            HeadsError: There is no such metric.
        """
        return replace(self, sums={name: self._of(name) for name in metrics})

    def arrays(self) -> dict[str, Tensor]:
        """Every sum by name."""
        found: dict[str, Tensor] = {}
        for name, each in self.sums.items():
            sums = (each.sums.total, each.sums.samples, each.squares)
            values = [half for one in sums for half in (one.high, one.low)]
            found |= {f"{name}.{part}": value for part, value in zip(PARTS, values, strict=True)}
        return found

    def note(self) -> dict[str, Any]:
        """All that is no array, as plain values."""
        return {
            "metrics": self.metrics,
            "shape": self.shape,
            "ranges": self.ranges,
            "seed": self.seed,
            "metadata": self.metadata,
            **self.origin.note(),
        }

    @classmethod
    def from_note(cls, note: Mapping[str, Any], arrays: Mapping[str, Tensor]) -> SummedHeadTable:
        """What ``note`` and ``arrays`` gave, back. Raises KeyError or ValueError for others."""
        shape = int(note["shape"][0]), int(note["shape"][1])
        sums = {}
        for name in note["metrics"]:
            a, b, c, d, e, f = (arrays[f"{name}.{part}"] for part in PARTS)
            if any(each.shape[-1] != size * shape[0] * shape[1] for each, size in ((a, 2), (c, 2), (e, 1))):
                raise ValueError("it has not the sums of every head")
            sums[str(name)] = MetricSums(PoissonSums(ExactSum(a, b), ExactSum(c, d)), ExactSum(e, f))
        ranges = tuple((int(start), int(stop)) for start, stop in note["ranges"])
        return cls(sums, shape, ranges, int(note["seed"]), dict(note["metadata"]), Origin.from_note(note))

    @checked(HeadsError)
    def save(self, path: FilePath) -> Path:
        """Write the sums to one safetensors file, or the aggregated table as .csv or .parquet for other programs.

        Args:
            path: The file; ``.safetensors`` is added when it ends otherwise.

        Returns:
            The path of the file.

        Raises:
            OutputError: It cannot be written.
        """
        if Path(path).suffix in (".csv", ".parquet"):
            return write_frame(self.to_pandas(), path, self.metadata)
        return tensors.save(path, KIND, self.arrays(), self.note())

    @classmethod
    @checked(StorageError)
    def load(cls, path: FilePath) -> SummedHeadTable:
        """Read what :meth:`save` wrote as .safetensors.

        Args:
            path: The file.

        Returns:
            The table on sums.

        Raises:
            StorageError: The file is damaged, or of another kind or version.
        """
        arrays, note = tensors.load(path, KIND)
        with decoding(path, KIND):
            return cls.from_note(note, arrays)

    def _of(self, metric: str) -> MetricSums:
        if metric not in self.sums:
            near = ", ".join(nearest(metric, self.sums))
            raise HeadsError(f"expected a metric of this table, got {metric!r}; the nearest names are {near}")
        return self.sums[metric]

    def _means(self, sums: Tensor) -> NDArray[np.float64]:
        """Sums (R, 2 L H) as means (R, L, H)."""
        total, known = sums.chunk(2, dim=1)
        means: NDArray[np.float64] = torch.where(known > 0, total / known, torch.nan).numpy()
        return means.reshape(-1, *self.shape)


def _long(high: Tensor, low: Tensor) -> NDArray[np.longdouble]:
    return high.numpy().astype(np.longdouble) + low.numpy().astype(np.longdouble)
