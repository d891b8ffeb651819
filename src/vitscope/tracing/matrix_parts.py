"""The parts in which attention matrices are rebuilt: few enough entries to be held, or to stay in the cache."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

CHUNK_ELEMENTS = 2**24
"""Rebuilt attention is made in query chunks of at most this many elements where only a reduction is needed."""
CACHED_ELEMENTS = 2**19
"""On a CPU one step of such a reduction is of at most this many (2 MB of float32), which then stay in the cache."""


class MatrixParts:
    """How the matrix (B, H, Nq, Nk) of one attention call is cut, and memory for one part after the other.

    Fresh memory for each part would cost more than much of what is done with it."""

    def __init__(self, shape: tuple[int, int, int, int], device: torch.device) -> None:
        self._shape = shape
        self._at_once = CHUNK_ELEMENTS
        if device.type == "cpu":
            self._at_once = min(CACHED_ELEMENTS, CHUNK_ELEMENTS)
        self._memory = torch.empty(0, dtype=torch.float32, device=device)

    @property
    def of_one_head(self) -> bool:
        """True when one head's matrices can be worked on at once; what is made of them can be kept (2 MB on a CPU)."""
        B, _, Nq, Nk = self._shape
        return B * Nq * Nk <= min(CACHED_ELEMENTS, CHUNK_ELEMENTS)

    def chunks(self) -> Iterator[slice]:
        """Queries of which all heads' rows stay below CHUNK_ELEMENTS."""
        B, H, Nq, Nk = self._shape
        step = max(1, CHUNK_ELEMENTS // max(1, B * H * Nk))
        for start in range(0, Nq, step):
            yield slice(start, min(Nq, start + step))

    def strips(self, queries: slice) -> Iterator[slice]:
        """Slices of these queries (without a stride), of which one head's rows are few enough for one step."""
        B, _, Nq, Nk = self._shape
        start, stop, _ = queries.indices(Nq)
        step = max(1, self._at_once // max(1, B * Nk))
        for first in range(start, stop, step):
            yield slice(first, min(stop, first + step))

    def tiles(self, queries: slice) -> Iterator[tuple[slice, slice]]:
        """(queries, heads) of parts that are small enough to be worked on at once."""
        B, H, _, Nk = self._shape
        for rows in self.strips(queries):
            step = max(1, self._at_once // max(1, B * Nk * (rows.stop - rows.start)))
            for first in range(0, H, step):
                yield rows, slice(first, min(H, first + step))

    def memory(self, queries: slice, heads: slice) -> Tensor:
        """A float32 tensor (B, h, q, Nk) for a part, with whatever is there: the part before it lay there too."""
        shape = (self._shape[0], heads.stop - heads.start, queries.stop - queries.start, self._shape[3])
        size = math.prod(shape)
        if self._memory.numel() < size:
            self._memory = self._memory.new_empty(size)
        return self._memory[:size].view(shape)
