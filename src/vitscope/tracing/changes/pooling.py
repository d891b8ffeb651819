"""Poolings over patch tokens that leave removed tokens out."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from vitscope.models.token_layout import TokenLayout
from vitscope.tracing.changes.removal import TokenRemoval

_MEAN = (torch.mean, Tensor.mean)
_ADAPTIVE = (F.adaptive_avg_pool1d, F.adaptive_avg_pool2d)
_MAX = (torch.amax, Tensor.amax, torch.max, Tensor.max)
POOLING: frozenset[Any] = frozenset((*_MEAN, *_ADAPTIVE, *_MAX))


def pool_without(
    func: Any,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    layout: TokenLayout,
    removal: TokenRemoval,
    batch: int,
) -> Any | None:
    """The pooling of the kept tokens; None when the call is no pooling over this layout's tokens.

    Seen are mean, max and amax over the axes of the tokens in (B, N, D), (N, B, D), (B, D, N), (B, h, w, D) and
    (B, D, h, w), N all tokens or the patches, and adaptive average pooling to one value."""
    tokens = args[0] if args else kwargs.get("input")
    if not isinstance(tokens, Tensor):
        return None
    if func in _ADAPTIVE:
        size = kwargs.get("output_size", args[1] if len(args) > 1 else None)
        if size not in (1, (1,), (1, 1), [1], [1, 1]):
            return None
        axes = list(range(2, tokens.dim()))
    else:
        axis = kwargs.get("dim", args[1] if len(args) > 1 else None)
        axes = sorted(a % tokens.dim() for a in ((axis,) if isinstance(axis, int) else axis or ()))
    weights = _weights(tokens, axes, layout, removal, batch)
    if weights is None:
        return None
    if func in _MAX:
        masked = tokens.masked_fill(weights == 0, float("-inf"))
        return func(masked, *args[1:], **{k: v for k, v in kwargs.items() if k != "input"})
    keepdim = func in _ADAPTIVE or bool(kwargs.get("keepdim", args[2] if len(args) > 2 else False))
    pooled = (tokens * weights).sum(axes, keepdim=True) / weights.sum(axes, keepdim=True)
    pooled = pooled.to(tokens.dtype)
    if keepdim:
        return pooled
    return pooled.reshape([length for a, length in enumerate(tokens.shape) if a not in axes])


def _weights(
    tokens: Tensor, axes: list[int], layout: TokenLayout, removal: TokenRemoval, batch: int
) -> Tensor | None:
    """1 for kept tokens and 0 for removed ones, broadcastable to ``tokens``; None when the axes are not theirs."""
    shape = tuple(tokens.shape)
    grid = tokens.dim() == 4 and axes in ([1, 2], [2, 3]) and tuple(shape[a] for a in axes) == layout.grid
    if not grid and not (tokens.dim() == 3 and len(axes) == 1):
        return None
    length = layout.patches if grid else shape[axes[0]]
    if not grid and axes == [2] and shape[1] in (layout.tokens, layout.patches):
        return None  # (B, N, D) whose D happens to be a number of tokens: a norm over channels
    side = 1 if axes == [0] else 0
    keep = removal.kept_tokens(layout, length, tokens.device)
    if keep is None or shape[side] != batch or keep.shape[0] not in (1, batch):
        return None
    keep = keep.to(tokens.dtype).expand(batch, -1)
    if axes == [0]:
        return keep.T[:, :, None]
    return keep.reshape(batch, *[shape[a] if a in axes else 1 for a in range(1, tokens.dim())])
