"""Switch heads, or single entries of their attention, off while the model runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from vitscope.errors import TraceError


@dataclass(frozen=True)
class HeadAblation:
    """Whole heads: T_lh <- keep * T_lh + (1 - keep) * replacement.

    ``keep`` (B or 1, L, H): 1 leaves a head as it is, 0 takes it away; one row per batch item, so that many
    ablations are one batch. ``replacement`` None means zero; (L, H, d) one vector for all queries, or
    (L, H, Nq, d) one per query (mean ablation), or (B, L, H, Nq, d) one per batch item. L counts blocks."""

    keep: Tensor
    replacement: Tensor | None = None

    def __post_init__(self) -> None:
        if self.keep.dim() != 3:
            raise TraceError(f"HeadAblation expects keep of shape (B, L, H), got {tuple(self.keep.shape)}")

    def apply(self, output: Tensor, block: int) -> Tensor:
        """``output`` (B, H, Nq, d) of ``block`` with its heads ablated; the same tensor when none is."""
        keep = self.keep[:, block].to(output.device)
        if keep.shape[0] not in (1, output.shape[0]) or keep.shape[1] != output.shape[1]:
            raise TraceError(
                f"HeadAblation expects keep (B, L, H) with B = {output.shape[0]} and H = {output.shape[1]}, "
                f"got {tuple(self.keep.shape)}"
            )
        if bool((keep == 1).all()):
            return output
        keep = keep.to(output.dtype)[:, :, None, None]
        kept = output * keep
        if self.replacement is None:
            return kept
        given = self.replacement
        value = (given[:, block] if given.dim() == 5 else given[block]).to(output)
        if value.dim() == 2:
            value = value[:, None, :]
        return kept + (1 - keep) * value


@dataclass(frozen=True)
class EntryAblation:
    """Entries of one block's attention: those where ``zero`` is True become 0 after the softmax.

    ``zero`` is boolean, broadcastable to (B, Nq, Nk). ``head`` None means every head. With ``renormalise`` the
    rows that lost entries sum to one again; by default they do not."""

    block: int
    head: int | None
    zero: Tensor
    renormalise: bool = False

    def apply(self, attention: Tensor) -> Tensor:
        """``attention`` (B, H, Nq, Nk) without the chosen entries."""
        zero = self.zero.to(attention.device)
        zero = zero[None] if zero.dim() == 2 else zero
        zero = zero[:, None].expand(-1, attention.shape[1], -1, -1)
        if self.head is not None:
            chosen = torch.zeros(attention.shape[1], dtype=torch.bool, device=attention.device)
            chosen[self.head] = True
            zero = zero & chosen[None, :, None, None]
        left = attention.masked_fill(zero, 0.0)
        if not self.renormalise:
            return left
        total = left.sum(-1, keepdim=True)
        return torch.where(total > 0, left / total.clamp_min(torch.finfo(left.dtype).tiny), left)


Ablation = HeadAblation | EntryAblation


def as_list(ablation: Ablation | Sequence[Ablation] | None) -> list[Ablation]:
    """One, several or no ablations as a list."""
    if ablation is None:
        return []
    if isinstance(ablation, (HeadAblation, EntryAblation)):
        return [ablation]
    return list(ablation)
