"""Find out what a classifier reads: from the gradient of its output at the last block's tokens."""

from __future__ import annotations

import torch
from torch import Tensor

from vitscope.errors import ModelError
from vitscope.models.anatomy import BlockInfo
from vitscope.models.token_layout import TokenLayout

POOLINGS = ("class", "class+distillation", "mean", "class+mean", "attention", "other")

Readout = tuple[float, ...] | None


def pooling_of(
    logits: Tensor,
    last: Tensor | None,
    block: BlockInfo,
    layout: TokenLayout,
    has_pool_site: bool,
    override: str | None,
) -> tuple[str, Readout]:
    """(name of the pooling, weight of each token in it). ``last`` is what the last block ``block`` returned."""
    if override == "attention" and not has_pool_site:
        raise ModelError("pooling='attention' was given, but no attention pooling is seen behind the blocks")
    if override is not None:
        return override, readout_of(override, layout)
    if has_pool_site:
        return "attention", None
    if block.kind == "class":
        return "class", readout_of("class", layout)
    share = token_share(logits, last, block)
    if share is None:
        name = "class" if layout.class_index is not None else "mean"
        return name, readout_of(name, layout)
    if share.numel() == layout.patches and layout.prefix_count:
        share = torch.cat([share.new_zeros(layout.prefix_count), share])
    if share.numel() != layout.tokens:
        return "other", None
    read = share > 1e-4 * share.max()
    front, patches = read[: layout.prefix_count], read[layout.patch_slice]
    if layout.prefix_count == 0 and int(read.sum()) == 1 and bool(read[0]) and layout.patches > 1:
        return "class", tuple([1.0] + [0.0] * (layout.tokens - 1))  # a text's first token
    if not bool(patches.any()):
        chosen = front.nonzero()[:, 0].tolist()
        weights = [0.0] * layout.tokens
        for index in chosen:
            weights[index] = 1.0 / len(chosen)
        names = [layout.prefix[i] for i in chosen]
        return ("class" if names in (["class"], ["prefix_1"]) else "+".join(names)), tuple(weights)
    if bool(patches.float().mean() > 0.9):
        if layout.prefix_count and bool(front[0]) and bool(share[0] > 8 * share[layout.patch_slice].mean()):
            return "class+mean", readout_of("class+mean", layout)
        if not bool(front.any()):
            return "mean", readout_of("mean", layout)
        if bool(front.all()):
            return "mean of all tokens", tuple([1.0 / layout.tokens] * layout.tokens)
    weights_ = (share / share.sum()).tolist()
    return "other", tuple(weights_)


def readout_of(name: str, layout: TokenLayout) -> tuple[float, ...]:
    """The weights of a named pooling over the tokens of a layout. Raises ModelError for an unknown name."""
    weights = [0.0] * layout.tokens
    parts = [p for p in name.split("+") if p]
    for part in parts:
        share = 1.0 / len(parts)
        if part in ("mean", "attention"):
            for index in range(layout.prefix_count, layout.tokens):
                weights[index] += share / layout.patches
        elif part in layout.prefix:
            weights[layout.prefix.index(part)] += share
        elif part == "class" and layout.prefix_count:
            weights[0] += share
        else:
            raise ModelError(
                f"pooling '{name}' does not fit tokens ({layout.describe()}); expected one of "
                f"{', '.join(POOLINGS[:-1])}, or names of its prefix tokens joined by +"
            )
    return tuple(weights)


def token_share(logits: Tensor, last: Tensor | None, block: BlockInfo) -> Tensor | None:
    """Mean gradient norm per token (N,) at the last block's output; None without a gradient."""
    if last is None or not last.requires_grad or not logits.requires_grad:
        return None
    weights = torch.linspace(-1, 1, logits.shape[-1], device=logits.device).cos() + 0.1
    with torch.inference_mode(False), torch.enable_grad():
        (gradient,) = torch.autograd.grad(
            (logits.float() * weights).sum(), [last], retain_graph=True, allow_unused=True
        )
    if gradient is None:
        return None
    share: Tensor = block.as_sequence(gradient).float().norm(dim=-1).mean(0)
    return share
