"""Multiply the patch tokens of one place in a running model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from vitscope.models.anatomy import BlockInfo
from vitscope.models.token_layout import TokenLayout


@dataclass(frozen=True, eq=False)
class TokenFactors:
    """What the patch tokens of one block are multiplied by; prefix tokens stay.

    at: ``input``, what enters the block, or ``norm``, the output of its first norm. values: (B, P, 1), (B, 1, D) or
    (B, P, D)."""

    block: int
    at: Literal["input", "norm"]
    values: Tensor

    def apply(self, tokens: Tensor, block: BlockInfo, layout: TokenLayout) -> Tensor:
        """The block's tokens, multiplied, in the form in which they came; other tensors as they are."""
        sequence = block.as_sequence(tokens)
        patches = self.values.to(sequence)
        if sequence.dim() != 3 or sequence.shape[1] not in (layout.tokens, layout.patches):
            return tokens
        if sequence.shape[1] == layout.tokens and layout.prefix_count:
            patches = patches.expand(-1, layout.patches, -1)
            ones = patches.new_ones(patches.shape[0], layout.prefix_count, patches.shape[2])
            patches = torch.cat([ones, patches], 1)
        changed = sequence * patches
        if tokens.dim() == 4:
            return (changed.mT if block.form == "channels-first" else changed).reshape(tokens.shape)
        return changed.transpose(0, 1) if block.tokens_first else changed
