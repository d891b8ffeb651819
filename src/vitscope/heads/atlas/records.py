"""What is kept of a model whose maps were collected: what it is, and the mean map of each of its heads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from vitscope.heads.errors import HeadsError
from vitscope.options.door import checked
from vitscope.sums.moments import ExactSum


@dataclass(frozen=True)
class ModelRecord:
    """What is kept of the model that maps came from."""

    name: str
    fingerprint: str
    grid: tuple[int, int]
    blocks: tuple[int, ...]
    heads: int
    pictures: int

    @classmethod
    def from_note(cls, note: Mapping[str, Any]) -> ModelRecord:
        """The record of these plain values. Raises KeyError, TypeError or ValueError for others."""
        return cls(
            str(note["name"]),
            str(note["fingerprint"]),
            (int(note["grid"][0]), int(note["grid"][1])),
            tuple(int(block) for block in note["blocks"]),
            int(note["heads"]),
            int(note["pictures"]),
        )


def merged_models(first: tuple[ModelRecord, ...], second: tuple[ModelRecord, ...]) -> tuple[ModelRecord, ...]:
    """The records of two shards together. Raises HeadsError when they are of other models."""
    if [replace(record, pictures=0) for record in first] != [
        replace(record, pictures=0) for record in second
    ]:
        raise HeadsError("expected samples of the same models, heads and grids, got others; make both alike")
    pairs = zip(first, second, strict=True)
    return tuple(replace(record, pictures=record.pictures + more.pictures) for record, more in pairs)


@dataclass(frozen=True)
class HeadMeans:
    """Sums over pictures of one model: block (S,), head (S,), and total (S, 49, 49), of the root maps of each head."""

    block: NDArray[np.int64]
    head: NDArray[np.int64]
    total: ExactSum
    count: int

    @property
    def root(self) -> Tensor:
        """(S, 49, 49) float64: the mean root map of each head."""
        return self.total.value() / max(1, self.count)

    def content_dependence(self) -> NDArray[np.float64]:
        """(S,) in [0, 1]: variance over pictures of the root map at a fixed query, mean over queries.

        Rows sum to 1, so E|r|^2 = 1 for a root row r and its variance is 1 - |E r|^2: 0 for a head that does the same
        on every picture, towards 1 for one that follows the content.
        """
        kept = self.root.square().sum(-1).mean(-1)
        result: NDArray[np.float64] = (1 - kept).clamp(0, 1).numpy()
        return result

    @checked(HeadsError)
    def merge(self, other: HeadMeans) -> HeadMeans:
        """The sums over these pictures and others."""
        total = ExactSum()
        total.merge(self.total)
        total.merge(other.total)
        return HeadMeans(self.block, self.head, total, self.count + other.count)

    def arrays(self) -> dict[str, Tensor | NDArray[np.int64]]:
        """All that is kept but the count, by name."""
        return {"block": self.block, "head": self.head, "high": self.total.high, "low": self.total.low}

    @classmethod
    def from_arrays(cls, prefix: str, arrays: Mapping[str, Tensor], count: int) -> HeadMeans:
        """What ``arrays`` gave, back; ``prefix`` stands before its names. Raises KeyError where one is missing."""
        block, head, high, low = (arrays[f"{prefix}{name}"] for name in ("block", "head", "high", "low"))
        return cls(block.numpy(), head.numpy(), ExactSum(high, low), count)
