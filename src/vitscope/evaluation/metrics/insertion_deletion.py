"""Deletion and insertion with RISE's parameters, and a variant that removes whole patches.

Petsiuk, Das, Saenko, "RISE", BMVC 2018: the probability of the explained class while the most relevant pixels are
deleted to zero in the normalised space, or inserted into a blurred picture (11×11 kernel, σ 5); one row of pixels
(224 of a 224×224 picture) a step; area (Σ − ½ first − ½ last) / (n − 1). The curves, with their value at step 0, are
kept beside the area.
"""

from __future__ import annotations

import torch
from torch import Tensor

from vitscope.evaluation.case import Case, Subject
from vitscope.evaluation.metric import register_metric
from vitscope.evaluation.removal.curves import area, mean_rise, ranks_of, step_counts
from vitscope.evaluation.removal.pixels import composite, rise_blur

_CITATION = "Petsiuk et al. 2018, arXiv 1806.07421"


def pixel_curve(subject: Subject, kind: str, ranks: Tensor, counts: list[int]) -> Tensor:
    """Probability while pixels are deleted or inserted in order of ``ranks`` (B, H, W): (B, K).

    ``counts`` go from 0 to all; the two end points are shared by all methods.
    """
    case = subject.case
    start, finish = _ends(case, kind)
    inner = counts[1:-1]
    index = torch.arange(len(case), device=ranks.device).repeat_interleave(len(inner))
    changed = torch.tensor(inner, device=ranks.device).repeat(len(case))

    def build(part: slice) -> Tensor:
        chosen = index[part]
        waiting = ranks[chosen] >= changed[part].view(-1, 1, 1)
        return composite(start[chosen], finish[chosen], waiting.unsqueeze(1))

    clean, changed_end = case.perturber.clean().score("probability"), _replaced(case, kind)
    ends = (clean, changed_end) if kind == "deletion" else (changed_end, clean)
    middle = case.perturber.pictures(index, build).score("probability") if inner else clean[:0]
    return torch.cat([ends[0].view(-1, 1), middle.view(len(case), len(inner)), ends[1].view(-1, 1)], dim=1)


def _ends(case: Case, kind: str) -> tuple[Tensor, Tensor]:
    """From which pictures to which the curve goes."""
    if kind == "deletion":
        return case.images, case.perturber.fill("zero")
    return case.once("rise blur", lambda: rise_blur(case.images)), case.images


def _replaced(case: Case, kind: str) -> Tensor:
    """Probability of the end that is not the untouched picture, (B,)."""

    def make() -> Tensor:
        start, finish = _ends(case, kind)
        pictures = finish if kind == "deletion" else start
        index = torch.arange(len(case), device=pictures.device)
        return case.perturber.pictures(index, lambda part: pictures[part]).score("probability")

    return case.once(("end", kind), make)


def _pixelwise(subject: Subject, kind: str) -> Tensor:
    height, width = subject.case.size
    ranks = ranks_of(subject.pixel_order()).view(-1, height, width)
    counts = [*range(0, height * width, width), height * width]
    values = pixel_curve(subject, kind, ranks, counts)
    subject.keep_curve(kind, torch.tensor(counts) / (height * width), values)
    return mean_rise(values)


def _patchwise(subject: Subject, kind: str) -> Tensor:
    ranks = ranks_of(subject.order())
    counts = step_counts(ranks.shape[1], subject.case.protocol.steps)
    values = pixel_curve(subject, kind, subject.case.cells.lay(ranks, ranks.shape[1]), counts)
    fractions = torch.tensor(counts, device=values.device) / ranks.shape[1]
    subject.keep_curve(f"{kind}-patch", fractions, values)
    return area(values, fractions)


def _register(kind: str, higher_is_better: bool) -> None:
    def pixelwise(subject: Subject) -> Tensor:
        """Area of the probability while pixels go, or come back into a blurred picture, by relevance, (B,)."""
        return _pixelwise(subject, kind)

    def patchwise(subject: Subject) -> Tensor:
        """The same patch by patch in the protocol's steps, trapezoid over the fraction, (B,)."""
        return _patchwise(subject, kind)

    for ending, words, function in (
        ("", f"RISE {kind}", pixelwise),
        ("-patch", f"{kind} of whole patches", patchwise),
    ):
        register_metric(
            f"{kind}{ending}",
            family="insertion-deletion",
            title=f"{words}, area of the probability",
            citation=_CITATION,
            higher_is_better=higher_is_better,
        )(function)


_register("deletion", higher_is_better=False)
_register("insertion", higher_is_better=True)
