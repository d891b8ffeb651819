"""DAAM beyond the paper: a flow for every image classifier, stage by stage.

A CNN or a hierarchical transformer has no class token whose updates could be added up. What plays its part is the
last feature map F_s at each resolution: w_s[c] = mean over places of dy/dF_s[c], U_s = sum_c relu(w_s[c]) F_s[c],
L_s = relu(U_s), each resized to one grid (sums kept), and M_s = sum_{i<=s} L_i.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from vitscope.errors import MethodError
from vitscope.methods.relevance import Relevance
from vitscope.tracing import Trace

LARGEST_GRID = 32
"""The common grid is the finest stage's that has at most this many rows or columns."""


def stage_relevance(trace: Trace, normalise: bool, channel_relu: bool) -> Relevance:
    """Accumulated stage maps (B, h, w) with their flow (B, S, h, w). Raises MethodError when no stage is seen."""
    features, gradients = trace.stages, trace.stage_gradients
    if not features:
        raise MethodError(
            f"no feature map was seen in '{trace.anatomy.source}', so it has no stages to accumulate"
        )
    maps = [stage_map(f.float(), g.float(), channel_relu) for f, g in zip(features, gradients, strict=True)]
    fine = [m.shape[-2:] for m in maps if max(m.shape[-2:]) <= LARGEST_GRID] or [maps[-1].shape[-2:]]
    resized = [to_grid(m, (fine[0][0], fine[0][1])) for m in maps]
    if normalise:
        resized = [_unit(m) for m in resized]
    stacked = torch.stack(resized, 1)
    flow = stacked.cumsum(1)
    notes = ("stages: " + ", ".join(trace.stage_paths),)
    return Relevance(
        maps=flow[:, -1], flow=flow, extras={"block_maps": stacked}, notes=notes, flow_of="stage"
    )


def stage_map(features: Tensor, gradient: Tensor, channel_relu: bool) -> Tensor:
    """relu(sum_c w_c F_c), w_c the (positive) mean gradient: (B, C, h, w) twice -> (B, h, w)."""
    weight = gradient.mean((2, 3), keepdim=True)
    weight = weight.clamp_min(0) if channel_relu else weight
    return (features * weight).sum(1).clamp_min(0)


def to_grid(values: Tensor, grid: tuple[int, int]) -> Tensor:
    """A map (B, h, w) on another grid with its sum kept."""
    if values.shape[-2:] == torch.Size(grid):
        return values
    if values.shape[-2] % grid[0] == 0 and values.shape[-1] % grid[1] == 0:
        rows, columns = values.shape[-2] // grid[0], values.shape[-1] // grid[1]
        return values.reshape(-1, grid[0], rows, grid[1], columns).sum((2, 4))
    resized = interpolate(values[:, None], size=grid, mode="bilinear", align_corners=False)[:, 0]
    before, after = values.sum((1, 2), keepdim=True), resized.sum((1, 2), keepdim=True)
    scale = torch.where(after > 0, before / after.clamp_min(1e-12), torch.ones_like(after))
    return (resized * scale).reshape(values.shape[0], *grid)


def _unit(values: Tensor) -> Tensor:
    low, high = values.amin((1, 2), keepdim=True), values.amax((1, 2), keepdim=True)
    return torch.where(high > low, (values - low) / (high - low).clamp_min(1e-12), torch.zeros_like(values))
