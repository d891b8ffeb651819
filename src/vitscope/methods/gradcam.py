"""The CAM family on tokens, and its cousin on attention."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from vitscope.errors import MethodError
from vitscope.methods.chain import chain_sites, key_slice
from vitscope.methods.raw_attention import site_row
from vitscope.methods.registry import register, token_methods
from vitscope.methods.relevance import Needs, Relevance
from vitscope.models.anatomy import TokenLayout
from vitscope.tracing import Capture, Trace

NEEDS = Needs(gradient=True, capture=Capture(norms=True))
Weighing = Callable[[Tensor, Tensor], Tensor]
"""(tokens (B, P, D), gradient (B, P, D)) -> map (B, P) before the relu."""


def _cam(trace: Trace, block: int, weigh: Weighing, relu: bool) -> Relevance:
    blocks = len(trace.anatomy.blocks)
    if not -blocks <= block < blocks:
        raise MethodError(f"expected block from {-blocks} to {blocks - 1}, got {block}")
    tokens, gradient = trace.norm_tokens[block].float(), trace.norm_gradients[block].float()
    layout = trace.layout
    if tokens.shape[1] not in (layout.tokens, layout.patches):
        raise MethodError(
            f"block {block % blocks} normalises {tokens.shape[1]} tokens, not the {layout.patches} patches; "
            "choose another block="
        )
    if tokens.shape[1] == layout.tokens:
        tokens, gradient = tokens[:, layout.patch_slice], gradient[:, layout.patch_slice]
    if not bool(gradient.any()):
        raise MethodError(
            f"the score's gradient is zero at every patch of block {block % blocks}: nothing after it reads the "
            "patches; choose an earlier block="
        )
    cam = weigh(tokens, gradient)
    return Relevance(_with_prefix(cam.clamp_min(0) if relu else cam, layout))


def _with_prefix(patches: Tensor, layout: TokenLayout) -> Tensor:
    return torch.cat([patches.new_zeros(patches.shape[0], layout.prefix_count), patches], 1)


@register(
    "gradcam",
    family="cam",
    title="Grad-CAM on tokens",
    citation="Selvaraju et al., ICCV 2017, arXiv 1610.02391",
    class_specific=True,
    backwards=1,
    needs=NEEDS,
    applies=token_methods,
)
def gradcam(trace: Trace, *, block: int = -1, relu: bool = True) -> Relevance:
    """relu(sum_c w_c X_c) over a block's first-norm tokens X, w_c the mean gradient over patches.

    The last block's first norm is the latest place where patches of a class-token model still have a gradient."""
    return _cam(trace, block, lambda x, g: (x * g.mean(1, keepdim=True)).sum(2), relu)


@register(
    "hirescam",
    family="cam",
    title="HiResCAM on tokens",
    citation="Draelos and Carin, 2020, arXiv 2011.08891",
    class_specific=True,
    backwards=1,
    needs=NEEDS,
    applies=token_methods,
)
def hirescam(trace: Trace, *, block: int = -1, relu: bool = True) -> Relevance:
    """relu(sum_c g_c X_c), gradient and tokens multiplied element by element."""
    return _cam(trace, block, lambda x, g: (x * g).sum(2), relu)


@register(
    "xgradcam",
    family="cam",
    title="XGrad-CAM on tokens",
    citation="Fu et al., BMVC 2020, arXiv 2008.02312",
    class_specific=True,
    backwards=1,
    needs=NEEDS,
    applies=token_methods,
)
def xgradcam(trace: Trace, *, block: int = -1, relu: bool = True) -> Relevance:
    """relu(sum_c w_c X_c) with w_c = sum_n X_nc g_nc / sum_n X_nc."""

    def weigh(x: Tensor, g: Tensor) -> Tensor:
        total = x.sum(1, keepdim=True)
        safe = torch.where(total.abs() < 1e-7, torch.full_like(total, 1e-7), total)
        return (x * ((x * g).sum(1, keepdim=True) / safe)).sum(2)

    return _cam(trace, block, weigh, relu)


@register(
    "layercam",
    family="cam",
    title="Layer-CAM on tokens",
    citation="Jiang et al., TIP 2021",
    class_specific=True,
    backwards=1,
    needs=NEEDS,
    applies=token_methods,
)
def layercam(trace: Trace, *, block: int = -1, relu: bool = True) -> Relevance:
    """relu(sum_c relu(g_c) X_c), only positive gradients weigh."""
    return _cam(trace, block, lambda x, g: (x * g.clamp_min(0)).sum(2), relu)


@register(
    "attention-gradcam",
    family="cam",
    title="Grad-CAM on attention",
    citation="Chefer, Gur and Wolf, CVPR 2021 (baseline), arXiv 2012.09838",
    class_specific=True,
    backwards=1,
    applies=token_methods,
)
def attention_gradcam(trace: Trace, *, block: int = -1) -> Relevance:
    """relu(mean_h w_h A_h[class]) with w_h the mean of G_h[class] over the patches, in one block.

    For a model without class token the rows and gradients are summed over what the pooling reads."""
    sites = chain_sites(trace)
    if not -len(sites) <= block < len(sites):
        raise MethodError(f"expected block from {-len(sites)} to {len(sites) - 1}, got {block}")
    site, layout = sites[block], trace.layout
    attention = site_row(trace, site, "readout")
    if site.class_query is not None:
        row = site.cls_gradient()
    else:
        row = sum(site.attention_gradient(queries).sum(2) for queries in site.chunks())  # type: ignore[assignment]
    gradient = attention.new_zeros(attention.shape)
    gradient[..., key_slice(site, layout)] = row
    weight = gradient[..., layout.patch_slice].mean(-1, keepdim=True)
    return Relevance((weight * attention).mean(1).clamp_min(0))
