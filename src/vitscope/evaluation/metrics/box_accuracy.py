"""MaxBoxAccV2: boxes around the parts of a map above a threshold, against the true boxes.

Choe et al., "Evaluating weakly supervised object localization methods right", CVPR 2020: at each threshold of the
min-max map, boxes around all connected parts; a picture counts when one of them meets one true box with an IoU of at
least δ. The best threshold of the data set is taken for each δ of 0.3, 0.5, 0.7, and the three are averaged.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vitscope.evaluation.case import Box, Subject
from vitscope.evaluation.level_boxes import boxes_above
from vitscope.evaluation.metric import register_metric
from vitscope.evaluation.removal.pixels import unit_range

THRESHOLDS = 100
OVERLAPS = (0.3, 0.5, 0.7)


def best_overlap(found: NDArray[np.float64], truth: Sequence[Box]) -> NDArray[np.float64]:
    """The largest IoU of any of the boxes found (..., K, 4) with any of the true ones (at least one): (...)."""
    a, b = found[..., None, :], np.asarray(truth)
    width = np.minimum(a[..., 2], b[..., 2]) - np.maximum(a[..., 0], b[..., 0])
    height = np.minimum(a[..., 3], b[..., 3]) - np.maximum(a[..., 1], b[..., 1])
    inside = np.clip(width, 0, None) * np.clip(height, 0, None)
    areas = [(box[..., 2] - box[..., 0]) * (box[..., 3] - box[..., 1]) for box in (a, b)]
    union = areas[0] + areas[1] - inside
    best: NDArray[np.float64] = (inside / np.maximum(union, 1e-12)).max((-2, -1))
    return best


def max_box_accuracy_of(sums: Tensor) -> Tensor:
    """Mean over the overlaps of the best threshold's accuracy, from summed hits (..., 3 × 100 + 1)."""
    hits = sums[..., :-1].unflatten(-1, (len(OVERLAPS), THRESHOLDS))
    count = sums[..., -1]
    return torch.where(count > 0, hits.amax(-1).mean(-1) / count.clamp_min(1), torch.nan)


@register_metric(
    "max-box-acc-v2",
    family="boxes",
    title="MaxBoxAccV2, IoU .3/.5/.7 at the best threshold",
    citation="Choe et al. 2020, arXiv 2001.07437",
    higher_is_better=True,
    requires=("boxes",),
    finalise=max_box_accuracy_of,
)
def max_box_acc_v2(subject: Subject) -> Tensor:
    """Hits per overlap and threshold, and 1 for the picture: (B, 301). Pictures without a box are not counted."""
    truth = subject.case.require_boxes()
    boxed = [index for index, boxes in enumerate(truth) if boxes]
    rows = np.zeros((len(truth), len(OVERLAPS), THRESHOLDS))
    if boxed:
        found = boxes_above(
            unit_range(subject.pixels)[boxed], [step / THRESHOLDS for step in range(THRESHOLDS)]
        )
        for index, parts in zip(boxed, found, strict=True):
            rows[index] = best_overlap(parts, truth[index]) >= np.asarray(OVERLAPS)[:, None]
    counted = torch.tensor([[float(bool(boxes))] for boxes in truth], dtype=torch.float64)
    return torch.cat([torch.from_numpy(rows).flatten(1), counted], dim=1)
