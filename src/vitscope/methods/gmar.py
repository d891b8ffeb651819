"""GMAR, gradient-driven multi-head attention rollout (arXiv 2504.19414), in three readings.

For the explained score: s_lh = sum|G_lh| (L1) or sqrt(sum G_lh^2) (L2), w_lh = s_lh / sum_h s_lh,
A_l = sum_h w_lh A_lh, then a rollout of the weighted attention.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from vitscope.methods.applicability import chained_methods
from vitscope.methods.chain import (
    chain_sites,
    rollout_rows,
    rows_times,
    step,
    step_fused_heads,
    token_sites,
    uniform_heads,
)
from vitscope.methods.registry import register
from vitscope.methods.relevance import Needs, Relevance
from vitscope.models.anatomy import Anatomy
from vitscope.options.bounds import Share, StartBlock, Weight
from vitscope.tracing import AttentionSite, Capture, Trace
from vitscope.tracing.interception.explicit_attention import Matrices

Norm = Literal["l1", "l2"]
Scope = Literal["block", "global"]
ORDERS: dict[Norm, int] = {"l1": 1, "l2": 2}
CITATION = "Jo, Jang and Park, GMAR, 2025, arXiv 2504.19414"


def head_weights(
    trace: Trace, *, norm: Norm = "l1", scope: Scope = "block", positive: bool = False
) -> Tensor:
    """GMAR's head weights, (B, L, H) float32; blocks with fewer heads are padded with 0.

    ``norm``: l1 or l2 of G. ``scope``: ``block`` normalises over the heads of a block, ``global`` over all heads
    of all blocks (times L, so that a block's weights still sum to 1 on average). ``positive``: only positive
    gradients count. A sum that is 0 or not finite gives uniform weights."""
    order = ORDERS[norm]
    sites = token_sites(trace)
    H = max(site.heads for site in sites)
    strengths, uniform = [], []
    for site in sites:
        strength = _positive_norm(site, order) if positive else site.gradient_norm(order)
        strengths.append(torch.nn.functional.pad(strength, (0, H - site.heads)))
        uniform.append(torch.nn.functional.pad(uniform_heads(site), (0, H - site.heads)))
    s, flat = torch.stack(strengths, 1), torch.stack(uniform, 1)
    total = s.sum(2, keepdim=True) if scope == "block" else s.sum((1, 2), keepdim=True) / len(sites)
    usable = torch.isfinite(total) & (total > 0)
    return torch.where(usable, s / torch.where(usable, total, torch.ones_like(total)), flat)


def _positive_norm(site: AttentionSite, order: int) -> Tensor:
    total = torch.zeros(site.batch, site.heads, device=site.device)
    for heads, _, gradient in site.attention_gradient_tiles():
        positive = gradient.clamp_min_(0)
        total[:, heads] += (positive if order == 1 else positive.square_()).sum((-2, -1))
    return total if order == 1 else total.sqrt()


@register(
    "gmar",
    family="attention-gradient",
    title="GMAR",
    citation=CITATION,
    class_specific=True,
    backwards=1,
    has_flow=True,
    needs=Needs(gradient=True, capture=Capture(matrices=Matrices.NORM)),
    applies=chained_methods,
)
def gmar(
    trace: Trace,
    *,
    norm: Norm = "l1",
    alpha: Weight = 1.0,
    start_block: StartBlock = 0,
    weights: Scope = "block",
    positive: bool = False,
    discard: Share = 0.0,
) -> Relevance:
    """Rollout of gradient-weighted heads: row of the product of rownorm(sum_h w_lh A_lh + alpha I).

    Uniform weights give plain rollout exactly. ``norm``: l1 or l2; ``alpha``: weight of the residual;
    ``start_block``; ``weights``: block or global normalisation; ``positive``: positive gradients only; ``discard``:
    share of each row's smallest entries dropped (an extension). ``extras["head_weights"]`` (B, L, H)."""
    sites, layout = chain_sites(trace), trace.layout
    w = head_weights(trace, norm=norm, scope=weights, positive=positive)

    def advance(rows: Tensor, index: int) -> Tensor:
        block = start_block + index
        site = sites[block]
        own = w[:, block, : site.heads]
        if discard == 0:
            return step(rows, site, layout, own, alpha)
        return step_fused_heads(
            rows, site, layout, lambda q: (site.attention(q) * own[:, :, None, None]).sum(1), alpha, discard
        )

    flow = rollout_rows(trace, sites[start_block:], advance)
    return Relevance(flow[:, -1], flow=flow, extras={"head_weights": w})


@register(
    "gmar-paper",
    family="attention-gradient",
    title="GMAR as printed",
    citation=CITATION,
    class_specific=True,
    backwards=1,
    needs=Needs(gradient=True, capture=Capture(matrices=Matrices.NORM)),
    applies=chained_methods,
)
def gmar_paper(trace: Trace, *, norm: Norm = "l1", alpha: Weight = 1.0) -> Relevance:
    """GMAR with the recursion as printed: R <- R A_l + alpha I from the first block, no row normalisation.

    ``extras["head_weights"]`` (B, L, H)."""
    layout, sites = trace.layout, chain_sites(trace)
    w = head_weights(trace, norm=norm)
    start = trace.readout()[:, None]
    rows = start
    for index, site in enumerate(sites):
        rows = rows_times(rows, site, layout, w[:, index, : site.heads]) + alpha * start
    return Relevance(rows[:, 0], extras={"head_weights": w})


def _plain_self_attention(anatomy: Anatomy) -> str | None:
    reason = anatomy.why_no_row()
    if reason is not None:
        return reason
    layout = anatomy.layout
    if layout is None or layout.prefix_count != 1:
        return "the released demo assumes one class token before the patches"
    if any(site.kind != "self" or site.keys != layout.tokens for site in anatomy.block_sites):
        return "the released demo assumes that every block attends over all tokens"
    if anatomy.width % max(anatomy.heads, 1):
        return "the released demo cuts the width into as many parts as there are heads, which does not divide here"
    return None


@register(
    "gmar-official",
    family="attention-gradient",
    title="GMAR, the released demo",
    citation=CITATION + "; repository sehyeongjo/GMAR",
    class_specific=True,
    backwards=1,
    needs=Needs(gradient=True, capture=Capture(norms=True), precision="float32"),
    applies=_plain_self_attention,
    follows_rows=True,
)
def gmar_official(trace: Trace, *, norm: Norm = "l1", residual: Weight = 0.25) -> Relevance:
    """What the authors' released demo computes, for comparison only; it differs from the paper in every step.

    The weights are norms of the gradient at the *last* block's first LayerNorm output over patch tokens, whose D
    channels are cut into H parts that are called heads; one weight vector serves all blocks; heads are never
    mixed, R_h <- R_h (w_h A_lh) + residual * 5e-5 * mean(R) I from the first block on; the map is a misaligned
    view of head 0: the value at p is the mean of the entries (row, column) of the patch rows with
    (row + column) mod P = p."""
    layout, sites = trace.layout, chain_sites(trace)
    H = trace.anatomy.heads
    gradient = trace.norm_gradients[-1][:, layout.patch_slice].float()
    parts = gradient.unflatten(-1, (H, -1)).permute(0, 2, 1, 3).flatten(2)
    strength = parts.norm(p=ORDERS[norm], dim=-1)
    w = strength / strength.sum(1, keepdim=True).clamp_min(torch.finfo(torch.float32).tiny)
    N, P = layout.tokens, layout.patches
    eye = torch.eye(N, device=gradient.device)
    R = eye.expand(trace.batch, H, N, N)
    for site in sites:
        R = R @ (site.attention() * w[:, :, None, None])
        R = R + residual * 5e-5 * R.mean((1, 2, 3))[:, None, None, None] * eye
    block = R[:, 0, layout.prefix_count :, :].flatten(1)
    view = block.reshape(trace.batch, N, P).mean(1)
    prefix = view.new_zeros(trace.batch, layout.prefix_count)
    return Relevance(
        torch.cat([prefix, view], 1), extras={"head_weights": w[:, None].expand(-1, len(sites), -1)}
    )
