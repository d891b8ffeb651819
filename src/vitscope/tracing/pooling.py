"""Poolings over patch tokens that leave removed tokens out."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from vitscope.models.anatomy import TokenLayout
from vitscope.tracing.removal import TokenRemoval

_MEAN = (torch.mean, Tensor.mean)
_MAX = (torch.amax, Tensor.amax, torch.max, Tensor.max)
POOLING: frozenset[Any] = frozenset((*_MEAN, *_MAX, F.adaptive_avg_pool1d))


def pool_without(
    func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], layout: TokenLayout, removal: TokenRemoval
) -> Any | None:
    """The pooling of the kept tokens; None when the call is no pooling over this layout's tokens.

    Seen are mean, max and amax over the token axis of (B, N, D) or (B, P, D), over both grid axes of (B, h, w, D),
    and ``adaptive_avg_pool1d(1)`` of (B, D, P)."""
    tokens = args[0] if args else kwargs.get("input")
    if not isinstance(tokens, Tensor):
        return None
    if func is F.adaptive_avg_pool1d:
        keep = _kept(tokens.transpose(1, 2), layout, removal) if tokens.dim() == 3 else None
        if keep is None:
            return None
        return ((tokens * keep[:, None]).sum(-1) / keep.sum(-1, keepdim=True))[..., None].to(tokens.dtype)
    axis = kwargs.get("dim", args[1] if len(args) > 1 else None)
    keepdim = bool(kwargs.get("keepdim", args[2] if len(args) > 2 else False))
    axes = sorted(a % tokens.dim() for a in ((axis,) if isinstance(axis, int) else axis or ()))
    grid = tokens.dim() == 4 and axes == [1, 2] and tuple(tokens.shape[1:3]) == layout.grid
    if not grid and not (tokens.dim() == 3 and axes == [1]):
        return None
    keep = _kept(tokens.flatten(1, 2) if grid else tokens, layout, removal)
    if keep is None:
        return None
    weights = keep.reshape(keep.shape[0], *tokens.shape[1:-1], 1)
    if func in _MEAN:
        count = weights.sum(axes, keepdim=True)
        pooled = (tokens * weights).sum(axes, keepdim=True) / count
        pooled = pooled.to(tokens.dtype)
        return pooled if keepdim else pooled.reshape(tokens.shape[0], tokens.shape[-1])
    masked = tokens.masked_fill(weights == 0, float("-inf"))
    return func(masked, *args[1:], **{k: v for k, v in kwargs.items() if k != "input"})


def _kept(tokens: Tensor, layout: TokenLayout, removal: TokenRemoval) -> Tensor | None:
    keep = removal.kept_tokens(layout, tokens.shape[1], tokens.device)
    return None if keep is None else keep.to(tokens.dtype).expand(tokens.shape[0], -1)
