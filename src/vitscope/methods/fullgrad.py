"""FullGrad+ and Libra FullGrad+: input times gradient on every block's input, added up."""

from __future__ import annotations

import torch
from torch import Tensor

from vitscope.methods.registry import register
from vitscope.methods.relevance import Needs, Relevance
from vitscope.models.anatomy import Anatomy
from vitscope.tracing import Capture, Trace, constant_gate

CITATION = "Mehri, Soleymani Baghshah and Pilehvar, LibraGrad, CVPR 2025, arXiv 2411.16760"
STREAMS = Capture(streams=True)


def stream_methods(anatomy: Anatomy) -> str | None:
    """Applies where what enters a block is the residual stream of the tokens of one grid."""
    reason = anatomy.why_no_tokens()
    if reason is None and not all(block.whole for block in anatomy.blocks):
        return "its residual additions are written outside its blocks' modules, so the residual stream is not seen"
    return reason


def stream_relevance(trace: Trace) -> Tensor:
    """rho_l[n] = <X_l[n], g_l[n]>, (B, L, N) float32: input times gradient on every block's input.

    Blocks that run before the class token joins (CaiT, XCiT, ConViT) have none there."""
    rows = []
    for tokens, gradient in zip(trace.block_inputs, trace.block_input_gradients, strict=True):
        row = (tokens.float() * gradient.float()).sum(-1)
        rows.append(torch.nn.functional.pad(row, (trace.layout.tokens - row.shape[1], 0)))
    return torch.stack(rows, 1)


def _added_up(trace: Trace) -> Relevance:
    steps = stream_relevance(trace)
    flow = steps.cumsum(1)
    missing = trace.scores[:, None] - steps.sum(2)
    return Relevance(flow[:, -1], flow=flow, extras={"block_relevance": steps.sum(2), "missing": missing})


@register(
    "fullgrad-plus",
    family="residual-stream",
    title="FullGrad+",
    citation=CITATION,
    class_specific=True,
    signed=True,
    backwards=1,
    has_flow=True,
    accumulates=True,
    needs=Needs(gradient=True, capture=STREAMS),
    applies=stream_methods,
)
def fullgrad_plus(trace: Trace) -> Relevance:
    """sum_l <X_l[n], dy/dX_l[n]> over the block inputs with the ordinary gradient, signed.

    ``extras``: ``block_relevance`` (B, L), what each block's input adds up to, and ``missing``, the score less that:
    biases and what the softmax, norms and activations lose on the way."""
    return _added_up(trace)


@register(
    "libra-fullgrad",
    family="residual-stream",
    title="Libra FullGrad+",
    citation=CITATION,
    class_specific=True,
    signed=True,
    backwards=1,
    has_flow=True,
    accumulates=True,
    needs=Needs(gradient=True, rules=constant_gate(), capture=STREAMS),
    applies=stream_methods,
)
def libra_fullgrad(trace: Trace) -> Relevance:
    """FullGrad+ with the softmax, the activations' gates and LayerNorm's standard deviation held constant.

    The same as ``fullgrad-plus`` with ``libra=True``, and as ``dart`` with kappa=1 and gate=False. Complete: without
    biases every block's input adds up to the score, so ``extras["missing"]`` (B, L) is what biases carry."""
    return _added_up(trace)
