"""DAAM, the dynamic accumulated attention map (arXiv 2503.14640): what every block adds to the class token.

Per block b, with a = A_b[class, :] and C_b = dT_b[class]: the class token's update is the sum over tokens of
S_b[n] = a[n] V[n], one vector per token; U_b[n] = sum_c relu(C_b[c]) S_b[n, c]; L_b = relu(U_b); M_b = sum_{i<=b} L_i.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from vitscope.errors import MethodError
from vitscope.methods.chain import chain_sites, key_slice, query_slice
from vitscope.methods.daam_stages import stage_relevance
from vitscope.methods.registry import register
from vitscope.methods.relevance import Needs, Relevance
from vitscope.models.anatomy import Anatomy
from vitscope.tracing import AttentionSite, Capture, Trace, Vit
from vitscope.tracing.calls.calling import Inputs

CITATION = "Liao et al., DAAM, 2025, arXiv 2503.14640"


def daam_sites(trace: Trace) -> list[AttentionSite]:
    """The sites that DAAM adds up: class-attention blocks alone where there are any (CaiT, XCiT), else all."""
    sites = chain_sites(trace)
    only_class = [site for site in sites if site.info.kind == "class"]
    return only_class or sites


def pooled_row(trace: Trace, site: AttentionSite) -> tuple[Tensor, Tensor]:
    """(a, C): the attention row (B, H, Nk) of what the classifier reads, and the gradient (B, H, d) at its T.

    For a class token these are A[class] and dT[class]. For a pooled model the read token is sum_q r_q T_q with the
    pooling's weights r: a = sum_q r_q A[q], and C = sum_q dT_q, the score's gradient for a common shift."""
    gradient = site.output_gradient
    if gradient is None:
        raise MethodError("DAAM needs a trace with gradient=True")
    if site.info.kind == "class":
        return site.row(0), gradient[:, :, 0].float()
    weights = trace.readout()[:, query_slice(site, trace.layout)]
    if site.class_query is not None and bool((weights[:, site.class_query] == 1).all()):
        return site.row(site.class_query), gradient[:, :, site.class_query].float()
    weights = weights / weights.sum(1, keepdim=True).clamp_min(1e-12)
    row = torch.zeros(site.batch, site.heads, site.keys, device=weights.device)
    for queries in site.chunks():
        row += (weights[:, None, None, queries] @ site.attention(queries))[:, :, 0]
    read = (weights > 0).to(torch.float32)
    return row, (gradient.float() * read[:, None, :, None]).sum(2)


def block_contribution(trace: Trace, site: AttentionSite, channel_relu: bool = True) -> Tensor:
    """U per head before the sum over heads: (B, H, N) in token coordinates, no relu on it."""
    row, gradient = pooled_row(trace, site)
    channels = gradient.clamp_min(0) if channel_relu else gradient
    share = row * (site.v.float() @ channels[..., None])[..., 0]
    full = share.new_zeros(*share.shape[:2], trace.layout.tokens)
    full[..., key_slice(site, trace.layout)] = share
    return full


def by_tokens(anatomy: Anatomy) -> bool:
    """True where the class token's updates are seen; other picture models are explained stage by stage."""
    seen = any(site.kind in ("self", "class") for site in anatomy.block_sites)
    return seen and anatomy.why_no_tokens() is None


def by_stages(anatomy: Anatomy) -> bool:
    """True where feature maps at several resolutions are what the model works on: CNNs and hierarchical transformers.

    A plain ViT whose tokens cannot be used has no such maps: its patch embedding is no stage of a pyramid."""
    if anatomy.image_size is None or anatomy.trailing or anatomy.misplaced is not None:
        return False
    layout = anatomy.layout
    one_grid = layout is not None and all(b.tokens in (layout.tokens, layout.patches) for b in anatomy.blocks)
    one_grid = one_grid and not any(site.kind in ("window", "reduced") for site in anatomy.block_sites)
    return not (anatomy.asunder is not None and one_grid)


def _applies(anatomy: Anatomy) -> str | None:
    if by_tokens(anatomy) or by_stages(anatomy):
        return None
    return anatomy.why_no_tokens() or "none of its blocks has token attention"


def _needs(vit: Vit, inputs: Inputs, options: Mapping[str, Any]) -> Needs:
    stages = not by_tokens(vit.probe_for(inputs).anatomy)
    return Needs(gradient=True, capture=Capture(stages=stages))


@register(
    "daam",
    family="flow",
    title="DAAM",
    citation=CITATION,
    class_specific=True,
    backwards=1,
    has_flow=True,
    accumulates=True,
    needs=_needs,
    applies=_applies,
    follows_rows=True,
    takes_libra=True,
)
def daam(trace: Trace, *, normalise_blocks: bool = False, channel_relu: bool = True) -> Relevance:
    """Accumulated class-token updates, gradient-weighted: M_b = sum_{i<=b} relu(U_i); the map is M_L.

    ``normalise_blocks``: min-max each L_b over the patches before adding (what the released code can do; the
    equations do not). ``channel_relu``: relu on the channel gradients C. ``extras["block_maps"]`` (B, L, N) are the
    L_b, ``extras["head_share"]`` (B, L, H) each head's part of sum_n relu(U_b[n]).

    CNNs and hierarchical transformers (beyond the paper) are explained stage by stage, see ``daam_stages``."""
    if not by_tokens(trace.anatomy):
        return stage_relevance(trace, normalise_blocks, channel_relu)
    return accumulate(trace, normalise_blocks, channel_relu)


def accumulate(trace: Trace, normalise_blocks: bool, channel_relu: bool) -> Relevance:
    """DAAM over the blocks of a token model."""
    layout = trace.layout
    maps, shares = [], []
    sites = daam_sites(trace)
    H = max(site.heads for site in sites)
    for site in sites:
        heads = block_contribution(trace, site, channel_relu)
        total = heads.sum(1)
        active = (total > 0).to(heads.dtype)[:, None]
        block = total.clamp_min(0)
        share = (heads * active).sum(2) / block.sum(1, keepdim=True).clamp_min(1e-12)
        shares.append(torch.nn.functional.pad(share, (0, H - site.heads)))
        maps.append(_normalise(block, layout.patch_slice) if normalise_blocks else block)
    stacked = torch.stack(maps, 1)
    flow = stacked.cumsum(1)
    return Relevance(
        flow[:, -1], flow=flow, extras={"block_maps": stacked, "head_share": torch.stack(shares, 1)}
    )


def _normalise(block: Tensor, patches: slice) -> Tensor:
    low = block[:, patches].amin(1, keepdim=True)
    high = block[:, patches].amax(1, keepdim=True)
    spread = high - low
    return torch.where(spread > 0, (block - low) / spread.clamp_min(1e-12), torch.zeros_like(block))
