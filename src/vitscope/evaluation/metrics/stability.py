"""Stability: how much a map moves when the picture moves a little and the prediction does not.

Max-sensitivity (Yeh et al. 2019): 10 draws of uniform noise of at most r = 0.02 in the normalised space. Local
Lipschitz estimate (Alvarez-Melis and Jaakkola 2018): 10 draws of Gaussian noise of σ = 0.1. A picture whose
prediction flips under one of the draws is left out. A constant map is perfectly stable, so class sensitivity is
always reported beside.
"""

from __future__ import annotations

import torch
from torch import Tensor

from vitscope.evaluation.case import Case, Subject
from vitscope.evaluation.metric import register_metric
from vitscope.evaluation.removal.draws import normals, uniforms

DRAWS, RADIUS, DEVIATION = 10, 0.02, 0.1


def _noisy(case: Case, kind: str) -> tuple[Tensor, Tensor]:
    """Noise (B, 10, 3, H, W) and whether the prediction stays under all of it, (B,). Shared by all methods."""

    def make() -> tuple[Tensor, Tensor]:
        shape, seed = (DRAWS, *case.images.shape[1:]), case.protocol.seed
        if kind == "uniform":
            noise = (2 * uniforms(case.keys, shape, seed, "stability") - 1) * RADIUS
        else:
            noise = normals(case.keys, shape, seed, "stability") * DEVIATION
        noise = noise.to(case.images)
        index = torch.arange(len(case), device=noise.device).repeat_interleave(DRAWS)
        flat = noise.flatten(0, 1)
        top = case.perturber.pictures(index, lambda part: case.images[index[part]] + flat[part]).top
        steady = (top.view(-1, DRAWS) == case.perturber.clean().top.view(-1, 1)).all(1)
        return noise, steady

    return case.once(("noise", kind), make)


def _moved(subject: Subject, kind: str) -> tuple[Tensor, Tensor, Tensor]:
    """Maps of the noisy pictures (B, 10, P), the noise (B, 10, ...), and which pictures count (B,)."""
    case = subject.case
    noise, steady = _noisy(case, kind)
    assert subject.explain is not None
    moved = []
    for draw in range(DRAWS):
        moved.append(subject.explain(case.images + noise[:, draw], case.classes).flatten(1))
    return torch.stack(moved, dim=1).double(), noise, steady


@register_metric(
    "max-sensitivity",
    family="stability",
    title="largest relative change of the map, noise of 0.02",
    citation="Yeh et al. 2019, arXiv 1901.09392",
    higher_is_better=False,
    requires=("model",),
    beside=("class-sensitivity",),
)
def max_sensitivity(subject: Subject) -> Tensor | None:
    """max over draws of ‖m(x + δ) − m(x)‖ / ‖m(x)‖, (B,)."""
    if subject.explain is None:
        return None
    moved, _, steady = _moved(subject, "uniform")
    original = subject.flat.double()
    size = original.norm(dim=1)
    change = (moved - original.unsqueeze(1)).norm(dim=2).amax(1)
    return torch.where(steady & (size > 0), change / size.clamp_min(1e-300), torch.nan)


@register_metric(
    "lipschitz",
    family="stability",
    title="local Lipschitz estimate of the unit-length map, σ = 0.1",
    citation="Alvarez-Melis and Jaakkola 2018, arXiv 1806.08049",
    higher_is_better=False,
    requires=("model",),
    beside=("class-sensitivity",),
)
def lipschitz(subject: Subject) -> Tensor | None:
    """max over draws of ‖m̄(x + δ) − m̄(x)‖ / ‖δ‖ with m̄ = m / ‖m‖, so that the scale of a method is no matter."""
    if subject.explain is None:
        return None
    moved, noise, steady = _moved(subject, "normal")
    original = subject.flat.double()
    size = original.norm(dim=1, keepdim=True)
    unit = original / size.clamp_min(1e-300)
    moved = moved / moved.norm(dim=2, keepdim=True).clamp_min(1e-300)
    change = (moved - unit.unsqueeze(1)).norm(dim=2) / noise.flatten(2).double().norm(dim=2)
    return torch.where(steady & (size.squeeze(1) > 0), change.amax(1), torch.nan)
