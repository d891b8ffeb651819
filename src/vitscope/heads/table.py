"""HeadTable: (block, head) x metrics, per picture and aggregated, knowing how it was made."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from vitscope.errors import OutputError, StorageError
from vitscope.heads.errors import HeadsError
from vitscope.heads.frames import check_once, merged_metadata, picture_rows, write_frame
from vitscope.heads.origin import HasOrigin, Origin, check_disjoint
from vitscope.heads.values import HeadValues, Values
from vitscope.options.bounds import FilePath
from vitscope.options.door import checked
from vitscope.shown import drawn_by
from vitscope.storage import tables
from vitscope.storage.notes import decoding

KIND = "head table"
PLACE = ("picture", "block", "head")
"""Columns that say whose numbers a row holds."""


@dataclass(frozen=True, repr=False)
class HeadTable(HeadValues, HasOrigin):
    """Numbers for every (block, head), per picture and aggregated, with how they were made.

    Args:
        values: By the name of each metric, (n, L, H) float32 for n pictures, L blocks and H heads; NaN where a head
            was not measured.
        pictures: The key of each picture.
        metadata: Model, options and cost, as plain JSON values.
        origin: The recipe, content ids and skipped pictures; also as ``recipe``, ``ids`` and ``skipped``.

    Raises:
        HeadsError: Arrays of different shapes, or for another number of pictures.

    Example:
        >>> import numpy as np
        >>> import vitscope as vs
        >>> table = vs.heads.HeadTable({"importance": np.float32([[[1, 2], [4, 3]]])}, ("cat.png",))
        >>> table
        <HeadTable: 2 blocks x 2 heads, 1 metric, 1 pictures>
        >>> table.order("importance")
        [(1, 0), (1, 1), (0, 1), (0, 0)]
        >>> vs.heads.HeadTable.load(table.save("table.parquet"))["importance"].shape
        (1, 2, 2)
    """

    metadata: Mapping[str, Any] = field(default_factory=dict)
    origin: Origin = field(default_factory=Origin)

    def __repr__(self) -> str:
        L, H = self.shape
        metrics = f"{len(self.values)} metric{'s' * (len(self.values) != 1)}"
        return f"<HeadTable: {L} blocks x {H} heads, {metrics}, {len(self.pictures)} pictures>"

    def _repr_html_(self) -> str:
        return str(drawn_by("heads.notebook", "table_html")(self))

    def per_picture(self) -> pd.DataFrame:
        """All values as a table, one row per picture and head.

        Returns:
            Columns: picture, block, head, and one for each metric.
        """
        blocks, heads = self.shape
        count = len(self.pictures)
        # A table's texts are UTF-8; a byte of a file name that is none is written as \\xe9.
        names = [
            name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
            for name in self.pictures
        ]
        columns: dict[str, Any] = {
            "picture": np.repeat(np.asarray(names, dtype=object), blocks * heads),
            "block": np.tile(np.repeat(np.arange(blocks), heads), count),
            "head": np.tile(np.arange(heads), count * blocks),
        }
        for metric, array in self.values.items():
            columns[metric] = array.reshape(-1)
        return pd.DataFrame(columns)

    @checked(HeadsError)
    def with_columns(
        self, extra: Mapping[str, Values], metadata: Mapping[str, Any] | None = None
    ) -> HeadTable:
        """A table with more metrics of the same pictures.

        Args:
            extra: By name, (n, L, H) float32.
            metadata: Added to the metadata.

        Returns:
            The larger table; this one is unchanged.

        Raises:
            HeadsError: Arrays of another shape.
        """
        merged = {**self.metadata, **(metadata or {})}
        return HeadTable({**self.values, **extra}, self.pictures, merged, self.origin)

    @checked(HeadsError)
    def only(self, pictures: Collection[str]) -> HeadTable:
        """The rows of some pictures.

        Args:
            pictures: Their keys; the rows are in this order, or in that of the table for a set.

        Returns:
            The smaller table.

        Raises:
            HeadsError: A picture that the table does not have.
        """
        place = {key: index for index, key in enumerate(self.pictures)}
        wanted = (
            [key for key in self.pictures if key in pictures] if isinstance(pictures, set) else list(pictures)
        )
        if wanted == list(self.pictures):
            return self
        missing = [key for key in wanted if key not in place]
        if missing:
            raise HeadsError(
                f"expected a picture of this table, got {missing[0]!r}; its keys are in .pictures"
            )
        chosen = [place[key] for key in wanted]
        ids = tuple(self.ids[index] for index in chosen) if len(self.ids) == len(self.pictures) else ()
        values = {name: array[chosen] for name, array in self.values.items()}
        return HeadTable(values, tuple(wanted), self.metadata, replace(self.origin, ids=ids))

    @checked(HeadsError)
    def select(self, metrics: Sequence[str]) -> HeadTable:
        """Some metrics, the pictures sorted by their keys: what is drawn from it does not depend on their order.

        Args:
            metrics: Their names.

        Returns:
            The smaller table.

        Raises:
            HeadsError: There is no such metric.
        """
        values = {name: self[name] for name in metrics}
        chosen = replace(self, values=values)
        return chosen.only(sorted(self.pictures)) if len(set(self.pictures)) == len(self.pictures) else chosen

    @checked(HeadsError)
    def join(self, *others: HeadTable) -> HeadTable:
        """Join tables of other metrics of the same pictures, side by side.

        Args:
            others: The tables to add; their pictures may be in another order.

        Returns:
            A table of all metrics, the pictures in this table's order.

        Raises:
            HeadsError: A table of other pictures or heads, or a metric that is in two of them.
        """
        values = dict(self.values)
        for other in others:
            if set(other.pictures) != set(self.pictures) or other.shape != self.shape:
                raise HeadsError(
                    f"expected tables of the same {len(self.pictures)} pictures and heads, got one of "
                    f"{len(other.pictures)} pictures; join what was made of the same folder, or merge shards"
                )
            twice = sorted(set(values) & set(other.values))
            if twice:
                raise HeadsError(
                    f"expected tables of other metrics, got {twice[0]!r} in two of them; drop one"
                )
            values |= other.only(self.pictures).values
        metadata = {name: value for other in reversed(others) for name, value in other.metadata.items()}
        origin = self.origin.join(*(other.origin for other in others))
        return HeadTable(values, self.pictures, {**metadata, **self.metadata}, origin)

    @checked(HeadsError)
    def merge(self, *others: HeadTable) -> HeadTable:
        """Join the tables of shards of a data set.

        Args:
            others: The table of other pictures.

        Returns:
            The table of all pictures.

        Raises:
            RecipeError: The tables were made in different ways; the message says what differs.
            HeadsError: A picture is in two of them, or their metrics differ.
        """
        parts = (self, *others)
        origin = self.origin.merge(*(other.origin for other in others), what="head tables")
        check_disjoint((part.pictures for part in parts), "head tables")
        for other in others:
            if set(self.values) != set(other.values) or self.shape != other.shape:
                apart = ", ".join(sorted(set(self.values) ^ set(other.values))) or "other heads"
                raise HeadsError(
                    f"expected tables of the same metrics and heads, got {apart} in one only; make both alike"
                )
        return HeadTable(
            {name: np.concatenate([part.values[name] for part in parts]) for name in self.values},
            tuple(key for part in parts for key in part.pictures),
            merged_metadata(*(part.metadata for part in parts)),
            origin,
        )

    @checked(OutputError)
    def save(self, path: FilePath, *, per_picture: bool | None = None) -> Path:
        """Write the table atomically, as .parquet (can be loaded) or as .csv.

        Args:
            path: A file that ends in .parquet or .csv.
            per_picture: True writes one row per picture and head, False one per head. None: True for .parquet,
                False for .csv.

        Returns:
            The path of the file.

        Raises:
            OutputError: Another ending, or a file that cannot be written.
        """
        path = Path(path)
        if path.suffix not in (".parquet", ".csv"):
            raise OutputError(
                f"expected a file ending in .parquet or .csv, got {path.name!r}; choose one of them"
            )
        long = path.suffix == ".parquet" if per_picture is None else per_picture
        if long and path.suffix == ".parquet":
            return tables.save(
                path, self.per_picture(), KIND, {"metadata": self.metadata, **self.origin.note()}
            )
        return write_frame(self.per_picture() if long else self.to_pandas(), path, self.metadata)

    @classmethod
    @checked(StorageError)
    def load(cls, path: FilePath) -> HeadTable:
        """Read a per-picture Parquet file that :meth:`save` wrote; its rows may be in any order.

        Args:
            path: The file.

        Returns:
            The table.

        Raises:
            StorageError: The file is damaged, of another kind or version, or lacks a head.
        """
        frame, note = tables.load(path, KIND, PLACE)
        with decoding(path, KIND):
            pictures, picture = picture_rows(frame, ("block", "head"))
            index = (picture, frame["block"].to_numpy(np.int64), frame["head"].to_numpy(np.int64))
            shape = (len(pictures), int(index[1].max()) + 1, int(index[2].max()) + 1)
            check_once(index, shape)
            values = {}
            for name in frame.columns:
                if name not in PLACE:
                    array = np.full(shape, np.nan, np.float32)
                    array[index] = frame[name].to_numpy(np.float32)
                    values[str(name)] = array
            return cls(values, pictures, dict(note["metadata"]), Origin.from_note(note))
