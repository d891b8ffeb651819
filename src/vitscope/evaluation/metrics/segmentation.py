"""A map cut at a threshold as a segmentation, and the threshold-free PxAP.

Two thresholds that are never mixed: the map's own mean (Chefer et al. 2021) and 0.5 after min-max (LeGrad, Bousselham
et al. 2025). Pixel accuracy and mIoU (background and object) are added up over the data set; mAP is the mean over
pictures of the average precision of both classes together. PxAP (Choe et al. 2020) is the area under precision and
recall of all pixels of the data set, thresholds 0, 0.001 ... 1 on min-max maps.
"""

from __future__ import annotations

import torch
from torch import Tensor

from vitscope.evaluation.case import Subject
from vitscope.evaluation.metric import register_metric
from vitscope.evaluation.rank_statistics import average_precision
from vitscope.evaluation.removal.pixels import unit_range

_CHEFER = "Chefer et al. 2021, arXiv 2012.09838"
_LEGRAD = "Bousselham et al. 2025, arXiv 2404.03214"
BINS = 1000


def _unit(subject: Subject) -> Tensor:
    return subject.once("unit pixels", lambda: unit_range(subject.pixels))


def _counts(subject: Subject, rule: str) -> Tensor:
    """(B, 6): correct, all, intersection and union of the background, then of the object."""

    def make() -> Tensor:
        maps, masks = _unit(subject), subject.case.require_masks()
        threshold = (
            maps.mean(dim=(1, 2), keepdim=True) if rule == "mean" else torch.full_like(maps[:, :1, :1], 0.5)
        )
        found = maps > threshold
        columns = [(found == masks), torch.ones_like(masks), ~found & ~masks, ~found | ~masks, found & masks]
        return torch.stack([c.double().sum(dim=(1, 2)) for c in (*columns, found | masks)], dim=1)

    return subject.once(("segmentation", rule), make)


def accuracy_of(sums: Tensor) -> Tensor:
    """Pixel accuracy from summed counts (..., 6)."""
    return sums[..., 0] / sums[..., 1]


def mean_iou_of(sums: Tensor) -> Tensor:
    """Mean of background and object IoU from summed counts (..., 6)."""
    background = sums[..., 2] / sums[..., 3].clamp_min(1)
    return (background + sums[..., 4] / sums[..., 5].clamp_min(1)) / 2


def pxap_of(sums: Tensor) -> Tensor:
    """Area under precision and recall from histograms (..., 2 × BINS): object pixels, then background pixels."""
    hits = sums[..., :BINS].flip(-1).cumsum(-1)
    seen = hits + sums[..., BINS:].flip(-1).cumsum(-1)
    total = hits[..., -1:]
    precision = torch.where(seen > 0, hits / seen.clamp_min(1), torch.zeros_like(hits))
    gained = torch.diff(hits, prepend=torch.zeros_like(total), dim=-1)
    return torch.where(
        total.squeeze(-1) > 0, (precision * gained).sum(-1) / total.squeeze(-1).clamp_min(1), torch.nan
    )


def _register(rule: str, ending: str, threshold: str, citation: str) -> None:
    """Pixel accuracy and mean IoU at one threshold."""

    def counts(subject: Subject) -> Tensor:
        """Counts of the map cut at the threshold, (B, 6)."""
        return _counts(subject, rule)

    for name, words, finalise in (
        ("accuracy", "pixel accuracy", accuracy_of),
        ("miou", "mean IoU", mean_iou_of),
    ):
        register_metric(
            f"segmentation-{name}{ending}",
            family="segmentation",
            title=f"{words}, threshold = {threshold}",
            citation=citation,
            higher_is_better=True,
            requires=("masks",),
            finalise=finalise,
        )(counts)


_register("mean", "", "map mean", _CHEFER)


@register_metric(
    "segmentation-map",
    family="segmentation",
    title="mean average precision of object and background",
    citation=_CHEFER,
    higher_is_better=True,
    requires=("masks",),
)
def segmentation_map(subject: Subject) -> Tensor:
    """Average precision of (1 − m̂, m̂) against (background, object) taken together, (B,)."""
    maps, masks = _unit(subject).flatten(1), subject.case.require_masks().flatten(1)
    return average_precision(torch.cat([1 - maps, maps], dim=1), torch.cat([~masks, masks], dim=1))


_register("half", "-half", "0.5", _LEGRAD)


@register_metric(
    "pxap",
    family="segmentation",
    title="pixel average precision over the data set",
    citation="Choe et al. 2020, arXiv 2001.07437",
    higher_is_better=True,
    requires=("masks",),
    finalise=pxap_of,
)
def pxap(subject: Subject) -> Tensor:
    """Histograms of the object's and of the background's values, (B, 2 × 1000)."""
    maps, masks = _unit(subject), subject.case.require_masks()
    place = (maps.flatten(1) * BINS).long().clamp(0, BINS - 1) + torch.where(masks.flatten(1), 0, BINS)
    counts = torch.zeros(len(maps), 2 * BINS, dtype=torch.float64, device=maps.device)
    return counts.scatter_add_(1, place, torch.ones_like(place, dtype=torch.float64))
