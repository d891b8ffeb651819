"""Layer-wise relevance propagation for transformers as input times a modified gradient: CP-LRP, AttnLRP, ResLRP.

Each is a set of backward rules; forward values stay bit-equal and no model class is rewritten. Relevance of a token
is <x, g> summed over channels where the tokens enter the first block.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

import torch
from torch import Tensor

from vitscope.errors import MethodError
from vitscope.methods.fullgrad import stream_methods
from vitscope.methods.registry import register
from vitscope.methods.relevance import Needs, Relevance
from vitscope.options.bounds import Weight
from vitscope.tracing import Capture, Rules, Trace, Vit
from vitscope.tracing.calls.calling import Inputs
from vitscope.tracing.changes.rules import CONSTANT_ATTENTION, HALVED_ATTENTION

FAMILY = "lrp"
CP_LRP = Rules("constant-std", "gate", "gate", CONSTANT_ATTENTION)
ATTN_LRP = Rules("constant-std", "gate", "half", HALVED_ATTENTION)


def token_relevance(trace: Trace, positions: bool) -> Relevance:
    """<x, g> per token, (B, N): at the first block's input with ``positions``, where a token is its patch and its
    position and prefix tokens take part; else at the patch embedding before positions are added, patches only."""
    if trace.rules is None:
        raise MethodError("LRP needs a trace with its backward rules; vs.explain takes one itself")
    layout = trace.layout
    if positions:
        tokens, gradient = trace.block_inputs[0], trace.block_input_gradients[0]
    else:
        tokens, gradient = trace.embedding, trace.embedding_gradient
    relevance = (tokens.float() * gradient.float()).sum(-1)
    relevance = torch.nn.functional.pad(relevance, (layout.tokens - relevance.shape[1], 0))
    return Relevance(relevance, extras={"conserved": _conserved(relevance, trace.scores)})


def _conserved(relevance: Tensor, scores: Tensor) -> Tensor:
    """Sum of the relevance over the score, (B,): 1 where the rules conserve and nothing went to biases."""
    total = relevance.sum(1)
    return total / torch.where(scores == 0, torch.ones_like(scores), scores)


def _needs(rules_of: Callable[[Mapping[str, Any]], Rules]) -> Callable[[Vit, Any, Mapping[str, Any]], Needs]:
    def needs(vit: Vit, inputs: Inputs, options: Mapping[str, Any]) -> Needs:
        capture = Capture(streams=True) if options["positions"] else Capture(embedding=True)
        return Needs(gradient=True, rules=rules_of(options), capture=capture)

    return needs


@register(
    "cp-lrp",
    family=FAMILY,
    title="CP-LRP",
    citation="Ali et al., ICML 2022, arXiv 2202.07304",
    class_specific=True,
    signed=True,
    backwards=1,
    needs=_needs(lambda options: CP_LRP),
    applies=stream_methods,
)
def cp_lrp(trace: Trace, *, positions: bool = True) -> Relevance:
    """Input times gradient with LayerNorm's standard deviation, the softmax and the activations' gates constant.

    Conserves: relevance sums to the score less what biases carry. ``positions``: what position embeddings carry
    counts for their token. ``extras["conserved"]`` (B,): sum over tokens by score."""
    return token_relevance(trace, positions)


@register(
    "attnlrp",
    family=FAMILY,
    title="AttnLRP",
    citation="Achtibat et al., ICML 2024, arXiv 2402.05602",
    class_specific=True,
    signed=True,
    backwards=1,
    needs=_needs(lambda options: ATTN_LRP),
    applies=stream_methods,
)
def attnlrp(trace: Trace, *, positions: bool = True) -> Relevance:
    """As CP-LRP, but the softmax takes part: each product of two activations gives half of the gradient to each.

    Values get one half; of the other half, which goes through the softmax by its own derivative, queries and keys
    get half each. The softmax's derivative keeps part of the relevance, so sums are not conserved.
    ``positions`` and ``extras["conserved"]`` as in CP-LRP."""
    return token_relevance(trace, positions)


def _res_rules(options: Mapping[str, Any]) -> Rules:
    base = ATTN_LRP if options["attention"] == "half" else CP_LRP
    return Rules(base.norm, base.activation, base.product, base.attention, residual=options["gamma"])


@register(
    "reslrp",
    family=FAMILY,
    title="ResLRP",
    citation="Berend et al., Attribution instability in vision transformers, 2026, arXiv 2609.17152",
    class_specific=True,
    signed=True,
    backwards=1,
    needs=_needs(_res_rules),
    applies=stream_methods,
)
def reslrp(
    trace: Trace,
    *,
    gamma: Weight = 1.0,
    attention: Literal["half", "constant"] = "half",
    positions: bool = True,
) -> Relevance:
    """AttnLRP with each residual sum z = a + b shared as w(a) a : w(b) b, w(u) = 1 + gamma [sign u = sign z].

    Where a and b cancel, plain input times gradient gives both far more than there is; this rule keeps the parts of
    z's size. ``gamma`` 0 is AttnLRP. ``attention``: half (AttnLRP) or constant (CP-LRP, which conserves)."""
    return token_relevance(trace, positions)
