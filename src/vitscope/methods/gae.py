"""Chains of gradient-weighted attention: GAE (Chefer et al. 2021) and gradient rollout."""

from __future__ import annotations

from torch import Tensor

from vitscope.methods.applicability import chained_methods
from vitscope.methods.chain import (
    chain_sites,
    positive_gradient_attention,
    rollout_rows,
    rows_through,
    step_fused_heads,
)
from vitscope.methods.registry import register
from vitscope.methods.relevance import Needs, Relevance
from vitscope.options.bounds import Share, StartBlock, Weight
from vitscope.tracing import Capture, Trace
from vitscope.tracing.interception.explicit_attention import Matrices


@register(
    "gae",
    family="attention-gradient",
    title="Generic attention explainability",
    citation="Chefer, Gur and Wolf, ICCV 2021, arXiv 2103.15679",
    class_specific=True,
    backwards=1,
    has_flow=True,
    needs=Needs(gradient=True, capture=Capture(matrices=Matrices.POSITIVE)),
    applies=chained_methods,
)
def gae(trace: Trace, *, start_block: StartBlock = 0) -> Relevance:
    """R <- R + mean_h relu(G_l A_l) R, no row normalisation; the read-out row (equations 5 and 6).

    The same as the product of (I + mean_h relu(G_l A_l)), later blocks on the left. ``start_block``: first block."""
    sites = chain_sites(trace)
    used = sites[start_block:]

    def advance(rows: Tensor, index: int) -> Tensor:
        site = used[index]
        return rows + rows_through(rows, site, trace.layout, lambda q: positive_gradient_attention(site, q))

    flow = rollout_rows(trace, used, advance)
    return Relevance(flow[:, -1], flow=flow)


@register(
    "gradient-rollout",
    family="attention-gradient",
    title="Gradient rollout",
    citation="Abnar and Zuidema, ACL 2020, with relu(G A) for A (the vit-explain idea, gradient after the softmax)",
    class_specific=True,
    backwards=1,
    has_flow=True,
    needs=Needs(gradient=True, capture=Capture(matrices=Matrices.POSITIVE)),
    applies=chained_methods,
)
def gradient_rollout(
    trace: Trace, *, residual: Weight = 1.0, start_block: StartBlock = 0, discard: Share = 0.0
) -> Relevance:
    """Row of the product of rownorm(mean_h relu(G_l A_l) + residual I).

    ``discard``: share of each row's smallest entries dropped. The gradient is the one at the softmax's output and
    belongs to the same block as the attention; a well-known script differs in both."""
    sites = chain_sites(trace)
    used = sites[start_block:]

    def advance(rows: Tensor, index: int) -> Tensor:
        site = used[index]
        return step_fused_heads(
            rows, site, trace.layout, lambda q: positive_gradient_attention(site, q), residual, discard
        )

    flow = rollout_rows(trace, used, advance)
    return Relevance(flow[:, -1], flow=flow)
