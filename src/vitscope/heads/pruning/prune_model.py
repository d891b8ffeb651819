"""Make a really smaller, or a masked, timm ViT without its least important heads.

Smaller: the rows of qkv and the columns of the projection that belong to removed heads are gone, and the block has
fewer heads. Masked: the model keeps its shape and loads anywhere; removed heads' columns of the projection are zero.
With mean replacement the constant that the head would have written goes into the projection's bias, so both equal
the ablation exactly.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from vitscope.heads.errors import HeadsError
from vitscope.heads.pruning.means import means_of
from vitscope.heads.pruning.output_means import MeanOutputs
from vitscope.heads.spatial_sites import head_grid
from vitscope.heads.table import HeadTable
from vitscope.options.bounds import PositiveShare
from vitscope.options.door import checked
from vitscope.tracing import Vit

Head = tuple[int, int]
PrunedForm = Literal["smaller", "masked"]
"""Whether removed heads are cut out, or kept with their columns of the projection at zero."""


@checked(HeadsError)
def heads_to_remove(table: HeadTable, metric: str, keep: PositiveShare) -> list[Head]:
    """The least important heads by a metric, so many that a share of all heads remains.

    Every block keeps at least one head, so that the pruned model is still a transformer in every block.

    Args:
        table: Scores of the heads.
        metric: A metric of the table.
        keep: The share (0..1] of heads to keep.

    Returns:
        (block, head) pairs, both from 0, least important first.

    Raises:
        HeadsError: There is no such metric, or ``keep`` leaves less than a head per block.

    Example:
        >>> import numpy as np
        >>> import vitscope as vs
        >>> table = vs.heads.HeadTable({"importance": np.float32([[[1, 2], [4, 3]]])}, ("cat.png",))
        >>> vs.heads.heads_to_remove(table, "importance", keep=0.5)
        [(0, 0), (1, 1)]
    """
    order = table.order(metric, most_important_first=False)
    L, H = table.shape
    wanted = round((1 - keep) * len(order))
    left = {block: sum(1 for b, _ in order if b == block) for block in range(L)}
    removed: list[Head] = []
    for block, head in order:
        if len(removed) == wanted:
            break
        if left[block] > 1:
            left[block] -= 1
            removed.append((block, head))
    if len(removed) < wanted:
        raise HeadsError(
            f"expected to keep at least one head per block ({L} of {L * H}), got keep={keep:g}; "
            f"use --keep {L / max(1, len(order)):.2f} or more"
        )
    return removed


@checked(HeadsError)
def attention_modules(vit: Vit) -> list[nn.Module]:
    """The timm attention module of every block, in order; these can be pruned.

    Args:
        vit: The opened model.

    Returns:
        L modules of the user's model, not copies.

    Raises:
        HeadsError: A block whose attention cannot be pruned: no joint qkv projection, or a norm after the attention.

    Example:
        >>> import vitscope as vs
        >>> [module.num_heads for module in vs.heads.attention_modules(vs.open_model("bundled/shapes"))]
        [4, 4, 4, 4, 4, 4]
    """
    found = []
    for info in vit.anatomy.blocks:
        block = vit.model.get_submodule(info.path)
        module: Any = getattr(block, "attn", None)
        needed = ("qkv", "proj", "num_heads", "head_dim", "attn_dim")
        plain = module is not None and all(hasattr(module, name) for name in needed)
        if not plain or not isinstance(module.qkv, nn.Linear) or getattr(module, "gate", None) is not None:
            raise HeadsError(
                f"expected a timm ViT with a joint qkv projection, got {type(block).__name__} at {info.path} of "
                f"{vit.source}; use importance and cumulative pruning, which mask heads on any model"
            )
        if not isinstance(module.norm, nn.Identity):
            raise HeadsError(
                f"expected no norm after the attention, got one at {info.path}; it mixes the heads"
            )
        found.append(module)
    return found


@checked(HeadsError)
def prune_module(
    vit: Vit,
    remove: Sequence[Head],
    *,
    form: PrunedForm = "smaller",
    means: Tensor | MeanOutputs | None = None,
) -> nn.Module:
    """A pruned copy of a timm ViT; the original is not changed.

    Args:
        vit: The opened model.
        remove: (block, head) pairs, both from 0.
        form: "smaller" cuts the heads out; "masked" keeps the shapes and sets their columns of the projection to zero.
        means: (L, H, d) mean outputs that stand in for removed heads, see :func:`mean_outputs`; None for zero.

    Returns:
        The pruned module; its outputs equal those of the ablation.

    Raises:
        HeadsError: A head that does not exist, a model that cannot be pruned, or, with "smaller", a block without
            heads.

    Example:
        >>> import vitscope as vs
        >>> pruned = vs.heads.prune_module(vs.open_model("bundled/shapes"), [(0, 1), (0, 2)])
        >>> pruned.blocks[0].attn.num_heads, pruned.blocks[1].attn.num_heads
        (2, 4)
    """
    L, H = head_grid(vit.anatomy)
    gone: dict[int, list[int]] = {}
    for block, head in sorted(set(remove)):
        if not (0 <= block < L and 0 <= head < H):
            raise HeadsError(f"expected heads within {L} x {H}, got ({block}, {head}); count from 0")
        gone.setdefault(block, []).append(head)
    attention_modules(vit)
    model = copy.deepcopy(vit.model)
    for block, heads in gone.items():
        module: Any = model.get_submodule(vit.anatomy.blocks[block].path).attn
        _fold_means(module, block, heads, None if means is None else means_of(means))
        if form == "masked":
            _mask(module, heads)
        else:
            shrink(module, heads)
    return model


def _columns(heads: Sequence[int], width: int) -> Tensor:
    return torch.cat([torch.arange(h * width, (h + 1) * width) for h in heads])


@torch.no_grad()
def _fold_means(module: Any, block: int, heads: Sequence[int], means: Tensor | None) -> None:
    if means is None:
        return
    if means.dim() != 3:
        raise HeadsError(
            "expected means (L, H, d) over all queries, got one per query; a bias has no position"
        )
    if module.proj.bias is None:
        module.proj.bias = nn.Parameter(torch.zeros_like(module.proj.weight[:, 0]))
    weight = module.proj.weight[:, _columns(heads, module.head_dim).to(module.proj.weight.device)]
    module.proj.bias += weight @ means[block, list(heads)].reshape(-1).to(weight)


@torch.no_grad()
def _mask(module: Any, heads: Sequence[int]) -> None:
    module.proj.weight[:, _columns(heads, module.head_dim)] = 0


@torch.no_grad()
def shrink(module: Any, heads: Sequence[int]) -> None:
    kept = [h for h in range(module.num_heads) if h not in heads]
    if not kept:
        raise HeadsError("expected at least one head to stay in every block, got none; use form masked")
    columns = _columns(kept, module.head_dim)
    rows = torch.cat([columns + part * module.attn_dim for part in range(3)])
    module.qkv = _linear(module.qkv.weight[rows], None if module.qkv.bias is None else module.qkv.bias[rows])
    module.proj = _linear(module.proj.weight[:, columns], module.proj.bias)
    module.num_heads = len(kept)
    module.attn_dim = len(kept) * module.head_dim


def _linear(weight: Tensor, bias: Tensor | None) -> nn.Linear:
    layer = nn.Linear(
        weight.shape[1], weight.shape[0], bias=bias is not None, device=weight.device, dtype=weight.dtype
    )
    layer.weight = nn.Parameter(weight.detach().clone())
    if bias is not None:
        layer.bias = nn.Parameter(bias.detach().clone())
    return layer
