"""Hop distances on a patch grid and the geometry that follows from them.

Source: Li et al., "How Does Attention Work in Vision Transformers?" (TVCG 2023, arXiv 2303.13731), section on
attention strength. The paper's k-hop ring is the Chebyshev ring; Manhattan and Euclidean rings are offered too.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import torch
from torch import Tensor

from vitscope.heads.errors import HeadsError

Distance = Literal["chebyshev", "manhattan", "euclidean"]
"""How hops between two patches are counted."""


def hop_of_offset(delta_y: Tensor, delta_x: Tensor, distance: str = "chebyshev") -> Tensor:
    """Hop count (long) of grid offsets; Euclidean lengths are rounded to the nearest ring."""
    if distance == "chebyshev":
        return torch.maximum(delta_y.abs(), delta_x.abs())
    if distance == "manhattan":
        return delta_y.abs() + delta_x.abs()
    return (delta_y.double().square() + delta_x.double().square()).sqrt().round().long()


@dataclass(frozen=True)
class GridGeometry:
    """What is needed to turn a (P, P) patch attention into ring and offset profiles.

    hops (P, P) long: hop distance between query and key.
    offsets (P, P) long: flat index of (key - query) in the (2h-1) x (2w-1) offset map.
    ring_counts (P, K) long: number of keys of ring k that exist for each query.
    offset_hops ((2h-1)(2w-1),) long: hop distance of every offset.
    """

    grid: tuple[int, int]
    distance: str
    hops: Tensor
    offsets: Tensor
    ring_counts: Tensor
    offset_hops: Tensor

    @property
    def rings(self) -> int:
        return int(self.ring_counts.shape[1])

    @property
    def patches(self) -> int:
        return self.grid[0] * self.grid[1]

    @property
    def offset_shape(self) -> tuple[int, int]:
        return 2 * self.grid[0] - 1, 2 * self.grid[1] - 1


@lru_cache(maxsize=32)
def grid_geometry(grid: tuple[int, int], distance: str = "chebyshev") -> GridGeometry:
    """Geometry of an h x w grid (cached; the tensors are shared, do not write to them).

    Rings run from 0 to the largest distance on the grid, also where a Euclidean ring happens to be empty.
    """
    height, width = grid
    if height < 1 or width < 1:
        raise HeadsError(
            f"expected a patch grid of at least 1 x 1, got {height} x {width}; check the token layout."
        )
    rows = torch.arange(height).repeat_interleave(width)
    columns = torch.arange(width).repeat(height)
    delta_y = rows[None, :] - rows[:, None]
    delta_x = columns[None, :] - columns[:, None]
    hops = hop_of_offset(delta_y, delta_x, distance)
    offset_width = 2 * width - 1
    offsets = (delta_y + height - 1) * offset_width + (delta_x + width - 1)
    rings = int(hops.max()) + 1
    ring_counts = torch.zeros(height * width, rings, dtype=torch.long)
    ring_counts.scatter_add_(1, hops, torch.ones_like(hops))
    all_y = torch.arange(1 - height, height).repeat_interleave(offset_width)
    all_x = torch.arange(1 - width, width).repeat(2 * height - 1)
    return GridGeometry(
        (height, width), distance, hops, offsets, ring_counts, hop_of_offset(all_y, all_x, distance)
    )
