"""The result of partial pruning: curves over the entries taken away from one head, saved and merged by picture."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from vitscope.errors import OutputError, StorageError
from vitscope.heads.errors import HeadsError
from vitscope.heads.frames import check_once, merged_metadata, picture_rows, write_frame
from vitscope.heads.origin import HasOrigin, Origin, check_disjoint
from vitscope.options.bounds import FilePath
from vitscope.options.door import checked
from vitscope.shown import drawn_by
from vitscope.storage import tables
from vitscope.storage.notes import decoding

KIND = "partial pruning"
PLACE = ("picture", "step", "part", "k")
"""Columns that say whose numbers a row holds."""


@dataclass(frozen=True, repr=False)
class PartialPruning(HasOrigin):
    """What changes when parts of one head's attention are removed, per picture.

    Args:
        block: Block of the head, from 0.
        head: The head in its block, from 0.
        steps: For each step the part and its k (hops) or query, −1 for parts without k.
        values: By the name of each metric, (n, steps) float32.
        pictures: The key of each picture.
        metadata: Model and options, as plain JSON values.
        origin: The recipe, content ids and skipped pictures.

    Example:
        >>> import vitscope as vs
        >>> vit = vs.open_model("bundled/shapes")
        >>> pictures = vs.worlds.world("shapes").sample(2, seed=1).images()
        >>> parts = vs.heads.partial_pruning(vit, pictures, block=3, head=1, parts=["at"], hops=[0, 1])
        >>> parts.steps
        (('at', 0), ('at', 1))
        >>> vs.heads.PartialPruning.load(parts.save("parts.parquet")).steps == parts.steps
        True
    """

    block: int
    head: int
    steps: tuple[tuple[str, int], ...]
    values: Mapping[str, NDArray[np.float32]]
    pictures: tuple[str, ...]
    metadata: Mapping[str, Any] = field(default_factory=dict)
    origin: Origin = field(default_factory=Origin)

    def _repr_html_(self) -> str:
        return str(drawn_by("heads.notebook", "partial_html")(self))

    @checked(HeadsError)
    def merge(self, *others: PartialPruning) -> PartialPruning:
        """Join the curves of shards of a data set.

        Args:
            others: Partial pruning of the same head on other pictures.

        Returns:
            The curves of all pictures.

        Raises:
            RecipeError: They were made in different ways; the message says what differs.
            HeadsError: A picture is in two of them, or they are of other heads, steps or metrics.
        """
        parts = (self, *others)
        origin = self.origin.merge(*(other.origin for other in others), what="dissections of a head")
        check_disjoint((part.pictures for part in parts), "dissections")
        mine, *theirs = ((p.block, p.head, p.steps, set(p.values)) for p in parts)
        if any(mine != other for other in theirs):
            raise HeadsError(
                "expected dissections of one head with the same steps, got others; make both alike"
            )
        return PartialPruning(
            self.block,
            self.head,
            self.steps,
            {name: np.concatenate([part.values[name] for part in parts]) for name in self.values},
            tuple(key for part in parts for key in part.pictures),
            merged_metadata(*(part.metadata for part in parts)),
            origin,
        )

    def __repr__(self) -> str:
        metrics, pictures = len(self.values), len(self.pictures)
        return (
            f"<PartialPruning of head {self.block}.{self.head}: {len(self.steps)} steps, {metrics} metrics, "
            f"{pictures} pictures>"
        )

    def curve(self, part: str, metric: str) -> pd.DataFrame:
        """The curve of one part and one metric.

        Args:
            part: One of ``vs.heads.PARTS``.
            metric: A metric of this result.

        Returns:
            Columns: k (hops, or the query), mean, std, n over pictures; one row with k = −1 for parts without k.

        Raises:
            HeadsError: There is no such metric.
        """
        if metric not in self.values:
            raise HeadsError(
                f"expected a metric among {', '.join(self.values)}, got {metric!r}; choose one of them"
            )
        frame = self.to_pandas()
        return frame.loc[
            (frame["part"] == part) & (frame["metric"] == metric), ["k", "mean", "std", "n"]
        ].reset_index(drop=True)

    def to_pandas(self) -> pd.DataFrame:
        """All curves as a table, one row per part, k and metric.

        Returns:
            Columns: block, head, part, k, metric, mean, std, n (over pictures).
        """
        rows = []
        for metric, array in self.values.items():
            spread = array.std(0, ddof=1) if len(array) > 1 else np.full(array.shape[1], np.nan)
            for index, (part, k) in enumerate(self.steps):
                rows.append(
                    {
                        "block": self.block,
                        "head": self.head,
                        "part": part,
                        "k": k,
                        "metric": metric,
                        "mean": float(array[:, index].mean()),
                        "std": float(spread[index]),
                        "n": len(array),
                    }
                )
        return pd.DataFrame(rows)

    def per_picture(self) -> pd.DataFrame:
        """All values as a table, one row per picture and step.

        Returns:
            Columns: picture, step, part, k, and one for each metric.
        """
        count = len(self.pictures)
        columns: dict[str, Any] = {
            "picture": np.repeat(np.asarray(self.pictures, dtype=object), len(self.steps)),
            "step": np.tile(np.arange(len(self.steps)), count),
            "part": np.tile(np.asarray([part for part, _ in self.steps], dtype=object), count),
            "k": np.tile(np.asarray([k for _, k in self.steps], dtype=np.int64), count),
        }
        return pd.DataFrame({**columns, **{name: array.reshape(-1) for name, array in self.values.items()}})

    @checked(OutputError)
    def save(self, path: FilePath) -> Path:
        """Write .parquet (per picture; can be loaded) or .csv (the curves).

        Args:
            path: The file.

        Returns:
            The path of the file.

        Raises:
            OutputError: It cannot be written.
        """
        path = Path(path)
        if path.suffix != tables.ENDING:
            return write_frame(self.to_pandas(), path, self.metadata)
        note = {
            "block": self.block,
            "head": self.head,
            "steps": self.steps,
            "metadata": self.metadata,
            **self.origin.note(),
        }
        return tables.save(path, self.per_picture(), KIND, note)

    @classmethod
    @checked(StorageError)
    def load(cls, path: FilePath) -> PartialPruning:
        """Read a .parquet file that :meth:`save` wrote; its rows may be in any order.

        Args:
            path: The file.

        Returns:
            The curves.

        Raises:
            StorageError: The file is damaged, or of another kind.
        """
        frame, note = tables.load(path, KIND, PLACE)
        with decoding(path, KIND):
            steps = tuple((str(part), int(k)) for part, k in note["steps"])
            pictures, picture = picture_rows(frame, ("step",))
            index = (picture, frame["step"].to_numpy(np.int64))
            shape = (len(pictures), len(steps))
            check_once(index, shape)
            values = {}
            for name in frame.columns:
                if name not in PLACE:
                    values[str(name)] = np.empty(shape, np.float32)
                    values[str(name)][index] = frame[name].to_numpy(np.float32)
            origin = Origin.from_note(note)
            metadata = dict(note["metadata"])
            return cls(int(note["block"]), int(note["head"]), steps, values, pictures, metadata, origin)
