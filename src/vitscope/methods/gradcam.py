"""The CAM family on tokens, and its cousin on attention."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any

import torch
from torch import Tensor

from vitscope.errors import MethodError
from vitscope.methods.applicability import row_methods, token_methods
from vitscope.methods.chain import chain_sites, key_slice, reads_class_token
from vitscope.methods.daam import by_stages
from vitscope.methods.raw_attention import site_row
from vitscope.methods.registry import register
from vitscope.methods.relevance import Needs, Relevance
from vitscope.models.anatomy import Anatomy
from vitscope.options.bounds import Block
from vitscope.tracing import Capture, Trace, Vit
from vitscope.tracing.calls.calling import Inputs

NEEDS = Needs(gradient=True, capture=Capture(norms=True), precision="float32")
AnyBlock = Annotated[int, Block(attending=False, from_end=True)]
Weighing = Callable[[Tensor, Tensor], Tensor]
"""(tokens (B, P, D), gradient (B, P, D)) -> map (B, P) before the relu."""


def _cam(trace: Trace, block: int | None, weigh: Weighing, relu: bool) -> Relevance:
    """The map of one block's first-norm patch tokens; ``block`` None: of each picture's last with a gradient there.

    A picture whose score has no gradient at all (a probability of 1) gets zeros, as by every gradient method. Where
    tokens lie on no single grid (Swin, PVT, CNNs), the place is the last feature map, as in the papers."""
    if not by_tokens(trace.anatomy):
        return _of_last_stage(trace, block, weigh, relu)
    cam = torch.zeros(trace.batch, trace.layout.patches, device=trace.logits.device)
    for index, taken in places(trace, block):
        found = weigh(patch_tokens(trace.norm_tokens[index], trace), _gradient(trace, index))
        cam = torch.where(taken[:, None], found, cam)
    return as_relevance(cam, trace, relu)


def _of_last_stage(trace: Trace, block: int | None, weigh: Weighing, relu: bool) -> Relevance:
    """The same of the last feature map (B, C, h, w). Raises MethodError for a block, which has no grid of its own."""
    if block is not None:
        raise MethodError(
            f"'{trace.anatomy.source}' is explained by its last feature map, not by a block; leave block= out"
        )
    if not trace.stages:
        raise MethodError(f"no feature map was seen in '{trace.anatomy.source}', so there is none to weigh")
    rows = [each.float().flatten(2).transpose(1, 2) for each in (trace.stages[-1], trace.stage_gradients[-1])]
    cam = weigh(rows[0], rows[1]).unflatten(1, trace.stages[-1].shape[2:])
    return Relevance(maps=cam.clamp_min(0) if relu else cam, notes=(f"of {trace.stage_paths[-1]}",))


def _applies(anatomy: Anatomy) -> str | None:
    return None if by_stages(anatomy) else token_methods(anatomy)


def _needs(vit: Vit, inputs: Inputs, options: Mapping[str, Any]) -> Needs:
    if by_tokens(vit.probe_for(inputs).anatomy):
        return NEEDS
    return Needs(gradient=True, capture=Capture(stages=True), precision="float32")


def by_tokens(anatomy: Anatomy) -> bool:
    """True where one grid of tokens is seen; other classifiers of pictures are explained by a feature map."""
    return token_methods(anatomy) is None


def places(trace: Trace, block: int | None) -> list[tuple[int, Tensor]]:
    """At which blocks the CAMs read, each with the pictures (B,) bool that are read there: ``block``, or for None each
    picture's last one whose patches have a gradient.

    Raises MethodError where the patches of a picture have none although its score has."""
    blocks, found = len(trace.anatomy.blocks), []
    waiting = torch.ones(trace.batch, dtype=torch.bool, device=trace.logits.device)
    for index in [block % blocks] if block is not None else range(blocks - 1, -1, -1):
        if trace.norm_tokens[index].shape[1] not in (trace.layout.tokens, trace.layout.patches):
            continue
        taken = waiting & _gradient(trace, index).flatten(1).any(1)
        if bool(taken.any()):
            found.append((index, taken))
            waiting = waiting & ~taken
        if not bool(waiting.any()):
            break
    if not any(bool((waiting & gradient.flatten(1).any(1)).any()) for gradient in trace.norm_gradients):
        return found
    where = "in any block" if block is None else f"of block {block % blocks}"
    remedy = "check the target" if block is None else "choose an earlier block="
    raise MethodError(
        f"the score's gradient is zero at every patch {where}: nothing after it reads the patches; {remedy}"
    )


def patch_tokens(tokens: Tensor, trace: Trace) -> Tensor:
    """The patches of a block's tokens (B, N, D), or of its patches alone: (B, P, D), float32."""
    whole = tokens.shape[1] == trace.layout.tokens
    return (tokens[:, trace.layout.patch_slice] if whole else tokens).float()


def as_relevance(patches: Tensor, trace: Trace, relu: bool) -> Relevance:
    """A map (B, P) of the patches, with nothing on the prefix tokens."""
    cam = patches.clamp_min(0) if relu else patches
    return Relevance(torch.cat([cam.new_zeros(cam.shape[0], trace.layout.prefix_count), cam], 1))


def _gradient(trace: Trace, index: int) -> Tensor:
    return patch_tokens(trace.norm_gradients[index], trace)


@register(
    "gradcam",
    family="cam",
    title="Grad-CAM on tokens",
    citation="Selvaraju et al., ICCV 2017, arXiv 1610.02391",
    class_specific=True,
    backwards=1,
    needs=_needs,
    applies=_applies,
    takes_libra=True,
)
def gradcam(trace: Trace, *, block: AnyBlock | None = None, relu: bool = True) -> Relevance:
    """relu(sum_c w_c X_c) over a block's first-norm tokens X, w_c the mean gradient over patches.

    ``block`` None takes the last one whose patches still have a gradient: in a class-token model the last block's
    first norm, in a post-norm model one earlier. Later places are refused with the reason. Windowed and pyramid models
    and CNNs are explained by their last feature map."""
    return _cam(trace, block, lambda x, g: (x * g.mean(1, keepdim=True)).sum(2), relu)


@register(
    "gradcam-plus-plus",
    family="cam",
    title="Grad-CAM++ on tokens",
    citation="Chattopadhay et al., WACV 2018, arXiv 1710.11063",
    class_specific=True,
    backwards=1,
    needs=NEEDS,
    applies=token_methods,
)
def gradcam_plus_plus(trace: Trace, *, block: AnyBlock | None = None, relu: bool = True) -> Relevance:
    """relu(sum_c w_c X_c) with w_c = sum_n relu(g_nc) / (2 + g_nc sum_m relu(X_mc)).

    The paper's a = g^2 / (2 g^2 + g^3 sum X), shortened; its feature maps follow a ReLU, which tokens do not: the relu
    in the sum keeps the denominator from 0."""

    def weigh(x: Tensor, g: Tensor) -> Tensor:
        gain = g.clamp_min(0)
        weights = (gain / (2 + gain * x.clamp_min(0).sum(1, keepdim=True))).sum(1, keepdim=True)
        return (x * weights).sum(2)

    return _cam(trace, block, weigh, relu)


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
def hirescam(trace: Trace, *, block: AnyBlock | None = None, relu: bool = True) -> Relevance:
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
def xgradcam(trace: Trace, *, block: AnyBlock | None = None, relu: bool = True) -> Relevance:
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
def layercam(trace: Trace, *, block: AnyBlock | None = None, relu: bool = True) -> Relevance:
    """relu(sum_c relu(g_c) X_c), only positive gradients weigh."""
    return _cam(trace, block, lambda x, g: (x * g.clamp_min(0)).sum(2), relu)


@register(
    "attention-gradcam",
    family="cam",
    title="Grad-CAM on attention",
    citation="Chefer, Gur and Wolf, CVPR 2021 (baseline), arXiv 2012.09838",
    class_specific=True,
    backwards=1,
    needs=Needs(gradient=True, precision="float32"),
    applies=row_methods,
)
def attention_gradcam(trace: Trace, *, block: Annotated[int, Block(from_end=True)] = -1) -> Relevance:
    """relu(mean_h w_h A_h[class]) with w_h the mean of G_h[class] over the patches, in one block.

    For a model without class token the rows and gradients are summed over what the pooling reads."""
    sites = chain_sites(trace)
    site, layout = sites[block], trace.layout
    attention = site_row(trace, site, "readout")
    if site.class_query is not None and reads_class_token(trace, site):
        row = site.cls_gradient()
    else:
        row = sum(site.attention_gradient(queries).sum(2) for queries in site.chunks())  # type: ignore[assignment]
    gradient = attention.new_zeros(attention.shape)
    gradient[..., key_slice(site, layout)] = row
    weight = gradient[..., layout.patch_slice].mean(-1, keepdim=True)
    return Relevance((weight * attention).mean(1).clamp_min(0))
