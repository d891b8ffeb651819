"""Flow metrics: how the faithfulness of an accumulated map M_b grows block by block."""

from __future__ import annotations

import torch
from torch import Tensor

from vitscope.evaluation.case import Subject
from vitscope.evaluation.metric import register_metric
from vitscope.evaluation.removal.curves import area, removal_order

_CITATION = "vitscope"
SHARE = 0.9


def _gain_by_block(subject: Subject) -> Tensor | None:
    """SRG of M_1 ... M_L, (B, L)."""
    flow = subject.flow
    if flow is None:
        return None

    def make() -> Tensor:
        case, gains = subject.case, []
        for block in range(flow.shape[1]):
            curves = case.curves(removal_order(flow[:, block], case.keys, case.protocol.seed))
            mif, lif = curves.mif.score(case.protocol.score), curves.lif.score(case.protocol.score)
            gains.append(area(lif, curves.fractions) - area(mif, curves.fractions))
        values = torch.stack(gains, dim=1)
        blocks = torch.arange(1, flow.shape[1] + 1, device=flow.device) / flow.shape[1]
        subject.keep_curve("flow-srg", blocks, values)
        return values

    return subject.once("gain by block", make)


def block_reaching_of(sums: Tensor) -> Tensor:
    """First block, counted from 0, at which the mean SRG reaches 90 % of its final value, from sums (..., L + 1).

    Undefined where the final SRG is not positive.
    """
    gains, count = sums[..., :-1], sums[..., -1:]
    mean = gains / count.clamp_min(1)
    final = mean[..., -1:]
    first = (mean >= SHARE * final).double().argmax(-1).double()
    return torch.where((final.squeeze(-1) > 0) & (count.squeeze(-1) > 0), first, torch.nan)


@register_metric(
    "flow-srg",
    family="flow",
    title="SRG of M_b, mean over the blocks b",
    citation=_CITATION,
    higher_is_better=True,
    requires=("flow",),
    chance=0.0,
)
def flow_srg(subject: Subject) -> Tensor | None:
    """Mean over blocks of the SRG of the accumulated map, (B,); the curve over blocks is kept."""
    gains = _gain_by_block(subject)
    return None if gains is None else gains.mean(1)


@register_metric(
    "flow-block-90",
    family="flow",
    title="block, counted from 0, at which 90 % of the final SRG is reached",
    citation=_CITATION,
    higher_is_better=None,
    requires=("flow",),
    finalise=block_reaching_of,
)
def flow_block_90(subject: Subject) -> Tensor | None:
    """SRG of every block and 1 for the picture, (B, L + 1); the value comes from the mean curve."""
    gains = _gain_by_block(subject)
    return None if gains is None else torch.cat([gains, torch.ones_like(gains[:, :1])], dim=1)
