"""Completeness: do signed maps add up to the score they explain?"""

from __future__ import annotations

import torch
from torch import Tensor

from vitscope.evaluation.case import Subject
from vitscope.evaluation.metric import register_metric


def _baseline(subject: Subject) -> Tensor:
    case = subject.case

    def make() -> Tensor:
        index = torch.arange(len(case), device=case.images.device)
        zero = case.perturber.fill("zero")
        return case.perturber.pictures(index, lambda part: zero[part]).score(case.protocol.score)

    return case.once("zero baseline", make)


def _total(subject: Subject) -> Tensor:
    """Σ m over all tokens, prefix tokens included; over the patches where a method gives no more."""
    whole = subject.once("total", lambda: None if subject.total_of is None else subject.total_of())
    return subject.flat.double().sum(1) if whole is None else whole.double().to(subject.maps.device)


@register_metric(
    "completeness",
    family="completeness",
    title="|f(x) − f(0) − Σ m|",
    citation="Sundararajan et al. 2017, arXiv 1703.01365",
    higher_is_better=False,
)
def completeness(subject: Subject) -> Tensor | None:
    """|f(x) − f(x₀) − Σ m| with x₀ zero in the normalised space, (B,), in units of the score. Signed maps only."""
    if not subject.signed:
        return None
    clean = subject.case.perturber.clean().score(subject.case.protocol.score)
    return (clean.double() - _baseline(subject).double() - _total(subject)).abs()


@register_metric(
    "conservation",
    family="completeness",
    title="|f(x) − Σ m|, as layer-wise relevance propagation claims",
    citation="Bach et al. 2015; Achtibat et al. 2024, arXiv 2402.05602",
    higher_is_better=False,
)
def conservation(subject: Subject) -> Tensor | None:
    """|f(x) − Σ m|, (B,), in units of the score. Signed maps only."""
    if not subject.signed:
        return None
    clean = subject.case.perturber.clean().score(subject.case.protocol.score)
    return (clean.double() - _total(subject)).abs()
