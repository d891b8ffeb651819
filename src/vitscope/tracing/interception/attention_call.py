"""What one attention call is given: q, k and v of a fused one, the finished matrix and v of an eager one."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

ALL = slice(None)
"""All heads, or all queries."""


@dataclass
class FusedInputs:
    """What a fused attention call was given. q: (..., H, Nq, d); k, v: (..., Hk, Nk, d), Hk divides H."""

    q: Tensor
    k: Tensor
    v: Tensor
    mask: Tensor | None
    scale: float
    causal: bool
    folded: bool = False
    """True when the model gave (B * H, N, d) or (B, N, d), without an axis for heads."""

    def unfolded(self, heads: int) -> FusedInputs:
        """The same call with heads on an axis of their own: (B * H, 1, N, d) as (B, H, N, d)."""

        def apart(tensor: Tensor) -> Tensor:
            return tensor.reshape(-1, heads, *tensor.shape[-2:])

        mask = self.mask
        if mask is not None and mask.dim() == 4 and mask.shape[0] == self.q.shape[0]:
            mask = apart(mask)
        return FusedInputs(apart(self.q), apart(self.k), apart(self.v), mask, self.scale, self.causal)

    def repeated(self, which: Tensor) -> Tensor:
        """Keys or values with one copy per query head (grouped-query attention)."""
        heads, own = self.q.shape[-3], which.shape[-3]
        return which if heads == own else which.repeat_interleave(heads // own, dim=-3)

    def of_heads(self, which: Tensor, heads: slice) -> Tensor:
        """Keys or values of some query heads, one copy each."""
        total, own = self.q.shape[-3], which.shape[-3]
        if total == own:
            return which[..., heads, :, :]
        groups = torch.arange(total, device=which.device)[heads] // (total // own)
        return which.index_select(which.dim() - 3, groups)

    def attention_logits(self, queries: slice, heads: slice = ALL, into: Tensor | None = None) -> Tensor:
        """Scaled and masked logits before softmax, float32, (..., h, q, Nk).

        ``into``: memory (B, h, q, Nk) in which they may be made."""
        logits = self._products(queries, heads, into)
        if self.mask is not None:
            mask = self.mask
            if mask.dim() > 2 and mask.shape[-3] != 1:
                mask = mask[..., heads, :, :]
            if mask.shape[-2] != 1:
                mask = mask[..., queries, :]
            logits = (
                logits.masked_fill(~mask, float("-inf"))
                if mask.dtype == torch.bool
                else logits + mask.float()
            )
        if self.causal:
            length, keys = self.q.shape[-2], self.k.shape[-2]
            allowed = torch.ones(length, keys, dtype=torch.bool, device=logits.device).tril()[queries]
            logits = logits.masked_fill(~allowed, float("-inf"))
        return logits

    def _products(self, queries: slice, heads: slice, into: Tensor | None) -> Tensor:
        """q k^T times the scale, float32, (..., h, q, Nk)."""
        q = self.q[..., heads, queries, :].float()
        k = self.of_heads(self.k, heads).float()
        if (
            q.dim() != 4
            or q.device.type != "cpu"
            or (torch.is_grad_enabled() and (q.requires_grad or k.requires_grad))
        ):
            # one product over several heads copies them all the same, and the keys transposed
            q, k = (q.contiguous(), k.contiguous()) if q.shape[-3] > 1 else (q, k)
            return (q * self.scale) @ k.transpose(-2, -1)
        logits = q.new_empty(*q.shape[:3], k.shape[-2]) if into is None else into
        for head in range(q.shape[1]):  # of one head nothing is copied
            torch.baddbmm(
                logits[:, head],
                q[:, head],
                k[:, head].transpose(1, 2),
                beta=0,
                alpha=self.scale,
                out=logits[:, head],
            )
        return logits


@dataclass
class EagerInputs:
    """What an eager call showed: the matrix that was multiplied with v, and the logits that its softmax was given."""

    attention: Tensor
    attention_logits: Tensor
    v: Tensor
