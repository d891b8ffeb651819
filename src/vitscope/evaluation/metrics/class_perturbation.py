"""Positive and negative perturbation: accuracy against the label while pixels of the map are blackened.

Chefer, Gur, Wolf, "Transformer interpretability beyond attention visualization", CVPR 2021: 10, 20 ... 90 % of the
pixels of the bilinearly upsampled map become black before normalisation; top-1 accuracy; trapezoid over 0..0.9
with the untouched picture at 0, times 100 and not divided by 0.9, as published.
"""

from __future__ import annotations

import torch
from torch import Tensor

from vitscope.evaluation.case import Subject
from vitscope.evaluation.metric import register_metric
from vitscope.evaluation.removal.curves import area, ranks_of
from vitscope.evaluation.removal.pixels import composite

_CITATION = "Chefer et al. 2021, arXiv 2012.09838"


def _accuracy_area(subject: Subject, order: Tensor, name: str) -> Tensor:
    case = subject.case
    labels = case.require_labels().to(order.device)
    batch, pixels = order.shape
    ranks = ranks_of(order).view(batch, *case.size)
    counts = torch.tensor([int(pixels * step / 10) for step in range(1, 10)], device=order.device)
    index = torch.arange(batch, device=order.device).repeat_interleave(9)
    black = case.perturber.fill("black")

    def build(part: slice) -> Tensor:
        keep = ranks[index[part]] >= counts.repeat(batch)[part].view(-1, 1, 1)
        return composite(case.images[index[part]], black[index[part]], keep.unsqueeze(1))

    top = torch.cat(
        [case.perturber.clean().top.view(-1, 1), case.perturber.pictures(index, build).top.view(batch, 9)],
        dim=1,
    )
    fractions = torch.arange(10, device=order.device) / 10
    hits = (top == labels.view(-1, 1)).double()
    subject.keep_curve(name, fractions, hits)
    return 100 * area(hits, fractions)


@register_metric(
    "positive-perturbation",
    family="class perturbation",
    title="accuracy area while the most relevant pixels go first",
    citation=_CITATION,
    higher_is_better=False,
    requires=("labels",),
)
def positive_perturbation(subject: Subject) -> Tensor:
    """100 × area of top-1 accuracy, most relevant pixels first, (B,)."""
    return _accuracy_area(subject, subject.pixel_order(), "positive-perturbation")


@register_metric(
    "negative-perturbation",
    family="class perturbation",
    title="accuracy area while the least relevant pixels go first",
    citation=_CITATION,
    higher_is_better=True,
    requires=("labels",),
)
def negative_perturbation(subject: Subject) -> Tensor:
    """100 × area of top-1 accuracy, least relevant pixels first, (B,)."""
    return _accuracy_area(subject, subject.pixel_order().flip(1), "negative-perturbation")
