"""Attention rollout (Abnar and Zuidema 2020)."""

from __future__ import annotations

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
from vitscope.tracing import Capture, Trace


@register(
    "rollout",
    family="attention",
    title="Attention rollout",
    citation="Abnar and Zuidema, ACL 2020, arXiv 2005.00928",
    class_specific=False,
    has_flow=True,
    needs=Needs(capture=Capture(outputs=False)),
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
    fuse = FUSIONS[fusion]
    sites = chain_sites(trace)
    layout = trace.layout
    linear = fusion == "mean" and discard == 0

    def advance(rows: Tensor, index: int) -> Tensor:
        site = sites[start_block + index]
        if linear:
            return step(rows, site, layout, None, residual)
        return step_fused_heads(rows, site, layout, lambda q: fuse(site.attention(q)), residual, discard)

    flow = rollout_rows(trace, sites[start_block:], advance)
    return Relevance(flow[:, -1], flow=flow)
