"""Attention masks that forbid removed keys, and leave every query at least one key."""

from __future__ import annotations

import torch
from torch import Tensor


def combine_masks(mask: Tensor | None, keep: Tensor, dtype: torch.dtype) -> Tensor:
    """A mask that also forbids where ``keep`` (bool, broadcastable) is False.

    A query that would be left with no key (a removed token under a causal mask) keeps the keys it had: what it gathers
    is never read, but a softmax over nothing would be NaN and spread."""
    if mask is None:
        return keep
    if mask.dtype == torch.bool:
        both = mask & keep
        return torch.where(both.any(-1, keepdim=True), both, mask)
    mask = mask.to(dtype)
    both = mask.masked_fill(~keep, float("-inf"))
    return torch.where(torch.isneginf(both).all(-1, keepdim=True), mask, both)


def forbid(logits: Tensor, keep: Tensor) -> Tensor:
    """Logits before an eager softmax with minus infinity where ``keep`` is False; a row left empty stays as it was."""
    masked = logits.masked_fill(~keep, float("-inf"))
    return torch.where(torch.isneginf(masked).all(-1, keepdim=True), logits, masked)
