"""Complexity of a map: described, not ranked. A sparse map is easier to read, not truer."""

from __future__ import annotations

from torch import Tensor

from vitscope.evaluation.case import Subject
from vitscope.evaluation.metric import register_metric
from vitscope.evaluation.rank_statistics import entropy as entropy_of
from vitscope.evaluation.rank_statistics import gini as gini_of


@register_metric(
    "entropy",
    family="complexity",
    title="entropy of |m| in nats",
    citation="Bhatt et al. 2020, arXiv 2005.00631",
    higher_is_better=None,
)
def entropy(subject: Subject) -> Tensor:
    """Entropy of |m| / Σ|m| in nats, (B,); log P for a constant map."""
    return entropy_of(subject.flat)


@register_metric(
    "gini",
    family="complexity",
    title="Gini coefficient of |m|",
    citation="Chalasani et al. 2020, arXiv 1810.06583",
    higher_is_better=None,
)
def gini(subject: Subject) -> Tensor:
    """Gini coefficient of |m|, (B,); 0 for a constant map."""
    return gini_of(subject.flat)
