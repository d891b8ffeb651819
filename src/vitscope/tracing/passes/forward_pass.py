"""Run a model once under interception and keep what was asked for."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vitscope.errors import TraceError
from vitscope.models.anatomy import Anatomy, BlockInfo
from vitscope.models.token_layout import TokenLayout
from vitscope.tracing.calls.blocks import first_tensor, is_tokens, replace_first, skip_blocks, watch_blocks
from vitscope.tracing.calls.calling import Inputs as Inputs
from vitscope.tracing.calls.calling import batch_of as batch_of
from vitscope.tracing.calls.calling import call_model, pictures_of, with_pictures
from vitscope.tracing.calls.guard import quiet
from vitscope.tracing.calls.outputs import scores_of
from vitscope.tracing.changes.removal import TokenRemoval
from vitscope.tracing.changes.rules import WayBack
from vitscope.tracing.interception.interceptor import Interceptor
from vitscope.tracing.passes.request import PassRequest
from vitscope.tracing.passes.stages import watch_stages
from vitscope.tracing.passes.surgeon import PassSurgeon
from vitscope.tracing.site import AttentionSite

CONVOLUTION: frozenset[Any] = frozenset({torch.conv2d, F.conv2d})


@dataclass
class PassRecord:
    """What one pass left: tensors still in the graph when it was run with gradient."""

    inputs: Inputs
    output: Any
    logits: Tensor
    precision: str = "float32"
    sites: dict[int, AttentionSite] = field(default_factory=dict)
    block_inputs: dict[int, list[Tensor]] = field(default_factory=dict)
    block_sources: dict[int, list[Tensor]] = field(default_factory=dict)
    block_outputs: dict[int, Tensor] = field(default_factory=dict)
    raw_outputs: dict[int, Any] = field(default_factory=dict)
    norm_tokens: dict[int, Tensor] = field(default_factory=dict)
    stages: dict[int, Tensor] = field(default_factory=dict)
    embedding: Tensor | None = None
    image: Tensor | None = None
    way: WayBack | None = None


def _call(model: nn.Module, inputs: Inputs, removal: TokenRemoval | None) -> Any:
    if removal is None or removal.mode != "drop":
        return call_model(model, inputs)
    try:
        return call_model(model, inputs)
    except RuntimeError as error:
        raise TraceError(
            "the model does not run on a shortened sequence (it adds positions inside its blocks); "
            "remove tokens with mode='mask'"
        ) from error


def compose_tokens(tensors: list[Tensor], layout: TokenLayout | None, block: BlockInfo) -> Tensor:
    """The token sequence (B, N, D) from what entered a block, however it lies there; class-attention blocks get patches
    and class token apart."""
    flat = [block.as_sequence(t) for t in tensors]
    if len(flat) == 1:
        return flat[0]
    total = layout.tokens if layout else None
    for i, first in enumerate(flat):
        for j, second in enumerate(flat):
            if (
                i != j
                and total is not None
                and first.shape[1] + second.shape[1] == total
                and first.shape[1] <= second.shape[1]
            ):
                return torch.cat([first, second], 1)
    return flat[0]


def run_pass(
    model: nn.Module, anatomy: Anatomy, inputs: Inputs, request: PassRequest | None = None
) -> PassRecord:
    """One forward pass. With ``request.gradient`` the graph starts as late as the capture allows: at the pixels, the
    patch embedding, the first block's input, or else the first attention output."""
    asked = request or PassRequest()
    gradient, capture, removal = asked.gradient, asked.capture, asked.removal
    layout = anatomy.layout
    image: Tensor | None = None
    pictures = pictures_of(inputs)
    if gradient and capture.image and pictures is not None:
        with torch.inference_mode(False):
            image = pictures.detach().clone().requires_grad_()
    for ablation in asked.ablations:
        ablation.check(anatomy)
    if removal is not None:
        removal.check(anatomy, batch_of(inputs))
    given = inputs if image is None else with_pictures(inputs, image)
    record_ = PassRecord(given, None, torch.empty(0), asked.precision, image=image)
    convolutions = 0

    def tap(func: Any, result: Tensor) -> Tensor:
        nonlocal convolutions
        if func not in CONVOLUTION:
            return result
        if convolutions == asked.embedding_call:
            if gradient and not result.requires_grad:
                result = result.detach().requires_grad_()
            record_.embedding = result
            result = result.clone()
        convolutions += 1
        return result

    taps = capture.embedding and asked.embedding_call is not None
    surgeon = PassSurgeon(anatomy, asked, batch_of(inputs), tap if taps else None)
    tap_inputs = capture.streams or (capture.embedding and asked.embedding_call is None)
    detach = asked.rules is not None and asked.rules.detach_blocks

    def enter(block: int, tensors: list[Tensor]) -> list[Tensor] | None:
        changed: list[Tensor] | None = None
        by_token = anatomy.blocks[block].tokens_first
        if block == 0 and removal is not None and removal.mode == "drop" and layout is not None:
            tensors = changed = [removal.shorten(t, layout, by_token) for t in tensors]
        factors = asked.factors
        if factors is not None and (factors.at, factors.block) == ("input", block) and layout is not None:
            tensors = changed = [factors.apply(t, anatomy.blocks[block], layout) for t in tensors]
        if tap_inputs or detach:
            if (
                len(tensors) > 1
            ):  # a tensor may enter several blocks (CaiT's patches): each way in gets its own view
                record_.block_sources[block] = tensors
            if gradient:
                cut = [
                    t.detach().requires_grad_() if detach or not t.requires_grad else None for t in tensors
                ]
                tensors = [t.view_as(t) if c is None else c for t, c in zip(tensors, cut, strict=True)]
            if capture.streams or block == 0:
                record_.block_inputs[block] = tensors
            tensors = changed = [t.clone() for t in tensors]  # a block may write into what it is given
        surgeon.enter_block(block, tensors)
        return changed

    def leave(block: int, output: Any) -> Any:
        surgeon.leave_block()
        tokens = first_tensor(output)
        if not capture.streams or tokens is None or not is_tokens(tokens):
            return None
        record_.block_outputs[block] = tokens
        record_.raw_outputs[block] = output
        return replace_first(output, tokens.clone())

    paths = [block.path for block in anatomy.blocks]
    widths = [block.width for block in anatomy.blocks]
    with ExitStack() as stack:
        stack.enter_context(quiet(model, gradient=gradient, precision=asked.precision))
        stack.enter_context(watch_blocks(model, paths, widths, enter, leave))
        if asked.stages:
            stack.enter_context(watch_stages(model, asked.stages, gradient, record_.stages))
        if asked.skip:
            stack.enter_context(skip_blocks(model, asked.skip))
        stack.enter_context(Interceptor(surgeon, attention_alone=surgeon.attention_alone))
        record_.output = _call(model, given, removal)
    if removal is not None and removal.mode == "mask" and "mean" in anatomy.pooling and not surgeon.pooled:
        raise TraceError(
            f"the mean over patches of '{anatomy.source}' is written in a way that was not seen, so removed tokens "
            "would still be read; remove them with mode='drop', or by pixels"
        )
    if surgeon.book and surgeon.rules.mlp_scale != 1.0 and not surgeon.book.branches and anatomy.blocks:
        raise TraceError(
            f"no MLP branch was recognised in '{anatomy.source}', so its gradient cannot be scaled; take mlp_scale=1"
        )
    record_.logits = scores_of(record_.output, anatomy.output, batch_of(inputs))
    record_.sites, record_.way = surgeon.sites, surgeon.way
    record_.norm_tokens = surgeon.norm_tokens
    return record_
