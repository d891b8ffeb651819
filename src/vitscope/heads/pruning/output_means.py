"""The mean output of every head over pictures: what can stand in for a head that is taken away."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from torch import Tensor

from vitscope.errors import OutputError, StorageError
from vitscope.heads.errors import HeadsError
from vitscope.heads.frames import write_frame
from vitscope.heads.origin import HasOrigin, Origin, check_disjoint
from vitscope.options.bounds import FilePath
from vitscope.options.door import checked
from vitscope.storage import tables, tensors
from vitscope.storage.notes import decoding
from vitscope.sums.moments import ExactSum

KIND = "mean head outputs"


@dataclass(frozen=True, repr=False)
class MeanOutputs(HasOrigin):
    """The mean output of every head over pictures: what can stand in for a head that is removed.

    Made by :func:`mean_outputs`.

    Args:
        sums: Sums over pictures, (L, H, d), or (L, H, N, d) with one mean per query.
        pictures: The key of each picture.
        origin: The recipe, content ids and skipped pictures.

    Example:
        >>> import vitscope as vs
        >>> vit = vs.open_model("bundled/shapes")
        >>> outputs = vs.heads.mean_outputs(vit, vs.worlds.world("shapes").sample(2, seed=1).images())
        >>> outputs
        <MeanOutputs: 6x4x32 over 2 pictures>
        >>> vs.heads.MeanOutputs.load(outputs.save("means")).means.equal(outputs.means)
        True
    """

    sums: ExactSum
    pictures: tuple[str, ...]
    origin: Origin = field(default_factory=Origin)

    def __repr__(self) -> str:
        size = "x".join(map(str, self.sums.high.shape))
        return f"<MeanOutputs: {size} over {len(self.pictures)} pictures>"

    @cached_property
    def means(self) -> Tensor:
        """(L, H, d) or (L, H, N, d), float32 on the CPU; bit-identical in any order of the pictures."""
        return (self.sums.value() / max(1, len(self.pictures))).float()

    @checked(HeadsError)
    def merge(self, *others: MeanOutputs) -> MeanOutputs:
        """Join the means of shards of a data set, bit-identical to those of the whole.

        Args:
            others: Mean outputs over other pictures.

        Returns:
            The means over all pictures.

        Raises:
            RecipeError: They were made in different ways; the message says what differs.
            HeadsError: A picture is in two of them, or their shapes differ.
        """
        parts = (self, *others)
        origin = self.origin.merge(*(other.origin for other in others), what=KIND)
        check_disjoint((part.pictures for part in parts), KIND)
        if any(part.sums.high.shape != self.sums.high.shape for part in others):
            raise HeadsError(
                "expected mean outputs of one shape, got others; make both with one size of picture"
            )
        sums = ExactSum()
        for part in parts:
            sums.merge(part.sums)
        return MeanOutputs(sums, tuple(key for part in parts for key in part.pictures), origin)

    def to_pandas(self) -> pd.DataFrame:
        """The length of each mean output, one row per head (and query): block, head, (query,) norm."""
        norms = self.means.double().norm(dim=-1)
        names = ("block", "head", "query")[: norms.dim()]
        places = np.indices(tuple(norms.shape)).reshape(norms.dim(), -1)
        columns: dict[str, Any] = dict(zip(names, places, strict=True))
        return pd.DataFrame({**columns, "norm": norms.flatten().numpy()})

    @checked(OutputError)
    def save(self, path: FilePath) -> Path:
        """Write everything to one safetensors file, or the table alone as .csv or .parquet.

        Args:
            path: The file; ``.safetensors`` is added when there is no ending.

        Returns:
            The path of the file.

        Raises:
            OutputError: It cannot be written.
        """
        if Path(path).suffix in (".csv", tables.ENDING):
            return write_frame(self.to_pandas(), Path(path))
        arrays = {"high": self.sums.high, "low": self.sums.low}
        return tensors.save(path, KIND, arrays, {"pictures": self.pictures, **self.origin.note()})

    @classmethod
    @checked(StorageError)
    def load(cls, path: FilePath) -> MeanOutputs:
        """Read what :meth:`save` wrote as .safetensors.

        Args:
            path: The file.

        Returns:
            The means.

        Raises:
            StorageError: The file is damaged, or of another kind.
        """
        arrays, note = tensors.load(path, KIND)
        with decoding(path, KIND):
            sums = ExactSum(arrays["high"], arrays["low"])
            if sums.high.dim() not in (3, 4) or sums.high.shape != sums.low.shape:
                raise ValueError("its sums are not (blocks, heads, width)")
            return cls(sums, tuple(str(key) for key in note["pictures"]), Origin.from_note(note))
