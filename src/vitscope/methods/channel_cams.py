"""Score-CAM and Ablation-CAM: each channel of a block's tokens is weighed by what the score does, without gradient."""

from __future__ import annotations

from typing import Annotated

import torch
from torch import Tensor

from vitscope.methods.applicability import token_methods
from vitscope.methods.gradcam import NEEDS, AnyBlock, as_relevance, patch_tokens, places
from vitscope.methods.many_forwards import scores_under
from vitscope.methods.registry import register
from vitscope.methods.relevance import Needs, Relevance
from vitscope.options.bounds import Block, Range
from vitscope.tracing import Capture, Trace
from vitscope.tracing.calls.calling import Inputs, pictures_of, with_pictures
from vitscope.tracing.changes.factors import TokenFactors
from vitscope.tracing.passes.request import PassRequest

Channels = Annotated[int, Range(1, 100_000)] | None


def leading_channels(tokens: Tensor, count: int | None) -> Tensor:
    """The channels of tokens (B, P, D) that vary most over the patches, (B, K) long, in order; None takes all."""
    width = tokens.shape[2]
    if count is None or count >= width:
        return torch.arange(width, device=tokens.device).expand(tokens.shape[0], -1)
    return tokens.var(1).topk(count, dim=1).indices.sort(1).values


def chosen(tokens: Tensor, channels: Tensor) -> Tensor:
    """Those channels (B, K) of tokens (B, P, D): (B, P, K)."""
    return tokens.gather(2, channels[:, None].expand(-1, tokens.shape[1], -1))


@register(
    "scorecam",
    family="cam",
    title="Score-CAM on tokens",
    citation="Wang et al., CVPR Workshops 2020, arXiv 1910.01279",
    class_specific=True,
    forwards=193,
    passes_by=("channels", 192),
    needs=Needs(capture=Capture(norms=True), precision="float32"),
    applies=token_methods,
)
def scorecam(
    trace: Trace,
    *,
    block: Annotated[int, Block(attending=False, from_end=True)] = -1,
    channels: Channels = None,
    relu: bool = True,
) -> Relevance:
    """relu(sum_c w_c X_c), w the softmax over channels of the score of the picture times channel c as a mask.

    The mask is X_c from 0 to 1 (min-max over the patches), enlarged to the picture; in films and texts it multiplies
    the patches that enter the first block. One forward a channel; ``channels``: only so many, those that vary most."""
    tokens = patch_tokens(trace.norm_tokens[block], trace)
    picked = chosen(tokens, leading_channels(tokens, channels))
    low, high = picked.amin(1, keepdim=True), picked.amax(1, keepdim=True)
    masks = (picked - low) / (high - low).clamp_min(1e-12)  # (B, P, K)
    pictures = pictures_of(trace.inputs)
    by_pixels = pictures is not None and pictures.dim() == 4

    def mask(part: slice, rows: Tensor, inputs: Inputs) -> tuple[Inputs, PassRequest]:
        values = masks[:, :, part].permute(2, 0, 1).flatten(0, 1)  # row by row (R, P)
        if not by_pixels:
            factors = TokenFactors(0, "input", values[:, :, None])
            return inputs, PassRequest(precision=trace.precision, factors=factors)
        shown = pictures_of(inputs)
        assert shown is not None
        spread = trace.cells.spread(trace.layout.to_grid(values), "bilinear")[:, None]
        return with_pictures(inputs, shown * spread.to(shown)), PassRequest(precision=trace.precision)

    weights = scores_under(trace, picked.shape[2], mask).softmax(0).T  # (B, K)
    return as_relevance((picked * weights.to(picked)[:, None]).sum(2), trace, relu)


@register(
    "ablationcam",
    family="cam",
    title="Ablation-CAM on tokens",
    citation="Desai and Ramaswamy, WACV 2020",
    class_specific=True,
    forwards=193,
    passes_by=("channels", 192),
    backwards=1,
    needs=NEEDS,
    applies=token_methods,
    takes_libra=False,
)
def ablationcam(
    trace: Trace, *, block: AnyBlock | None = None, channels: Channels = None, relu: bool = True
) -> Relevance:
    """relu(sum_c w_c X_c), w_c the share (y - y_c) / |y| of the score that is lost when channel c is 0 at every patch.

    ``block`` None takes Grad-CAM's place (the one backward pass finds it). One forward a channel; ``channels``: only so
    many, those that vary most over the patches."""
    cam = torch.zeros(trace.batch, trace.layout.patches, device=trace.logits.device)
    for index, taken in places(trace, block):
        tokens = patch_tokens(trace.norm_tokens[index], trace)
        numbers = leading_channels(tokens, channels)

        def ablate(
            part: slice,
            rows: Tensor,
            inputs: Inputs,
            index: int = index,
            of: Tensor = numbers,
            width: int = tokens.shape[2],
        ) -> tuple[Inputs, PassRequest]:
            gone = of[:, part].T.flatten()  # row by row (R,)
            values = torch.ones(len(gone), width, device=gone.device).scatter(1, gone[:, None], 0.0)
            factors = TokenFactors(index, "norm", values[:, None])
            return inputs, PassRequest(precision=trace.precision, factors=factors)

        scores = scores_under(trace, numbers.shape[1], ablate).T.to(cam)  # (B, K)
        whole = trace.scores.to(cam)[:, None]
        weights = (whole - scores) / whole.abs().clamp_min(1e-12)
        found = (chosen(tokens, numbers) * weights[:, None]).sum(2)
        cam = torch.where(taken[:, None], found, cam)
    return as_relevance(cam, trace, relu)
