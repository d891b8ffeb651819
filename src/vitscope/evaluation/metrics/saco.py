"""SaCo, the salience-guided faithfulness coefficient.

Wu, Kang, Tang, Hong, Yan, "On the faithfulness of Vision Transformer explanations", CVPR 2024: patches in rank order
form K equal groups G_1..G_K with salience s_i; ∇_i is the drop of the score when G_i alone is removed. Over all
pairs i < j, w_ij = s_i − s_j if ∇_i ≥ ∇_j, else −(s_i − s_j); SaCo = Σ w / Σ |w|, in [−1, 1].
"""

from __future__ import annotations

import torch
from torch import Tensor

from vitscope.evaluation.case import Subject
from vitscope.evaluation.metric import register_metric
from vitscope.evaluation.removal.curves import ranks_of

GROUPS = 10


def saco_of(salience: Tensor, drops: Tensor) -> Tensor:
    """SaCo from group salience and drops, each (B, K), groups in order of rank; NaN where no pair differs."""
    salience = salience.double()
    first, second = torch.triu_indices(salience.shape[1], salience.shape[1], offset=1, device=salience.device)
    gap = salience[:, first] - salience[:, second]
    weight = torch.where(drops[:, first] >= drops[:, second], gap, -gap)
    total = weight.abs().sum(1)
    return torch.where(total > 0, weight.sum(1) / total.clamp_min(1e-300), torch.nan)


@register_metric(
    "saco",
    family="saco",
    title="salience-guided faithfulness coefficient",
    citation="Wu et al. 2024, arXiv 2404.01415",
    higher_is_better=True,
    chance=0.0,
)
def saco(subject: Subject) -> Tensor:
    """SaCo with K = 10 groups (as many as there are patches when there are fewer), (B,)."""
    case = subject.case
    patches = subject.flat.shape[1]
    groups = min(GROUPS, patches)
    group = ranks_of(subject.order()) * groups // patches
    keep = group.unsqueeze(1) != torch.arange(groups, device=group.device).view(1, -1, 1)
    index = torch.arange(len(case), device=group.device).repeat_interleave(groups)
    quantity = case.protocol.score
    left = case.perturber.remove(index, keep.flatten(0, 1)).score(quantity).view(len(case), groups)
    salience = torch.zeros(left.shape, dtype=torch.float64, device=left.device)
    salience.scatter_add_(1, group, subject.flat.double())
    return saco_of(salience, case.perturber.clean().score(quantity).view(-1, 1) - left)
