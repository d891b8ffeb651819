"""Class sensitivity: does the map change when another class is asked for?"""

from __future__ import annotations

import torch
from torch import Tensor

from vitscope.evaluation.case import Case, Subject
from vitscope.evaluation.metric import register_metric
from vitscope.evaluation.rank_statistics import spearman
from vitscope.evaluation.removal.draws import generator


def other_classes(case: Case) -> Tensor:
    """A class other than the explained one, drawn evenly with the picture's own seed: (B,)."""

    def make() -> Tensor:
        drawn = []
        for key, explained in zip(case.keys, case.classes.tolist(), strict=True):
            other = torch.randint(
                case.class_count - 1, (1,), generator=generator(key, case.protocol.seed, "other class")
            )
            drawn.append(int(other) + int(int(other) >= explained))
        return torch.tensor(drawn, device=case.classes.device)

    return case.once("other classes", make)


@register_metric(
    "class-sensitivity",
    family="class sensitivity",
    title="1 − rank correlation with the map of another class",
    citation="Chefer et al. 2021",
    higher_is_better=True,
    requires=("model",),
    chance=0.0,
)
def class_sensitivity(subject: Subject) -> Tensor | None:
    """1 − Spearman(m_c, m_c′) for an unrelated class c′, (B,); 0 by construction for class-agnostic methods."""
    case = subject.case
    if subject.explain is None or case.class_count < 2:
        return None
    if not subject.class_specific:
        varies = subject.flat.amax(1) > subject.flat.amin(1)
        return torch.where(varies, 0.0, torch.nan)
    return 1 - spearman(subject.flat, subject.explain(case.images, other_classes(case)).flatten(1))
