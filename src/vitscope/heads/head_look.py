"""The result of `look`: what every head of a model looks at on one picture, asked by one query."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from vitscope.errors import OutputError, StorageError
from vitscope.heads.origin import HasOrigin, Origin
from vitscope.options.bounds import FilePath
from vitscope.options.door import checked
from vitscope.shown import drawn_by
from vitscope.storage import tensors
from vitscope.storage.notes import decoding

KIND = "head look"


@dataclass(frozen=True, repr=False)
class HeadLook(HasOrigin):
    """What every head looks at on one picture: the attention of one query, head by head.

    Args:
        maps: (L, H, h, w) float32, the share of the query's attention on each patch; NaN for heads that a block lacks.
        to_prefix: (L, H, P) float32, its share on each prefix token; with the patches they add up to 1.
        blocks: The block of each row, from 0.
        prefix: Names of the prefix tokens.
        query: What asks: a prefix token's name, ``"patch 3,5"`` (row and column from 0) or ``"mean"``.
        picture: (H, W, 3) uint8, the picture as the model saw it.
        extent: The part of the picture that the maps cover: top, left, bottom, right as shares of its side.
        pictures: The key of the picture.
        metadata: The model and its weights, as plain values.
        origin: The recipe, content id and skipped pictures.

    Example:
        >>> import vitscope as vs
        >>> vit = vs.open_model("bundled/shapes")
        >>> seen = vs.heads.look(vit, vs.worlds.world("shapes").sample(1, seed=1).images())
        >>> seen
        <HeadLook: 6 blocks x 4 heads on 12x12 patches, asked by class>
        >>> seen.draw().mode
        'RGB'
        >>> vs.heads.HeadLook.load(seen.save("look")).query
        'class'
    """

    maps: NDArray[np.float32]
    to_prefix: NDArray[np.float32]
    blocks: tuple[int, ...]
    prefix: tuple[str, ...]
    query: str
    picture: NDArray[np.uint8]
    extent: tuple[float, float, float, float] = (0.0, 0.0, 1.0, 1.0)
    pictures: tuple[str, ...] = ("",)
    metadata: Mapping[str, Any] = field(default_factory=dict)
    origin: Origin = field(default_factory=Origin)

    def __repr__(self) -> str:
        L, H, h, w = self.maps.shape
        return f"<HeadLook: {L} blocks x {H} heads on {h}x{w} patches, asked by {self.query}>"

    @property
    def place(self) -> tuple[int, int] | None:
        """Row and column of the patch that asks, from 0; None when no patch does."""
        if not self.query.startswith("patch "):
            return None
        row, _, column = self.query.removeprefix("patch ").partition(",")
        return int(row), int(column)

    def draw(self, **options: Any) -> Image.Image:
        """Draw every head's attention over the picture: a row per block, a column per head, both from 0.

        Args:
            options: Those of :func:`vitscope.reports.heads_sheet`.

        Returns:
            An RGB image.
        """
        drawn: Image.Image = drawn_by("heads.look", "heads_sheet")(self, **options)
        return drawn

    def to_pandas(self) -> pd.DataFrame:
        """Tabulate the heads, one row each.

        Returns:
            Columns: block, head, query; ``on_patches``, the share of attention on patches; ``row`` and ``column`` of
            the patch that gets most, and its share ``most``; ``entropy`` over the patches (bits; the most there can be
            is log2 of their number); and ``to_NAME``, the share on each prefix token.
        """
        L, H, h, w = self.maps.shape
        flat = self.maps.reshape(L * H, h * w).astype(np.float64)
        known = np.isfinite(flat).all(1)
        total = flat.sum(1)
        with np.errstate(divide="ignore", invalid="ignore"):
            share = flat / total[:, None]
            entropy = -np.where(share > 0, share * np.log2(share), 0.0).sum(1)
        peak = np.where(known, np.nan_to_num(flat).argmax(1), -1)
        columns: dict[str, Any] = {
            "block": np.repeat(np.asarray(self.blocks), H),
            "head": np.tile(np.arange(H), L),
            "query": self.query,
            "on_patches": total,
            "row": pd.array(np.where(known, peak // w, -1), dtype="Int64"),
            "column": pd.array(np.where(known, peak % w, -1), dtype="Int64"),
            "most": np.where(known, flat.max(1), np.nan),
            "entropy": np.where(known, entropy, np.nan),
        }
        for position, name in enumerate(self.prefix):
            columns[f"to_{name}"] = self.to_prefix[..., position].reshape(-1)
        return pd.DataFrame(columns)[np.asarray(known)].reset_index(drop=True)

    def _repr_html_(self) -> str:
        return str(drawn_by("heads.look", "look_html")(self))

    @checked(OutputError)
    def save(self, path: FilePath) -> Path:
        """Write everything to one safetensors file.

        Args:
            path: The file; ``.safetensors`` is added when missing.

        Returns:
            The path of the file.

        Raises:
            OutputError: It cannot be written.
        """
        note = {
            "blocks": self.blocks,
            "prefix": self.prefix,
            "query": self.query,
            "extent": self.extent,
            "pictures": self.pictures,
            "metadata": self.metadata,
            **self.origin.note(),
        }
        arrays: dict[str, Any] = {"maps": self.maps, "to_prefix": self.to_prefix, "picture": self.picture}
        return tensors.save(path, KIND, arrays, note)

    @classmethod
    @checked(StorageError)
    def load(cls, path: FilePath) -> HeadLook:
        """Read what :meth:`save` wrote.

        Args:
            path: The file.

        Returns:
            The same record.

        Raises:
            StorageError: The file is damaged, or of another kind or version.
        """
        arrays, note = tensors.load(path, KIND)
        with decoding(path, KIND):
            top, left, bottom, right = (float(edge) for edge in note["extent"])
            found = cls(
                arrays["maps"].numpy(), arrays["to_prefix"].numpy(), tuple(int(block) for block in note["blocks"]),
                tuple(str(name) for name in note["prefix"]), str(note["query"]), arrays["picture"].numpy(),
                (top, left, bottom, right), tuple(str(key) for key in note["pictures"]), dict(note["metadata"]),
                Origin.from_note(note),
            )  # fmt: skip
            shapes = (found.maps.ndim, found.to_prefix.ndim, found.picture.ndim)
            if shapes != (4, 3, 3) or found.maps.shape[:2] != (len(found.blocks), found.to_prefix.shape[1]):
                raise ValueError("its arrays are not of the same heads")
            found.to_pandas()
            return found
