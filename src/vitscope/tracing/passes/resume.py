"""Re-run a model from one block on: the earlier blocks are short-cut and give what they gave before.

Used for ablations, where only what comes after the changed block has to be computed again, and for reading the
classifier's answer off any block's tokens (logit lens, LeGrad).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from vitscope.errors import TraceError
from vitscope.models.anatomy import Anatomy, BlockInfo
from vitscope.tracing.calls.blocks import first_tensor, is_tokens, replace_first
from vitscope.tracing.calls.calling import Inputs
from vitscope.tracing.calls.guard import exclusive
from vitscope.tracing.calls.scope import own
from vitscope.tracing.changes.ablation import Ablation, HeadAblation


@dataclass(frozen=True)
class BlockCache:
    """What every block returned for one batch, and the logits (B, C) of the full run.

    blocks: how each block lays its tokens out.

    Example:
        >>> import vitscope as vs
        >>> vit = vs.open_model("bundled/shapes")
        >>> cache = vit.cache(vit.images(vs.worlds.demo_pictures(2).images()))
        >>> cache.tokens(0).shape
        torch.Size([2, 145, 128])
    """

    inputs: Inputs
    logits: Tensor
    outputs: tuple[Any, ...]
    blocks: tuple[BlockInfo, ...]

    def tokens(self, block: int) -> Tensor:
        """The tokens that left a block, (B, N, D)."""
        found = first_tensor(self.outputs[block])
        assert found is not None
        return self.blocks[block].as_sequence(found)


def _own_parent(path: str) -> str:
    return path.rpartition(".")[0]


def can_resume(anatomy: Anatomy) -> str | None:
    """Reason why the blocks cannot be short-cut, None when they can."""
    paths = [info.path for info in anatomy.blocks]
    if len(set(paths)) != len(paths):
        return "its blocks share one module"
    loose = next((info.path for info in anatomy.blocks if not info.whole), None)
    return (
        f"the residual stream goes around '{loose}' outside any block module" if loose is not None else None
    )


def check_places(index: Tensor | None, count: int) -> None:
    """Raise TraceError unless ``index`` (M,) names cached pictures by whole numbers."""
    if index is None:
        return
    whole = not index.is_floating_point() and index.dtype != torch.bool and not index.is_complex()
    if not whole or index.dim() != 1:
        raise TraceError(
            f"expected index as whole numbers (M,), one for each picture, got {index.dtype} {tuple(index.shape)}"
        )
    wrong = index[(index < 0) | (index >= count)]
    if len(wrong):
        raise TraceError(f"expected cached pictures from 0 to {count - 1}, got {int(wrong[0])}; count from 0")


def shortcuts(
    anatomy: Anatomy, cache: BlockCache, block: int, index: Tensor | None, last: Tensor | None = None
) -> dict[str, Callable[..., Any]]:
    """For each block before ``block``, what it returns instead of running.

    The one before ``block``, and the last of each list of blocks (CaiT has two), return what is cached; the others
    hand their input on. ``last`` (as the block itself lays tokens out) replaces what the final short-cut block
    returns. Raises TraceError for a model whose blocks cannot be short-cut, and for a block that does not exist."""
    paths = [info.path for info in anatomy.blocks]
    if not 0 <= block <= len(paths):
        raise TraceError(f"expected a block from 0 to {len(paths)}, got {block}")
    reason = can_resume(anatomy)
    if reason is not None:
        raise TraceError(f"'{anatomy.source}' cannot be resumed from tokens, because {reason}; run it whole")
    made: dict[str, Callable[..., Any]] = {}
    for position in range(block):
        info = anatomy.blocks[position]
        ends = position + 1 == block or _own_parent(paths[position]) != _own_parent(paths[position + 1])
        structure = cache.outputs[position]
        if position + 1 == block and last is not None:
            made[info.path] = _give(_chosen(structure, index, info), last)
        elif ends:
            made[info.path] = _give(_chosen(structure, index, info), None)
        else:
            made[info.path] = _hand_on(structure, index, info)
    return made


def _chosen(structure: Any, index: Tensor | None, info: BlockInfo) -> Any:
    """What a block returned, for the chosen pictures."""
    if index is None:
        return structure
    if info.kind == "window":
        raise TraceError(
            f"block '{info.path}' works on windows, perhaps laid out as a batch; resume all pictures (index=None)"
        )
    tokens = first_tensor(structure)
    assert tokens is not None
    batch = tokens.shape[1 if info.tokens_first else 0]

    def pick(value: Any) -> Any:
        if isinstance(value, Tensor):
            axis = 1 if info.tokens_first and value.dim() == 3 else 0
            where = index.to(value.device)
            return (
                value.index_select(axis, where)
                if value.dim() > axis and value.shape[axis] == batch
                else value
            )
        if isinstance(value, dict):
            return type(value)(**{key: pick(item) for key, item in value.items()})
        if isinstance(value, (tuple, list)):
            items = [pick(item) for item in value]
            return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
        return value

    return pick(structure)


def _give(structure: Any, tokens: Tensor | None) -> Callable[..., Any]:
    def forward(*args: Any, **kwargs: Any) -> Any:
        given = first_tensor(structure) if tokens is None else tokens
        assert given is not None
        # the next block may write into what it gets, and the cache must stay as it is
        return replace_first(structure, given if given.requires_grad else given.clone())

    return forward


def _hand_on(structure: Any, index: Tensor | None, info: BlockInfo) -> Callable[..., Any]:
    cached = first_tensor(structure)
    assert cached is not None

    def forward(*args: Any, **kwargs: Any) -> Any:
        entering = [t for t in (*args, *kwargs.values()) if is_tokens(t, info.width)]
        axis = 1 if info.tokens_first else 0
        same = [t for t in entering if _without(t, axis) == _without(cached, axis)]
        return replace_first(structure, same[0]) if same else _chosen(structure, index, info)

    return forward


def _without(tensor: Tensor, axis: int) -> tuple[int, ...]:
    return tuple(length for position, length in enumerate(tensor.shape) if position != axis)


def later_only(ablations: list[Ablation], block: int) -> list[Ablation]:
    """The ablations without what they do to blocks before ``block``, as if those were short-cut."""
    later: list[Ablation] = []
    for ablation in ablations:
        if isinstance(ablation, HeadAblation):
            keep = ablation.keep.clone()
            keep[:, :block] = 1
            later.append(replace(ablation, keep=keep))
        elif ablation.block >= block:
            later.append(ablation)
    return later


def collect_outputs(model: nn.Module, anatomy: Anatomy, run: Callable[[], Any]) -> tuple[Any, list[Any]]:
    """``run()`` and each block's raw output, detached, in the order in which they came."""
    outputs: list[Any] = []
    handles = []

    def keep(_: nn.Module, __: Any, output: Any) -> None:
        outputs.append(_detached(output))

    with exclusive(model):
        try:
            for path in dict.fromkeys(info.path for info in anatomy.blocks):
                module = model.get_submodule(path)
                handles.append(module.register_forward_hook(own(keep)))
            return run(), outputs
        finally:
            for handle in handles:
                handle.remove()


def _detached(output: Any) -> Any:
    tokens = first_tensor(output)
    if tokens is None:
        raise TraceError("a block returned no tensor, so nothing can be resumed from it")
    return replace_first(output, tokens.detach().clone())


def no_blocks(anatomy: Anatomy) -> TraceError:
    """The error for a model in which no block was found."""
    return TraceError(f"'{anatomy.source}' cannot be resumed from a block, because none was found in it")
