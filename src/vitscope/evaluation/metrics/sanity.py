"""Sanity: a map that does not change when the weights are drawn anew cannot explain the weights.

MPRT: Adebayo et al., "Sanity checks for saliency maps", 2018: weights are re-initialised from the top down, one level
more at each step; rank correlation of the map with the original, mean over the levels. Smooth and efficient MPRT:
Hedström et al., "Sanity checks revisited", 2024: maps averaged over noisy copies of the picture first; and the
relative rise of the map's entropy under the fully randomised model.
"""

from __future__ import annotations

import torch
from torch import Tensor

from vitscope.evaluation.case import Subject
from vitscope.evaluation.metric import register_metric
from vitscope.evaluation.rank_statistics import spearman
from vitscope.evaluation.removal.draws import normals
from vitscope.evaluation.removal.pixels import unit_range

DRAWS, DEVIATION, BINS = 5, 0.2, 100
_REVISITED = "Hedström et al. 2024, arXiv 2401.06465"


def histogram_entropy(maps: Tensor, bins: int = BINS) -> Tensor:
    """Entropy in nats of the histogram of a map's values, (B,): how evenly its values spread over their range."""
    unit = unit_range(maps.float()).flatten(1)
    place = (unit * bins).long().clamp(0, bins - 1)
    counts = torch.zeros(len(unit), bins, dtype=torch.float64, device=maps.device)
    share = counts.scatter_add_(1, place, torch.ones_like(unit, dtype=torch.float64)) / unit.shape[1]
    return -(share * share.clamp_min(1e-300).log()).sum(1)


def _similarity(subject: Subject, smooth: bool) -> Tensor | None:
    """Rank correlation with the original map at every level of the cascade, mean over the defined ones: (B,)."""
    case = subject.case
    if subject.cascade_maps is None or subject.explain is None or case.cascade is None:
        return None
    images, classes = case.images, case.classes
    original = subject.maps
    if smooth:
        span = images.amax(dim=(1, 2, 3), keepdim=True) - images.amin(dim=(1, 2, 3), keepdim=True)
        shape = (DRAWS, *images.shape[1:])
        noise = case.once("smooth noise", lambda: normals(case.keys, shape, case.protocol.seed, "mprt"))
        images = (images.unsqueeze(1) + DEVIATION * span.unsqueeze(1) * noise.to(images)).flatten(0, 1)
        classes = classes.repeat_interleave(DRAWS)
        original = _averaged(subject.explain(images, classes), len(case))
    levels = []
    for maps in subject.cascade_maps(images, classes):
        levels.append(
            spearman(original.flatten(1), (_averaged(maps, len(case)) if smooth else maps).flatten(1))
        )
    similarity = torch.stack(levels, dim=1)
    fractions = torch.arange(1, similarity.shape[1] + 1, device=similarity.device) / similarity.shape[1]
    subject.keep_curve("smprt" if smooth else "mprt", fractions, similarity)
    return similarity.nanmean(1)


def _averaged(maps: Tensor, batch: int) -> Tensor:
    return maps.view(batch, DRAWS, *maps.shape[-2:]).mean(1)


@register_metric(
    "mprt",
    family="sanity",
    title="rank correlation under cascading re-initialisation",
    citation="Adebayo et al. 2018, arXiv 1810.03292",
    higher_is_better=False,
    requires=("model",),
    chance=0.0,
)
def mprt(subject: Subject) -> Tensor | None:
    """Mean over the cascade of Spearman(m, m_randomised), (B,); near 0 for a map that reads the weights."""
    return _similarity(subject, smooth=False)


@register_metric(
    "smprt",
    family="sanity",
    title="MPRT with maps averaged over five noisy copies",
    citation=_REVISITED,
    higher_is_better=False,
    requires=("model",),
    chance=0.0,
)
def smprt(subject: Subject) -> Tensor | None:
    """MPRT of maps averaged over five copies with noise of 0.2 × the picture's range, (B,)."""
    return _similarity(subject, smooth=True)


@register_metric(
    "emprt",
    family="sanity",
    title="relative rise of the map's entropy under random weights",
    citation=_REVISITED,
    higher_is_better=True,
    requires=("model",),
    chance=0.0,
)
def emprt(subject: Subject) -> Tensor | None:
    """(H(m_random) − H(m)) / H(m) with the entropy of the values' histogram, (B,); undefined where H(m) is 0."""
    if subject.last_maps is None or subject.case.cascade is None:
        return None
    before = histogram_entropy(subject.maps)
    after = histogram_entropy(subject.last_maps(subject.case.images, subject.case.classes))
    return torch.where(before > 0, (after - before) / before.clamp_min(1e-300), torch.nan)
