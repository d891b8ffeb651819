"""AttCAT, AGCAM and TokenTM: attention combined with what the tokens themselves carry."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from vitscope.errors import MethodError
from vitscope.methods.applicability import row_methods
from vitscope.methods.chain import (
    chain_sites,
    key_slice,
    positive_gradient_attention,
    query_slice,
    reads_class_token,
    rollout_rows,
    rows_through,
)
from vitscope.methods.raw_attention import site_row, spread
from vitscope.methods.registry import register
from vitscope.methods.relevance import Needs, Relevance
from vitscope.models.anatomy import Anatomy
from vitscope.tracing import AttentionSite, Capture, Trace
from vitscope.tracing.interception.explicit_attention import Matrices


@register(
    "attcat",
    family="attention-gradient",
    title="AttCAT",
    citation="Qiang et al., NeurIPS 2022",
    class_specific=True,
    signed=True,
    backwards=1,
    has_flow=True,
    accumulates=True,
    needs=Needs(gradient=True, capture=Capture(streams=True)),
    applies=row_methods,
)
def attcat(trace: Trace, *, at: Literal["input", "output"] = "input") -> Relevance:
    """Sum over blocks of mean_h A_l[class] times sum_D (token_l * dy/dtoken_l), signed.

    ``at``: tokens at each block's ``input`` or ``output`` (in the last block of a class-token model the patches'
    output has no gradient any more, so that the input says more)."""
    tokens = trace.block_inputs if at == "input" else trace.block_outputs
    gradients = trace.block_input_gradients if at == "input" else trace.block_output_gradients
    layout, maps = trace.layout, []
    for site in chain_sites(trace):
        block = site.info.block
        assert block is not None
        impact = (tokens[block].float() * gradients[block].float()).sum(-1)
        full = impact.new_zeros(impact.shape[0], layout.tokens)
        if impact.shape[1] == layout.tokens:
            full = impact
        elif impact.shape[1] == layout.patches:
            full[:, layout.patch_slice] = impact
        else:
            full[:, : impact.shape[1]] = impact
        maps.append(site_row(trace, site, "readout").mean(1) * full)
    flow = torch.stack(maps, 1).cumsum(1)
    return Relevance(flow[:, -1], flow=flow)


@register(
    "agcam",
    family="attention-gradient",
    title="Attention-guided CAM",
    citation="Leem and Seo, AAAI 2024, arXiv 2402.04563",
    class_specific=True,
    backwards=1,
    has_flow=True,
    accumulates=True,
    applies=row_methods,
)
def agcam(trace: Trace) -> Relevance:
    """Sum over blocks and heads of relu(G_l[class]) * sigmoid(scores_l[class]), scores before the softmax.

    For a model without class token the rows are summed over what the pooling reads."""
    layout, maps = trace.layout, []
    for site in chain_sites(trace):
        if site.class_query is not None and reads_class_token(trace, site):
            row = slice(site.class_query, site.class_query + 1)
            value = (
                site.attention_gradient(row).clamp_min(0) * torch.sigmoid(site.attention_logits(row))
            ).sum((1, 2))
        else:
            read = trace.readout()[:, query_slice(site, layout)] > 0
            value = torch.zeros(site.batch, site.keys, device=read.device)
            for queries in site.chunks():
                rows = site.attention_gradient(queries).clamp_min(0) * torch.sigmoid(
                    site.attention_logits(queries)
                )
                value += (rows.sum(1) * read[:, queries, None]).sum(1)
        maps.append(spread(value, site, layout))
    flow = torch.stack(maps, 1).cumsum(1)
    return Relevance(flow[:, -1], flow=flow)


def _tokentm_applies(anatomy: Anatomy) -> str | None:
    reason = anatomy.why_no_row()
    if reason is None and any(b.kind != "self" or b.width % max(b.heads, 1) for b in anatomy.blocks):
        return "it compares every token with its value vector, which needs plain self-attention blocks"
    return reason


@register(
    "tokentm",
    family="attention-gradient",
    title="TokenTM",
    citation="Wu et al., CVPR 2024, arXiv 2403.14552",
    class_specific=True,
    backwards=1,
    has_flow=True,
    needs=Needs(gradient=True, capture=Capture(norms=True, matrices=Matrices.POSITIVE)),
    applies=_tokentm_applies,
    follows_rows=True,
)
def tokentm(trace: Trace) -> Relevance:
    """R <- (I + mean_h relu(G_l A_l) W_l) R, with W_l the token transformation weights, R_0 = diag |E_0|.

    W_l[n] = |V_n| / |E_n| * N exp(cos(E_n, V_n)) / sum_k exp(cos(E_k, V_k)): how much longer a token leaves the
    value projection (heads joined) than it entered it, and how much it keeps its direction. E_n is the block's
    normalised input; the MLP's transformation is not weighed, since its input and output are not seen at attention."""
    layout, sites = trace.layout, chain_sites(trace)
    changes = [transformation(trace, site) for site in sites]

    def advance(rows: Tensor, index: int) -> Tensor:
        site = sites[index]
        moved = rows_through(rows, site, layout, lambda q: positive_gradient_attention(site, q))
        return rows + moved * changes[index][:, None]

    start = in_tokens(trace.norm_tokens[0].float().norm(dim=-1), trace)
    flow = rollout_rows(trace, sites, advance) * start[:, None]
    return Relevance(flow[:, -1], flow=flow)


def in_tokens(values: Tensor, trace: Trace) -> Tensor:
    """(B, P) or (B, N) in token coordinates (B, N)."""
    if values.shape[1] == trace.layout.tokens:
        return values
    full = values.new_ones(values.shape[0], trace.layout.tokens)
    full[:, trace.layout.patch_slice] = values
    return full


def transformation(trace: Trace, site: AttentionSite) -> Tensor:
    """TokenTM's weights W (B, N) of one block: change of length times normalised exponential cosine."""
    assert site.info.block is not None
    entered = trace.norm_tokens[site.info.block].float()
    values = site.v.float().transpose(1, 2).flatten(2)
    if entered.shape != values.shape:
        raise MethodError(
            f"block {site.info.block} turns tokens {tuple(entered.shape[1:])} into values {tuple(values.shape[1:])}, "
            "so their directions cannot be compared; use another method"
        )
    length = values.norm(dim=-1) / entered.norm(dim=-1).clamp_min(1e-12)
    cosine: Tensor = torch.nn.functional.cosine_similarity(entered, values, dim=-1).exp()
    weight = length * cosine * cosine.shape[1] / cosine.sum(1, keepdim=True)
    full = torch.ones(weight.shape[0], trace.layout.tokens, device=weight.device)
    full[:, key_slice(site, trace.layout)] = weight
    return full
