"""Deletion and insertion with RISE's parameters, and a variant that removes whole patches.

Petsiuk, Das, Saenko, "RISE", BMVC 2018: the probability of the explained class while the most relevant pixels are
deleted to zero in the normalised space, or inserted into a blurred picture (11×11 kernel, σ 5); one row of pixels
(224 of a 224×224 picture) a step; area (Σ − ½ first − ½ last) / (n − 1). The curves, with their value at step 0, are
kept beside the area.
"""

from __future__ import annotations

import torch
from torch import Tensor

from vitscope.evaluation.case import Subject
from vitscope.evaluation.curves import area, mean_rise, ranks_of, step_counts
from vitscope.evaluation.metric import register_metric
from vitscope.evaluation.removal_pixels import cell_mask, composite, rise_blur

_CITATION = "Petsiuk et al. 2018, arXiv 1806.07421"


def pixel_curve(subject: Subject, start: Tensor, finish: Tensor, ranks: Tensor, counts: list[int]) -> Tensor:
    """Probability while pixels go over from ``start`` to ``finish`` in order of ``ranks`` (B, H, W): (B, K)."""
    runner = subject.case.perturber
    batch, steps = len(subject.case), len(counts)
    index = torch.arange(batch, device=ranks.device).repeat_interleave(steps)
    changed = torch.tensor(counts, device=ranks.device).repeat(batch)

    def build(part: slice) -> Tensor:
        chosen = index[part]
        waiting = ranks[chosen] >= changed[part].view(-1, 1, 1)
        return composite(start[chosen], finish[chosen], waiting.unsqueeze(1))

    return runner.pictures(index, build).score("probability").view(batch, steps)


def _pixelwise(subject: Subject, kind: str) -> Tensor:
    height, width = subject.case.size
    ranks = ranks_of(subject.pixel_order()).view(-1, height, width)
    counts = [*range(0, height * width, width), height * width]
    values = pixel_curve(subject, *_ends(subject, kind), ranks, counts)
    subject.keep_curve(kind, torch.tensor(counts) / (height * width), values)
    return mean_rise(values)


def _patchwise(subject: Subject, kind: str) -> Tensor:
    grid, size = subject.case.perturber.grid, subject.case.size
    ranks = ranks_of(subject.order())
    counts = step_counts(ranks.shape[1], subject.case.protocol.steps)
    values = pixel_curve(subject, *_ends(subject, kind), cell_mask(ranks, grid, size).squeeze(1), counts)
    fractions = torch.tensor(counts, device=values.device) / ranks.shape[1]
    subject.keep_curve(f"{kind}-patch", fractions, values)
    return area(values, fractions)


def _ends(subject: Subject, kind: str) -> tuple[Tensor, Tensor]:
    images = subject.case.images
    if kind == "deletion":
        return images, subject.case.perturber.fill("zero")
    return subject.case.once("rise blur", lambda: rise_blur(images)), images


@register_metric(
    "deletion",
    family="insertion-deletion",
    title="RISE deletion, area of the probability",
    citation=_CITATION,
    higher_is_better=False,
)
def deletion(subject: Subject) -> Tensor:
    """Area of the probability while the most relevant pixels are set to zero, (B,)."""
    return _pixelwise(subject, "deletion")


@register_metric(
    "insertion",
    family="insertion-deletion",
    title="RISE insertion, area of the probability",
    citation=_CITATION,
    higher_is_better=True,
)
def insertion(subject: Subject) -> Tensor:
    """Area of the probability while the most relevant pixels are put into a blurred picture, (B,)."""
    return _pixelwise(subject, "insertion")


@register_metric(
    "deletion-patch",
    family="insertion-deletion",
    title="deletion of whole patches, area of the probability",
    citation=_CITATION,
    higher_is_better=False,
)
def deletion_patch(subject: Subject) -> Tensor:
    """Deletion patch by patch in the protocol's steps, trapezoid over the fraction, (B,)."""
    return _patchwise(subject, "deletion")


@register_metric(
    "insertion-patch",
    family="insertion-deletion",
    title="insertion of whole patches, area of the probability",
    citation=_CITATION,
    higher_is_better=True,
)
def insertion_patch(subject: Subject) -> Tensor:
    """Insertion patch by patch in the protocol's steps, trapezoid over the fraction, (B,)."""
    return _patchwise(subject, "insertion")
