"""MIF and LIF curves, SRG, MRG and LRG: the primary measure of faithfulness.

c_MIF(k) is the score without the k most relevant patches, c_LIF(k) without the k least relevant ones; areas by the
trapezoid rule over the removed fraction 0..1. Both curves share their end points, so these cancel in SRG.
Blücher, Vielhaben, Strodthoff, "Decoupling pixel flipping and occlusion strategy for consistent XAI benchmarks", 2024.
"""

from __future__ import annotations

from torch import Tensor

from vitscope.evaluation.case import Subject
from vitscope.evaluation.metric import register_metric
from vitscope.evaluation.removal.curves import area

_CITATION = "Blücher et al. 2024, arXiv 2401.06654"


def _areas(subject: Subject) -> tuple[Tensor, Tensor]:
    def make() -> tuple[Tensor, Tensor]:
        curves, quantity = subject.curves(), subject.case.protocol.score
        mif, lif = curves.mif.score(quantity), curves.lif.score(quantity)
        subject.keep_curve("mif", curves.fractions, mif)
        subject.keep_curve("lif", curves.fractions, lif)
        return area(mif, curves.fractions), area(lif, curves.fractions)

    return subject.once("areas", make)


@register_metric(
    "srg",
    family="removal",
    title="symmetric relevance gain, AUC(LIF) − AUC(MIF)",
    citation=_CITATION,
    higher_is_better=True,
    chance=0.0,
)
def srg(subject: Subject) -> Tensor:
    """AUC(LIF) − AUC(MIF), (B,), in units of the protocol's score; 0 in expectation for random maps."""
    mif, lif = _areas(subject)
    return lif - mif


@register_metric(
    "mif",
    family="removal",
    title="area while the most relevant patches go first",
    citation=_CITATION,
    higher_is_better=False,
)
def mif(subject: Subject) -> Tensor:
    """Area under the curve of most-relevant-first removal, (B,)."""
    return _areas(subject)[0]


@register_metric(
    "lif",
    family="removal",
    title="area while the least relevant patches go first",
    citation=_CITATION,
    higher_is_better=True,
)
def lif(subject: Subject) -> Tensor:
    """Area under the curve of least-relevant-first removal, (B,)."""
    return _areas(subject)[1]


@register_metric(
    "mrg",
    family="removal",
    title="most relevant gain, AUC(random) − AUC(MIF)",
    citation=_CITATION,
    higher_is_better=True,
    chance=0.0,
)
def mrg(subject: Subject) -> Tensor:
    """AUC of random removal − AUC(MIF), (B,)."""
    return subject.case.random_area() - _areas(subject)[0]


@register_metric(
    "lrg",
    family="removal",
    title="least relevant gain, AUC(LIF) − AUC(random)",
    citation=_CITATION,
    higher_is_better=True,
    chance=0.0,
)
def lrg(subject: Subject) -> Tensor:
    """AUC(LIF) − AUC of random removal, (B,)."""
    return _areas(subject)[1] - subject.case.random_area()
