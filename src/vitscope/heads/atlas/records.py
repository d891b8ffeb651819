"""What is kept of a model whose maps were collected: what it is, and the mean map of each of its heads."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from vitscope.heads.errors import HeadsError
from vitscope.heads.moments import ExactSum
from vitscope.options.door import checked


@dataclass(frozen=True)
class ModelRecord:
    """What is kept of the model that maps came from."""

    name: str
    fingerprint: str
    grid: tuple[int, int]
    blocks: tuple[int, ...]
    heads: int
    pictures: int


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
