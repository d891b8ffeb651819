"""Attention rollout (Abnar and Zuidema 2020)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from vitscope.methods.applicability import chained_methods
from vitscope.methods.chain import (
    FUSIONS,
    Fusion,
    chain_sites,
    rollout_rows,
    step,
    step_fused_heads,
)
from vitscope.methods.registry import register
from vitscope.methods.relevance import Needs, Relevance
from vitscope.options.bounds import Share, StartBlock, Weight
from vitscope.tracing import AttentionSite, Capture, Trace, Vit
from vitscope.tracing.calls.calling import Inputs
from vitscope.tracing.interception.explicit_attention import Matrices


def _needs(vit: Vit, inputs: Inputs, options: Mapping[str, Any]) -> Needs:
    if options["fusion"] != "mean":
        return Needs(capture=Capture(outputs=False))
    return Needs(capture=Capture(outputs=False, inputs=False, matrices=Matrices.MEAN))


@register(
    "rollout",
    family="attention",
    title="Attention rollout",
    citation="Abnar and Zuidema, ACL 2020, arXiv 2005.00928",
    class_specific=False,
    has_flow=True,
    needs=_needs,
    applies=chained_methods,
)
def rollout(
    trace: Trace,
    *,
    fusion: Fusion = "mean",
    residual: Weight = 1.0,
    start_block: StartBlock = 0,
    discard: Share = 0.0,
) -> Relevance:
    """Row of the product of rownorm(fuse_h A_l + residual I), later blocks on the left.

    ``fusion``: mean, max or min over heads. ``start_block``: first block of the product. ``discard``: share of each
    row's smallest entries dropped before normalising (an extension, not in the paper). The flow's entry b is the
    rollout of blocks start…b."""
    sites = chain_sites(trace)
    layout = trace.layout
    linear = fusion == "mean" and discard == 0

    def advance(rows: Tensor, index: int) -> Tensor:
        site = sites[start_block + index]
        if linear:
            return step(rows, site, layout, None, residual)
        return step_fused_heads(rows, site, layout, lambda q: _fused(site, q, fusion), residual, discard)

    flow = rollout_rows(trace, sites[start_block:], advance)
    return Relevance(flow[:, -1], flow=flow)


def _fused(site: AttentionSite, queries: slice, fusion: Fusion) -> Tensor:
    """One matrix of all heads' rows, (B, q, Nk)."""
    return site.mean_attention(queries) if fusion == "mean" else FUSIONS[fusion](site.attention(queries))
