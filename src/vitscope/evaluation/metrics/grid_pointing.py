"""Grid pointing game: in a mosaic of pictures of different classes, how much relevance lies in the right cell?

Böhle, Fritz, Schiele, "Convolutional dynamic alignment networks", CVPR 2021 (there with a CNN at full resolution; here
the pictures are shrunk so that the mosaic has the model's input size). Truth without any annotation.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from vitscope.errors import EvaluationError
from vitscope.evaluation.case import Subject
from vitscope.evaluation.metric import register_metric


@register_metric(
    "grid-pointing",
    family="grid pointing",
    title="share of positive relevance in the right cell of a mosaic",
    citation="Böhle et al. 2021, arXiv 2104.00032",
    higher_is_better=True,
    requires=("mosaics",),
)
def grid_pointing(subject: Subject) -> Tensor:
    """Σ relu(m) in the target's cell / Σ relu(m), (B,); chance is 1 / cells. Undefined without positive relevance.

    Patches that lie across a border of cells count by the part of them inside.
    """
    if subject.case.masks is None:
        raise EvaluationError("grid pointing needs mosaics with the cell of the target; pass data=mosaics")
    cells = subject.case.require_masks().float().unsqueeze(1)
    share = functional.interpolate(cells, size=subject.maps.shape[-2:], mode="area").squeeze(1).double()
    positive = subject.maps.clamp_min(0).double()
    total = positive.sum(dim=(1, 2))
    inside = (positive * share).sum(dim=(1, 2))
    return torch.where(total > 0, inside / total.clamp_min(1e-300), torch.nan)
