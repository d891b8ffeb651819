"""Transformer attribution (Chefer et al., CVPR 2021): attention relevance times attention gradient, chained."""

from __future__ import annotations

from torch import Tensor

from vitscope.errors import MethodError, TraceError
from vitscope.methods.applicability import chained_methods
from vitscope.methods.chain import chain_sites, rollout_rows, rows_through
from vitscope.methods.registry import register
from vitscope.methods.relevance import Needs, Relevance
from vitscope.models.anatomy import Anatomy
from vitscope.options.bounds import StartBlock
from vitscope.tracing import AttentionSite, Trace
from vitscope.tracing.passes.positive_relevance import ratio, relevance_sites

UNSTABLE = (
    "divides by sums near zero: rounding alone can move this map, so another machine may show it differently"
)


def _applies(anatomy: Anatomy) -> str | None:
    reason = chained_methods(anatomy)
    if reason is None and any(block.tokens_first for block in anatomy.blocks):
        return "its blocks take tokens before pictures, and its residual rule needs pictures first"
    return reason


def attention_relevance(site: AttentionSite, queries: slice) -> Tensor:
    """R_A for some queries, (B, H, q, Nk): half of the relevance at T = A v, by parts of each product."""
    assert site.output_gradient is not None
    share = ratio(site.output_gradient[:, :, queries].float(), site.output[:, :, queries].float())
    return site.attention(queries) * (share @ site.v.float().transpose(-2, -1)) / 2


@register(
    "transformer-attribution",
    family="lrp",
    title="Transformer attribution",
    citation="Chefer, Gur and Wolf, CVPR 2021, arXiv 2012.09838",
    class_specific=True,
    forwards=2,
    backwards=2,
    has_flow=True,
    needs=Needs(gradient=True, precision="float32"),
    applies=_applies,
    follows_rows=True,
)
def transformer_attribution(trace: Trace, *, start_block: StartBlock = 0) -> Relevance:
    """R <- R + mean_h relu(G_h R_A,h) R with R_A the layer-wise relevance of the attention; the read-out row.

    As GAE, with relevance by the z+ rule (see ``tracing.zplus``) in the attention's place. ``start_block``: first
    block of the chain. Costs a second forward and backward."""
    if trace.resolved is None:
        raise MethodError("transformer attribution needs a target; this trace has none")
    sites = chain_sites(trace)
    used = sites[start_block:]
    if trace.request.ablations:
        raise TraceError("its rules of relevance know no heads that are switched off; use another method")
    relevant = relevance_sites(trace.model.module, trace.anatomy, trace.inputs, trace.sites, trace.resolved)

    def advance(rows: Tensor, index: int) -> Tensor:
        site = used[index]
        known = relevant[site.info.index]

        def matrix(queries: slice) -> Tensor:
            return (
                (site.attention_gradient(queries) * attention_relevance(known, queries)).clamp_min(0).mean(1)
            )

        return rows + rows_through(rows, site, trace.layout, matrix)

    flow = rollout_rows(trace, used, advance)
    return Relevance(flow[:, -1], flow=flow, notes=(UNSTABLE,))
