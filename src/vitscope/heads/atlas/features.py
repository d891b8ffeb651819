"""Numbers that describe one map at its model's own resolution: what the naming rules look at.

Each is a mean over patch queries of the row-normalised patch attention, and each has a value for uniform attention
on the same grid, so that a rule can ask "how many times more than uniform".
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from vitscope.heads.atlas.canonical import normalise_rows
from vitscope.heads.distance.hops import grid_geometry

FEATURES = (
    "self",
    "ring",
    "left",
    "right",
    "up",
    "down",
    "row",
    "column",
    "far",
    "stripe",
    "row_entropy",
    "key_entropy",
)


@lru_cache(maxsize=32)
def _masks(grid: tuple[int, int]) -> Tensor:
    """(9, P, P) float: one mask per place feature, in the order of FEATURES (self ... far).

    left: the key is on the query's row, one or two cells to the left of it, and so on; far: further than half of
    the grid's longer side.
    """
    height, width = grid
    rows = torch.arange(height).repeat_interleave(width)
    columns = torch.arange(width).repeat(height)
    delta_y, delta_x = rows[None] - rows[:, None], columns[None] - columns[:, None]
    hops = grid_geometry(grid).hops
    same_row, same_column = delta_y == 0, delta_x == 0
    masks = [
        hops == 0,
        hops == 1,
        same_row & (delta_x < 0) & (delta_x >= -2),
        same_row & (delta_x > 0) & (delta_x <= 2),
        same_column & (delta_y < 0) & (delta_y >= -2),
        same_column & (delta_y > 0) & (delta_y <= 2),
        same_row & (delta_x != 0),
        same_column & (delta_y != 0),
        hops > max(height, width) // 2,
    ]
    return torch.stack(masks).float()


def map_features(patch_attention: Tensor, grid: tuple[int, int]) -> Tensor:
    """(..., P, P) -> (..., 12) float32 in the order of FEATURES.

    stripe: Bhattacharyya similarity in [0, 1] between the rows and their mean, i.e. how much all queries share one
    key distribution. row_entropy, key_entropy: mean entropy of a row and entropy of the mean row, over log P.
    """
    rows = normalise_rows(patch_attention.float())
    patches = rows.shape[-1]
    masks = _masks(grid).to(rows.device)
    places = rows.flatten(-2) @ masks.flatten(1).T / patches
    mean_row = rows.mean(-2)
    stripe = (rows.sqrt() * mean_row.sqrt()[..., None, :]).sum(-1).mean(-1)
    scale = torch.log2(torch.tensor(float(max(2, patches))))
    return torch.cat(
        [places, torch.stack([stripe, _entropy(rows).mean(-1) / scale, _entropy(mean_row) / scale], -1)], -1
    )


def _entropy(rows: Tensor) -> Tensor:
    return -(rows * rows.clamp_min(1e-30).log2()).sum(-1)


def uniform_features(grid: tuple[int, int]) -> Tensor:
    """(12,): the features of uniform attention on this grid."""
    patches = grid[0] * grid[1]
    return map_features(torch.full((patches, patches), 1.0 / patches), grid)
