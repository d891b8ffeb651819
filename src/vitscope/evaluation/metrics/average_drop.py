"""Average drop, increase and gain of the confidence on the picture times its map, and ADCC.

With e = x ∘ m̂ (m̂ min-max to [0, 1] at the size of the picture; a constant map becomes ones), p and p_e the
probability of the explained class on x and e. A constant map wins the average drop, so it never stands alone:
asking for it adds the increase and the gain.
"""

from __future__ import annotations

import torch
from torch import Tensor

from vitscope.evaluation.case import Subject
from vitscope.evaluation.metric import register_metric
from vitscope.evaluation.rank_statistics import pearson
from vitscope.evaluation.removal.pixels import unit_range

_DROP = "Chattopadhyay et al. 2018 (Grad-CAM++), arXiv 1710.11063"
_GAIN = "Zhang et al. 2024 (Opti-CAM), arXiv 2301.07002"
_ADCC = "Poppi et al. 2021, arXiv 2104.10252"


def _confidence(subject: Subject) -> tuple[Tensor, Tensor]:
    """p and p_e, each (B,)."""

    def make() -> Tensor:
        masked = _masked(subject)
        index = torch.arange(len(masked), device=masked.device)
        return subject.case.perturber.pictures(index, lambda part: masked[part]).score("probability")

    return subject.case.perturber.clean().score("probability"), subject.once("masked confidence", make)


def _masked(subject: Subject) -> Tensor:
    return subject.once("masked", lambda: subject.case.images * unit_range(subject.pixels).unsqueeze(1))


@register_metric(
    "average-drop",
    family="average drop",
    title="average drop of confidence on picture × map",
    citation=_DROP,
    higher_is_better=False,
    beside=("average-increase", "average-gain"),
)
def average_drop(subject: Subject) -> Tensor:
    """max(0, p − p_e) / p, (B,)."""
    return average_drop_of(*_confidence(subject))


@register_metric(
    "average-increase",
    family="average drop",
    title="share of pictures whose confidence rises",
    citation=_DROP,
    higher_is_better=True,
)
def average_increase(subject: Subject) -> Tensor:
    """1 where p_e > p, else 0, (B,)."""
    clean, masked = _confidence(subject)
    return (masked > clean).float()


@register_metric(
    "average-gain",
    family="average drop",
    title="average gain of confidence on picture × map",
    citation=_GAIN,
    higher_is_better=True,
)
def average_gain(subject: Subject) -> Tensor:
    """max(0, p_e − p) / (1 − p), (B,); undefined where p is 1."""
    clean, masked = _confidence(subject)
    room = 1 - clean
    return torch.where(room > 0, (masked - clean).clamp_min(0) / room.clamp_min(1e-12), torch.nan)


@register_metric(
    "adcc",
    family="average drop",
    title="harmonic mean of coherency, simplicity and 1 − drop",
    citation=_ADCC,
    higher_is_better=True,
    requires=("model",),
)
def adcc(subject: Subject) -> Tensor | None:
    """3 / (1/Coherency + 1/(1 − Complexity) + 1/(1 − AD)), (B,).

    Coherency is (1 + r) / 2 with r the correlation of the maps of x and of x ∘ m̂ for the same class, Complexity the
    mean of m̂. Undefined where a map is constant; 0 where one of the three terms is 0.
    """
    if subject.explain is None:
        return None
    again = subject.explain(_masked(subject), subject.case.classes)
    coherency = (1 + pearson(subject.flat, again.flatten(1))) / 2
    simplicity = 1 - unit_range(subject.pixels).mean(dim=(1, 2)).double()
    kept = 1 - average_drop_of(*_confidence(subject)).double()
    parts = torch.stack([coherency, simplicity, kept])
    value = 3 / (1 / parts.clamp_min(1e-12)).sum(0)
    value = torch.where((parts <= 0).any(0), torch.zeros_like(value), value)
    return torch.where(torch.isnan(coherency), torch.nan, value)


def average_drop_of(clean: Tensor, masked: Tensor) -> Tensor:
    """max(0, p − p_e) / p."""
    return (clean - masked).clamp_min(0) / clean
