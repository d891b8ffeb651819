"""Canonical forms of a patch attention: the same size for every grid, so that heads of all models can be compared.

Either A' = U_q A U_k^T on a g' x g' grid (queries averaged, keys summed, rows still sum to 1), or the relative-offset
histogram on a fixed window; then the square root, so that the Euclidean distance between two maps is a Hellinger
distance. The maps take the place of the resampled attention maps of Li et al., TVCG 2023, arXiv 2303.13731.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Literal, get_args

import torch
from torch import Tensor

from vitscope.heads.distance.hops import grid_geometry
from vitscope.heads.errors import HeadsError

Form = Literal["pooled", "offset"]
"""Canonical forms of a map: pooled, 49 x 49 by position; offset, 27 x 27 by relative offset."""
FORMS: tuple[Form, ...] = get_args(Form)
POOLED_SIDE = 7
OFFSET_SIDE = 27


@lru_cache(maxsize=64)
def overlap(source: int, target: int) -> Tensor:
    """(target, source) float64: the part of source cell s that lies in target cell t when both tile [0, 1].

    Every column sums to 1, so mass is kept; rows divided by their sum are an area average.
    """
    edges_source = torch.linspace(0, 1, source + 1, dtype=torch.float64)
    edges_target = torch.linspace(0, 1, target + 1, dtype=torch.float64)
    low = torch.maximum(edges_target[:-1, None], edges_source[None, :-1])
    high = torch.minimum(edges_target[1:, None], edges_source[None, 1:])
    return (high - low).clamp_min(0) * source


@lru_cache(maxsize=64)
def pooling_matrices(grid: tuple[int, int], side: int = POOLED_SIDE) -> tuple[Tensor, Tensor]:
    """(U_q, U_k), both (side*side, P) float32: U_q averages queries (rows sum to 1), U_k sums keys (columns do)."""
    keys = torch.kron(overlap(grid[0], side), overlap(grid[1], side))
    queries = keys / keys.sum(1, keepdim=True)
    return queries.float(), keys.float()


def normalise_rows(patch_attention: Tensor) -> Tensor:
    """Rows divided by their sum; a row with no mass on any patch becomes uniform."""
    mass = patch_attention.sum(-1, keepdim=True)
    uniform = 1.0 / patch_attention.shape[-1]
    return torch.where(mass > 1e-12, patch_attention / mass.clamp_min(1e-12), uniform)


def _check_square(patch_attention: Tensor, grid: tuple[int, int]) -> None:
    patches = grid[0] * grid[1]
    if patch_attention.shape[-2:] != (patches, patches):
        raise HeadsError(
            f"expected the patch block of an attention on a {grid[0]} x {grid[1]} grid, (..., {patches}, {patches}), "
            f"got {tuple(patch_attention.shape)}; drop the prefix rows and columns first."
        )


def pooled_map(patch_attention: Tensor, grid: tuple[int, int], side: int = POOLED_SIDE) -> Tensor:
    """(..., P, P) -> (..., side^2, side^2): area-averaged queries, summed keys; rows sum to 1."""
    _check_square(patch_attention, grid)
    query_matrix, key_matrix = (matrix.to(patch_attention.device) for matrix in pooling_matrices(grid, side))
    return query_matrix @ normalise_rows(patch_attention.float()) @ key_matrix.T


def offset_histogram(patch_attention: Tensor, grid: tuple[int, int]) -> Tensor:
    """(..., P, P) -> (..., 2h-1, 2w-1): mean over queries of the row-normalised mass at key - query; sums to 1."""
    _check_square(patch_attention, grid)
    geometry = grid_geometry(grid)
    rows = normalise_rows(patch_attention.float())
    flat = rows.reshape(-1, geometry.patches * geometry.patches)
    height, width = geometry.offset_shape
    total = torch.zeros(flat.shape[0], height * width, device=flat.device)
    total.index_add_(1, geometry.offsets.flatten().to(flat.device), flat)
    return (total / geometry.patches).reshape(*patch_attention.shape[:-2], height, width)


def offset_map(patch_attention: Tensor, grid: tuple[int, int], side: int = OFFSET_SIDE) -> Tensor:
    """(..., P, P) -> (..., side, side): the offset histogram resampled by area; mass is kept (sums to 1).

    A 14 x 14 grid has 27 x 27 offsets: there the default is exact.
    """
    histogram = offset_histogram(patch_attention, grid)
    along_y = overlap(histogram.shape[-2], side).float().to(histogram.device)
    along_x = overlap(histogram.shape[-1], side).float().to(histogram.device)
    return along_y @ histogram @ along_x.T


def hellinger(distribution: Tensor) -> Tensor:
    """Square root of a non-negative tensor: Euclidean distance of roots is sqrt(2) times the Hellinger distance."""
    return distribution.clamp_min(0).sqrt()


def from_hellinger(root: Tensor) -> Tensor:
    """Back from a (decoded) root map to rows that sum to 1 along the last axis."""
    return normalise_rows(root.clamp_min(0).square())
