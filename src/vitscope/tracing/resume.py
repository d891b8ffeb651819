"""Re-run a model from one block on: the earlier blocks are short-cut and give what they gave before.

Used for ablations, where only what comes after the changed block has to be computed again, and for reading the
classifier's answer off any block's tokens (logit lens, LeGrad).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from vitscope.errors import TraceError
from vitscope.models.anatomy import Anatomy
from vitscope.tracing.blocks import first_tensor, is_tokens, replace_first
from vitscope.tracing.forward_pass import Inputs


@dataclass(frozen=True)
class BlockCache:
    """What every block returned for one batch, and the logits (B, C) of the full run."""

    inputs: Inputs
    logits: Tensor
    outputs: tuple[Any, ...]

    def tokens(self, block: int) -> Tensor:
        """The tokens that left a block, (B, N, D)."""
        found = first_tensor(self.outputs[block])
        assert found is not None
        return found.flatten(1, 2) if found.dim() == 4 else found


def select(inputs: Inputs, index: Tensor | None) -> Inputs:
    """The inputs of the chosen pictures."""
    if index is None:
        return inputs
    return inputs[index] if isinstance(inputs, Tensor) else {k: v[index] for k, v in inputs.items()}


def _own_parent(path: str) -> str:
    return path.rpartition(".")[0]


def shortcuts(
    anatomy: Anatomy, cache: BlockCache, block: int, index: Tensor | None, last: Tensor | None = None
) -> dict[str, Callable[..., Any]]:
    """For each block before ``block``, what it returns instead of running.

    The one before ``block``, and the last of each list of blocks (CaiT has two), return what is cached; the others
    hand their input on. ``last`` replaces what the final short-cut block returns."""
    paths = [info.path for info in anatomy.blocks]
    if len(set(paths)) != len(paths):
        raise TraceError("blocks that share one module cannot be short-cut; run the whole model instead")
    if not 0 <= block <= len(paths):
        raise TraceError(f"expected a block from 0 to {len(paths)}, got {block}")
    made: dict[str, Callable[..., Any]] = {}
    for position in range(block):
        ends = position + 1 == block or _own_parent(paths[position]) != _own_parent(paths[position + 1])
        width = anatomy.blocks[position].width
        structure = cache.outputs[position]
        if position + 1 == block and last is not None:
            made[paths[position]] = _give(structure, last)
        elif ends:
            tokens = first_tensor(structure)
            assert tokens is not None
            made[paths[position]] = _give(structure, tokens if index is None else tokens[index])
        else:
            made[paths[position]] = _hand_on(structure, width)
    return made


def _give(structure: Any, tokens: Tensor) -> Callable[..., Any]:
    return lambda *args, **kwargs: replace_first(structure, tokens)


def _hand_on(structure: Any, width: int) -> Callable[..., Any]:
    def forward(*args: Any, **kwargs: Any) -> Any:
        tokens = next(t for t in (*args, *kwargs.values()) if is_tokens(t, width))
        return replace_first(structure, tokens)

    return forward


def collect_outputs(model: nn.Module, anatomy: Anatomy, run: Callable[[], Any]) -> tuple[Any, list[Any]]:
    """``run()`` and each block's raw output, detached."""
    outputs: list[Any] = []
    handles = []
    try:
        for info in anatomy.blocks:
            module = model.get_submodule(info.path)
            handles.append(module.register_forward_hook(lambda m, a, output: outputs.append(_detached(output))))
        return run(), outputs
    finally:
        for handle in handles:
            handle.remove()


def _detached(output: Any) -> Any:
    tokens = first_tensor(output)
    if tokens is None:
        raise TraceError("a block returned no tensor, so nothing can be resumed from it")
    return replace_first(output, tokens.detach())


def no_blocks(anatomy: Anatomy) -> TraceError:
    """The error for a model in which no block was found."""
    return TraceError(f"'{anatomy.source}' cannot be resumed from a block, because none was found in it")


def expand(tokens: Tensor, count: int) -> Tensor:
    """(B, ...) tokens repeated for ``count`` runs of the batch, first run first: (count * B, ...)."""
    return torch.cat([tokens] * count, 0) if count > 1 else tokens
