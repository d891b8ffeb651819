"""Chains of attention, carried out on one row: r <- r M_l from the last block to the first, O(L N^2).

The N x N product of a rollout is never formed. r (sum_h w_h A_h) = sum_h w_h (r A_h), so neither is the head mean.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from vitscope.models.token_layout import TokenLayout
from vitscope.tracing import AttentionSite, Trace
from vitscope.tracing.interception.explicit_attention import span_of

Fusion = Literal["mean", "max", "min"]
FUSIONS: dict[Fusion, Callable[[Tensor], Tensor]] = {
    "mean": lambda attention: attention.mean(1),
    "max": lambda attention: attention.amax(1),
    "min": lambda attention: attention.amin(1),
}
"""How heads become one: (B, H, q, Nk) -> (B, q, Nk)."""


def token_sites(trace: Trace) -> list[AttentionSite]:
    """The sites at which tokens attend to tokens, first block first."""
    return [site for site in trace.sites if site.info.kind in ("self", "class")]


def chain_sites(trace: Trace) -> list[AttentionSite]:
    """The token sites up to the block after which the score reads the tokens, first block first."""
    last = trace.read_block
    return [site for site in token_sites(trace) if site.info.block is not None and site.info.block <= last]


def reads_class_token(trace: Trace, site: AttentionSite) -> bool:
    """Whether the score reads the class token alone and it asks at this site: then its row is the site's row."""
    if site.info.kind == "class":
        return True
    index = trace.layout.class_index
    return site.class_query is not None and index is not None and bool((trace.readout()[:, index] == 1).all())


def query_slice(site: AttentionSite, layout: TokenLayout) -> slice:
    """Which tokens of the sequence ask at this site."""
    if site.info.kind == "class":
        return slice(0, site.queries)
    return slice(0, layout.tokens) if site.queries == layout.tokens else layout.patch_slice


def key_slice(site: AttentionSite, layout: TokenLayout) -> slice:
    """Which tokens of the sequence are asked at this site."""
    return slice(0, layout.tokens) if site.keys == layout.tokens else layout.patch_slice


def uniform_heads(site: AttentionSite) -> Tensor:
    """The same weight for every head, (B, H)."""
    return torch.full((site.batch, site.heads), 1.0 / site.heads, device=site.device)


def rows_times(rows: Tensor, site: AttentionSite, layout: TokenLayout, weights: Tensor | None) -> Tensor:
    """r A for A = sum_h w_h A_h and several rows at once: rows (B, R, N), weights (B, H) -> (B, R, N).

    ``weights`` None gives every head the same.

    Only the queries' part of r goes through; tokens that do not ask here contribute nothing."""
    asked = key_slice(site, layout)
    part = rows[..., query_slice(site, layout)]
    out = torch.zeros_like(rows)
    found = out[..., asked]
    if weights is None and site.knows_mean:
        queries = _asking(part)
        found.baddbmm_(part[..., queries], site.mean_attention(queries))
        return out
    weights = uniform_heads(site) if weights is None else weights
    for heads, queries, exponentials, sums in site.exponential_tiles(_asking(part)):
        weighted = part[:, None, :, queries] * weights[:, heads, None, None]
        if sums is not None:
            weighted /= sums[:, :, None]
        for head in range(weighted.shape[1]):
            found.baddbmm_(weighted[:, head], exponentials[:, head])
    return out


def _asking(rows: Tensor) -> slice:
    """The queries that rows (B, R, Nq) take anything of: of one row from the class token, that token alone."""
    return span_of((rows != 0).flatten(0, 1).any(0)) if rows.shape[1] == 1 else slice(None)


def row_sums(site: AttentionSite, weights: Tensor) -> Tensor:
    """Row sums of sum_h w_h A_h, (B, Nq): sum_h w_h for a softmax, counted where heads are mixed after it."""
    if site.eager is None:
        return weights.sum(1, keepdim=True).expand(-1, site.queries)
    sums = [(site.attention(queries).sum(-1) * weights[:, :, None]).sum(1) for queries in site.chunks()]
    return torch.cat(sums, 1)


def step(
    rows: Tensor, site: AttentionSite, layout: TokenLayout, weights: Tensor | None, residual: float
) -> Tensor:
    """r <- r rownorm(A + residual I), A = sum_h w_h A_h, for rows (B, R, N).

    Tokens that do not ask here stay as they are."""
    here = query_slice(site, layout)
    scaled = rows.clone()
    sums = row_sums(site, uniform_heads(site) if weights is None else weights)
    scaled[..., here] /= (sums + residual)[:, None]
    out = rows_times(scaled, site, layout, weights)
    scaled[..., here] *= residual
    return out + scaled


def step_fused_heads(
    rows: Tensor,
    site: AttentionSite,
    layout: TokenLayout,
    fused_rows: Callable[[slice], Tensor],
    residual: float,
    discard: float,
) -> Tensor:
    """r <- r rownorm(discard(M) + residual I), for matrices that are not linear in the heads.

    ``fused_rows(queries)`` gives M's rows, (B, q, Nk). ``discard``: share of each row's smallest entries set to 0."""
    here, asked = query_slice(site, layout), key_slice(site, layout)
    part = rows[..., here]
    out = rows.clone()
    out[..., here] = 0
    positions = torch.arange(layout.tokens, device=rows.device)[here]
    for queries in site.strips(_asking(part)):
        fused = fused_rows(queries)
        if discard > 0:
            fused = discard_smallest(fused, discard)
        scaled = part[..., queries] / (fused.sum(-1) + residual)[:, None].clamp_min(1e-12)
        out[..., asked] += scaled @ fused
        out[..., positions[queries]] += scaled * residual
    return out


def rows_through(
    rows: Tensor, site: AttentionSite, layout: TokenLayout, matrix: Callable[[slice], Tensor]
) -> Tensor:
    """r M for rows (B, R, N) and any per-query matrix, ``matrix(queries)`` giving (B, q, Nk)."""
    asked = key_slice(site, layout)
    part = rows[..., query_slice(site, layout)]
    out = torch.zeros_like(rows)
    for queries in site.strips(_asking(part)):
        out[..., asked] += part[..., queries] @ matrix(queries)
    return out


def positive_gradient_attention(site: AttentionSite, queries: slice) -> Tensor:
    """mean_h relu(G_h * A_h) for some queries, (B, q, Nk): clamped per head, then the mean.

    Not to be changed: several methods take the same."""
    if site.from_gradient is not None and site.from_gradient.positive is not None:
        return site.from_gradient.positive[:, queries]
    name = f"mean relu(G A), queries {queries.start} to {queries.stop}"
    if site.shared is not None and name in site.shared:
        return site.shared[name]
    total = torch.zeros(site.batch, queries.stop - queries.start, site.keys, device=site.device)
    tiles = zip(site.attention_tiles(queries), site.attention_gradient_tiles(queries), strict=True)
    for (_, rows, attention), (_, _, gradient) in tiles:
        here = slice(rows.start - queries.start, rows.stop - queries.start)
        for positive in gradient.mul_(attention).clamp_min_(0).unbind(1):
            total[:, here] += positive
    total.div_(site.heads)
    if site.shared is not None and site.is_small:
        site.shared[name] = total
    return total


def rollout_rows(
    trace: Trace, sites: list[AttentionSite], advance: Callable[[Tensor, int], Tensor]
) -> Tensor:
    """The read-out row of every partial product, (B, L, N): entry b is that of sites 0…b.

    The chain runs from the last site to the first; the row of each shorter product joins on its way, so every
    attention matrix is rebuilt once. ``advance(rows, index)`` carries rows (B, R, N) through one site."""
    start = trace.readout()[:, None]
    rows = start
    for index in range(len(sites) - 1, -1, -1):
        rows = advance(rows, index)
        if index:
            rows = torch.cat([rows, start], 1)
    return rows.flip(1)


def discard_smallest(rows: Tensor, share: float) -> Tensor:
    """Set the smallest ``share`` of the entries of each row to 0: (..., Nk) -> same."""
    count = int(rows.shape[-1] * share)
    if count == 0:
        return rows
    smallest = rows.topk(count, dim=-1, largest=False).indices
    return rows.scatter(-1, smallest, 0.0)
