"""Take patch tokens away from a running model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from vitscope.errors import TraceError
from vitscope.models.anatomy import Anatomy
from vitscope.models.token_layout import TokenLayout
from vitscope.options.door import check_fields


@dataclass(frozen=True)
class TokenRemoval:
    """Patches that no longer exist for the model.

    Args:
        keep: Boolean (B or 1, P), True for the patches that stay, in row-major order of the grid.
        mode: ``mask``: the attention keys of removed patches get minus infinity before every softmax, so that no query
            can attend to them, and they leave a pooling over patches. ``drop``: the sequence is shortened before the
            first block; every picture of the batch must then keep the same number of patches, and the model must not
            add positions inside its attention.

    Raises:
        TraceError: ``keep`` is not boolean or of another shape, or pictures keep different numbers under ``drop``; when
            it is used, it does not fit the model.

    Example:
        >>> import torch, vitscope as vs
        >>> keep = torch.arange(144)[None] >= 72  # the upper half of a 12 x 12 grid is gone
        >>> vit = vs.open_model("bundled/shapes")
        >>> pictures = vs.worlds.world("shapes").sample(2, seed=1).pictures
        >>> tuple(vit.forward(pictures, removal=vs.TokenRemoval(keep)).shape)
        (2, 10)
    """

    keep: Tensor
    mode: Literal["mask", "drop"] = "mask"

    def __post_init__(self) -> None:
        check_fields(self, TraceError)
        if self.keep.dtype != torch.bool or self.keep.dim() != 2:
            raise TraceError(
                f"TokenRemoval expects a boolean keep (B, P), got {self.keep.dtype} {tuple(self.keep.shape)}"
            )
        if self.mode == "drop" and self.keep.shape[0] and len(set(self.keep.sum(1).tolist())) != 1:
            raise TraceError(
                "removal by 'drop' needs as many kept patches in every picture of a batch; use 'mask'"
            )

    def check(self, anatomy: Anatomy, batch: int) -> None:
        """Raise TraceError unless the mask fits the pictures and taking tokens away means something in the model."""
        layout = anatomy.layout
        reason = anatomy.why_no_removal()
        if reason is not None or layout is None:
            raise TraceError(
                f"tokens cannot be removed from '{anatomy.source}': {reason}; use a pixel removal instead"
            )
        if self.keep.shape[1] != layout.patches or self.keep.shape[0] not in (1, batch):
            raise TraceError(
                f"TokenRemoval expects keep ({batch}, {layout.patches}) for {layout.describe()}, "
                f"got {tuple(self.keep.shape)}"
            )
        reads_patches = not layout.prefix_count or "mean" in anatomy.pooling
        if reads_patches and not bool(self.keep.any(1).all()):
            raise TraceError(
                "a model that reads its patches must keep at least one; nothing would be left to read"
            )

    def kept_tokens(self, layout: TokenLayout, length: int, device: torch.device) -> Tensor | None:
        """Which of ``length`` tokens stay, (B, length) bool; None when that many are not this layout's tokens."""
        keep = self.keep.to(device)
        if length == layout.patches and not (layout.prefix_count and length == layout.tokens):
            return keep
        if length == layout.tokens:
            ones = torch.ones(keep.shape[0], layout.prefix_count, dtype=torch.bool, device=device)
            return torch.cat([ones, keep], 1)
        return None

    def kept_keys(self, layout: TokenLayout, length: int, device: torch.device) -> Tensor | None:
        """As ``kept_tokens``; where all keys of a picture would go (no prefix token among them), they stay: their
        queries are removed tokens themselves, and a softmax over nothing would be NaN."""
        keep = self.kept_tokens(layout, length, device)
        return None if keep is None else keep | ~keep.any(1, keepdim=True)

    def shorten(self, tokens: Tensor, layout: TokenLayout, tokens_first: bool = False) -> Tensor:
        """The kept tokens of (B, N, D) in order, (B, K, D); (N, B, D) and (K, B, D) when ``tokens_first``."""
        if tokens_first:
            return self.shorten(tokens.transpose(0, 1), layout).transpose(0, 1)
        keep = self.kept_tokens(layout, tokens.shape[1], tokens.device)
        if keep is None or tokens.dim() != 3:
            raise TraceError(
                "removal by 'drop' needs a plain token sequence at the first block; use mode='mask'"
            )
        keep = keep.expand(tokens.shape[0], -1)
        return tokens[keep].reshape(tokens.shape[0], -1, tokens.shape[2])
