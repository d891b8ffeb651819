"""Blocks called one after the other with nothing but tokens: a changed copy without the model around its blocks."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

from torch import Tensor, nn

from vitscope.tracing.copies.shortening import ATTENTION, KnownAttention, PrefixQueries, Reached


class PrefixReached(PrefixQueries):
    """Ends the run, by `Reached`, with the first fused attention's output for the first `prefix` queries."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        output = super().__torch_function__(func, types, args, kwargs)
        if func is ATTENTION:
            raise Reached(output)
        return output


def run_blocks(
    blocks: Sequence[nn.Module], tokens: Tensor, attended: Tensor, prefix: int, keep: bool
) -> tuple[Tensor | None, Tensor, Tensor]:
    """Run blocks from a changed one to the attention of the last.

    Args:
        blocks: Two or more, the changed one first.
        tokens: What enters the first, (M, N, D), which it may write into.
        attended: The first one's attention output (M, H, N, d).
        prefix: How many of the last block's queries are wanted.
        keep: Whether the first block's output is wanted.

    Returns:
        The first block's output (M, N, D) or None, what enters the last for the prefix (M, p, D), and its attention
        output (M, H, p, d).

    Raises:
        TypeError: A block gives more than its tokens, or the last one has no fused attention with an axis for heads.
    """
    after: Tensor | None = None
    for place, block in enumerate(blocks[:-1]):
        with nullcontext() if place else KnownAttention(attended):
            tokens = block(tokens)
        if not isinstance(tokens, Tensor):
            raise TypeError("a block gives more than its tokens")
        if keep and place == 0:
            after = tokens.clone()
    first = tokens[:, :prefix].clone()
    try:
        with PrefixReached(prefix):
            blocks[-1](tokens)
    except Reached as reached:
        if reached.output.dim() == 4:
            return after, first, reached.output
    raise TypeError("the last block has no fused attention with an axis for heads")
