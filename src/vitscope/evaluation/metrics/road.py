"""ROAD: removal by noisy linear imputation, which leaves no edges that give the mask away.

Rong et al., ICML 2022. For each percentile 10, 20 ... 90 the pixels above it (MoRF) or the equal number of least
relevant pixels (LeRF) are imputed; ROAD = mean over percentiles of (LeRF − MoRF) / 2, in units of the protocol's
score. All pictures are solved together on the device.
"""

from __future__ import annotations

import torch
from torch import Tensor

from vitscope.evaluation.case import Subject
from vitscope.evaluation.metric import register_metric
from vitscope.evaluation.removal.curves import ranks_of
from vitscope.evaluation.removal.draws import normals
from vitscope.evaluation.removal.imputation import noisy_linear_imputation


def kept_pixels(ranks: Tensor) -> Tensor:
    """Kept pixels per picture, (B, 18, H, W): nine percentiles of MoRF, then nine of LeRF, from ranks (B, H, W)."""
    pixels = ranks.shape[-1] * ranks.shape[-2]
    removed = torch.tensor([pixels - pixels * p // 100 for p in range(10, 100, 10)], device=ranks.device)
    place = ranks.unsqueeze(1)
    most = place >= removed.view(1, -1, 1, 1)
    least = place < pixels - removed.view(1, -1, 1, 1)
    return torch.cat([most, least], dim=1)


@register_metric(
    "road",
    family="road",
    title="ROAD, (LeRF − MoRF) / 2 over percentiles 10 to 90",
    citation="Rong et al. 2022, arXiv 2202.00449",
    higher_is_better=True,
    chance=0.0,
)
def road(subject: Subject) -> Tensor:
    """Mean over percentiles of (LeRF − MoRF) / 2, (B,)."""
    case = subject.case
    keep = kept_pixels(ranks_of(subject.pixel_order()).view(-1, *case.size)).flatten(0, 1).unsqueeze(1)
    index = torch.arange(len(case), device=keep.device).repeat_interleave(18)
    noise = case.once(
        "road noise",
        lambda: normals(case.keys, case.images.shape[1:], case.protocol.seed, "road").to(case.images.device),
    )

    def build(part: slice) -> Tensor:
        return noisy_linear_imputation(case.images[index[part]], keep[part], noise[index[part]])

    scores = case.perturber.pictures(index, build).score(case.protocol.score).view(len(case), 2, 9)
    return (scores[:, 1] - scores[:, 0]).mean(1) / 2
