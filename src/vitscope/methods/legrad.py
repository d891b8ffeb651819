"""LeGrad (Bousselham et al., ICCV 2025): every block's attention gradient for the score read at that block."""

from __future__ import annotations

import torch

from vitscope.errors import MethodError
from vitscope.methods.chain import key_slice
from vitscope.methods.registry import register
from vitscope.methods.relevance import Needs, Relevance
from vitscope.models.anatomy import Anatomy
from vitscope.options.bounds import StartBlock
from vitscope.tracing import Trace
from vitscope.tracing.passes.local_gradients import local_sites
from vitscope.tracing.passes.resume import can_resume


def _applies(anatomy: Anatomy) -> str | None:
    reason = anatomy.why_no_tokens()
    if reason is not None:
        return reason
    if any(s.kind != "self" for s in anatomy.block_sites) or len({b.tokens for b in anatomy.blocks}) != 1:
        return "the score is read off every block, which must all return the whole token sequence"
    cannot = can_resume(anatomy)
    return f"the score cannot be read off a single block, because {cannot}" if cannot is not None else None


@register(
    "legrad",
    family="attention-gradient",
    title="LeGrad",
    citation="Bousselham, Boggust, Chaybouti, Strobelt and Kuehne, ICCV 2025, arXiv 2404.03214",
    class_specific=True,
    forwards=1.3,
    backwards=1,
    has_flow=True,
    needs=Needs(),
    applies=_applies,
    takes_libra=True,
)
def legrad(trace: Trace, *, start_block: StartBlock = 0) -> Relevance:
    """Mean over blocks of E_l = mean over heads and queries of relu(ds_l/dA_l).

    s_l is the target read from block l's output through the model's own pooling, norm and head. Every block's input
    is detached, so one gradient call over the sum of all s_l gives every local gradient. The flow's entry b is the
    mean over blocks start…b."""
    if trace.resolved is None:
        raise MethodError("LeGrad needs a target; this trace has none")
    maps = []
    layout = trace.layout
    sites = local_sites(
        trace.model.module,
        trace.anatomy,
        trace.inputs,
        trace.resolved,
        trace.rules,
        trace.model.precision,
        trace.request.ablations,
    )
    for site in sites[start_block:]:
        total = torch.zeros(site.batch, site.keys, device=site.device)
        for queries in site.chunks():
            total += site.attention_gradient(queries).clamp_min(0).sum((1, 2))
        full = total.new_zeros(site.batch, layout.tokens)
        full[:, key_slice(site, layout)] = total / (site.heads * site.queries)
        maps.append(full)
    stacked = torch.stack(maps, 1)
    count = torch.arange(1, stacked.shape[1] + 1, device=stacked.device)[None, :, None]
    flow = stacked.cumsum(1) / count
    return Relevance(flow[:, -1], flow=flow, extras={"block_maps": stacked})
