"""Raw attention: what one query asks in one block."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from torch import Tensor

from vitscope.errors import MethodError
from vitscope.methods.applicability import row_methods
from vitscope.methods.chain import chain_sites, key_slice, query_slice, reads_class_token
from vitscope.methods.registry import register
from vitscope.methods.relevance import Needs, Relevance
from vitscope.models.token_layout import TokenLayout
from vitscope.options.bounds import Block, Head, Patch
from vitscope.tracing import AttentionSite, Capture, Trace


@register(
    "raw-attention",
    family="attention",
    title="Raw attention",
    citation="Caron et al., ICCV 2021 (DINO), arXiv 2104.14294",
    class_specific=False,
    has_flow=True,
    needs=Needs(capture=Capture(outputs=False)),
    applies=row_methods,
)
def raw_attention(
    trace: Trace,
    *,
    block: Annotated[int, Block(from_end=True)] = -1,
    head: Annotated[int, Head()] | None = None,
    query: Annotated[int, Patch()] | Literal["readout"] = "readout",
) -> Relevance:
    """Attention of one query in one block, mean over heads or one head.

    A_l[query] with l = ``block`` (negative counts from the end). ``query``: ``"readout"`` (what the classifier
    reads: the class token, or the mean over patches), or a patch's row-major index. The flow holds every block.
    ``extras["heads"]`` (B, H, N): the rows per head."""
    sites = chain_sites(trace)
    if not sites:
        raise MethodError("no block has attention rows over tokens")
    rows = [site_row(trace, site, query) for site in sites]
    heads = rows[block]
    if head is not None and head >= heads.shape[1]:
        raise MethodError(f"option 'head' is from 0 to {heads.shape[1] - 1} in block {block}, got {head}")

    def fuse(row: Tensor) -> Tensor:
        return row.mean(1) if head is None else row[:, min(head, row.shape[1] - 1)]

    return Relevance(fuse(heads), flow=torch.stack([fuse(row) for row in rows], 1), extras={"heads": heads})


def site_row(trace: Trace, site: AttentionSite, query: int | Literal["readout"]) -> Tensor:
    """Attention row per head in token coordinates, (B, H, N)."""
    layout = trace.layout
    if query == "readout":
        found = _readout_row(trace, site)
    else:
        if site.info.kind == "class":
            raise MethodError("a class-attention block has no patch queries; use query='readout'")
        offset = layout.prefix_count - (query_slice(site, layout).start or 0)
        found = site.row(query + offset)
    return spread(found, site, layout)


def _readout_row(trace: Trace, site: AttentionSite) -> Tensor:
    if reads_class_token(trace, site):
        return site.cls_attention()
    weights = trace.readout()[:, query_slice(site, trace.layout)]
    weights = weights / weights.sum(1, keepdim=True).clamp_min(1e-12)
    # what is read is not among these queries (CaiT's class token): uniform
    weights = torch.where(weights.sum(1, keepdim=True) > 0, weights, 1.0 / weights.shape[1])
    row = torch.zeros(site.batch, site.heads, site.keys, device=weights.device)
    for queries in site.chunks():
        row += (weights[:, None, None, queries] @ site.attention(queries))[:, :, 0]
    return row


def spread(row: Tensor, site: AttentionSite, layout: TokenLayout) -> Tensor:
    """A row over keys (..., Nk) in token coordinates (..., N)."""
    full = row.new_zeros(*row.shape[:-1], layout.tokens)
    full[..., key_slice(site, layout)] = row
    return full
