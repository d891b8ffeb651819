"""Localisation: how much of a map lies where the object, or the planted evidence, lies.

Maps are brought to the size of the picture by the protocol's upsampling. This is plausibility, not faithfulness: a
model may look elsewhere than a person expects, and centring alone scores .34 to .40 on photographs. With the mask of
planted evidence (worlds) the truth is known and the same numbers do measure faithfulness.
"""

from __future__ import annotations

import torch
from torch import Tensor

from vitscope.evaluation.case import Subject
from vitscope.evaluation.metric import register_metric
from vitscope.evaluation.rank_statistics import auroc as auroc_of
from vitscope.evaluation.rank_statistics import average_precision

_ARRAS = "Arras et al. 2022, arXiv 2003.07258"


@register_metric(
    "mass",
    family="localisation",
    title="share of positive relevance inside the mask",
    citation=_ARRAS,
    higher_is_better=True,
    requires=("masks",),
)
def mass(subject: Subject) -> Tensor:
    """Σ relu(m) inside the mask / Σ relu(m), (B,); undefined without positive relevance, and for an empty mask."""
    positive, masks = subject.pixels.clamp_min(0).double(), subject.case.require_masks()
    inside = (positive * masks).sum(dim=(1, 2))
    total = positive.sum(dim=(1, 2))
    return torch.where((total > 0) & masks.any(2).any(1), inside / total.clamp_min(1e-300), torch.nan)


@register_metric(
    "rank-accuracy",
    family="localisation",
    title="share of the K most relevant pixels inside a mask of K pixels",
    citation=_ARRAS,
    higher_is_better=True,
    requires=("masks",),
)
def rank_accuracy(subject: Subject) -> Tensor:
    """|top K ∩ mask| / K with K = |mask|, (B,); ties broken by a seeded draw; undefined for an empty mask."""
    inside = subject.case.require_masks().flatten(1).gather(1, subject.pixel_order()).double()
    size = inside.sum(1)
    among = torch.arange(inside.shape[1], device=inside.device) < size.view(-1, 1)
    return torch.where(size > 0, (inside * among).sum(1) / size.clamp_min(1), torch.nan)


@register_metric(
    "pointing",
    family="localisation",
    title="pointing game, the largest value lies inside",
    citation="Zhang et al. 2018, arXiv 1608.00507",
    higher_is_better=True,
    requires=("masks",),
)
def pointing(subject: Subject) -> Tensor:
    """1 where the largest value lies inside the mask, else 0, (B,); ties broken by a seeded draw."""
    masks = subject.case.require_masks().flatten(1)
    hit = masks.gather(1, subject.peak()[:, None]).squeeze(1).double()
    return torch.where(masks.any(1), hit, torch.nan)


@register_metric(
    "average-precision",
    family="localisation",
    title="pixel average precision against the mask",
    citation="average precision per picture",
    higher_is_better=True,
    requires=("masks",),
)
def pixel_average_precision(subject: Subject) -> Tensor:
    """Average precision of the pixels against the mask, per picture, (B,); equal values taken together."""
    return average_precision(subject.pixels.flatten(1), subject.case.require_masks().flatten(1))


@register_metric(
    "auroc",
    family="localisation",
    title="area under the ROC curve of the pixels against the mask",
    citation="AUROC per picture",
    higher_is_better=True,
    requires=("masks",),
    chance=0.5,
)
def auroc(subject: Subject) -> Tensor:
    """AUROC of the pixels against the mask, per picture, (B,); equal values counted half."""
    return auroc_of(subject.pixels.flatten(1), subject.case.require_masks().flatten(1))
