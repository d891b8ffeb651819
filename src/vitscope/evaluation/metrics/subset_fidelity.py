"""μFidelity and infidelity: relevance of random subsets of patches against the drop when they are removed.

200 random subsets of 5, 10 and 20 % of the patches, the same for every method, so that the model is asked once.
"""

from __future__ import annotations

import torch
from torch import Tensor

from vitscope.evaluation.case import Case, Subject
from vitscope.evaluation.metric import register_metric
from vitscope.evaluation.rank_statistics import spearman
from vitscope.evaluation.removal.draws import uniforms

SUBSETS = 200
SHARES = (0.05, 0.10, 0.20)


def _subsets(case: Case) -> tuple[Tensor, Tensor, Tensor]:
    """Chosen patches (B, S, P) bool, the subset sizes (S,), and the drop of each (B, S)."""

    def make() -> tuple[Tensor, Tensor, Tensor]:
        patches = case.perturber.patches
        sizes = torch.tensor([max(1, round(SHARES[s % 3] * patches)) for s in range(SUBSETS)])
        noise = uniforms(case.keys, (SUBSETS, patches), case.protocol.seed, "subsets")
        chosen = (noise.argsort(2).argsort(2) < sizes.view(1, -1, 1)).to(case.images.device)
        index = torch.arange(len(case), device=case.images.device).repeat_interleave(SUBSETS)
        quantity = case.protocol.score
        left = case.perturber.remove(index, ~chosen.flatten(0, 1)).score(quantity).view(len(case), SUBSETS)
        return chosen, sizes, case.perturber.clean().score(quantity).view(-1, 1) - left

    return case.once("subsets", make)


@register_metric(
    "mu-fidelity",
    family="subsets",
    title="rank correlation of subset relevance with the drop",
    citation="Bhatt et al. 2020, arXiv 2005.00631; Fel et al. 2021, arXiv 2111.04138",
    higher_is_better=True,
    chance=0.0,
)
def mu_fidelity(subject: Subject) -> Tensor:
    """Spearman between Σ_{i∈S} m_i and f(x) − f(x∖S), mean over the three subset sizes, (B,).

    Ranks are compared among subsets of one size, since size alone would order both sides.
    """
    chosen, sizes, drops = _subsets(subject.case)
    sums = torch.einsum("bsp,bp->bs", chosen.double(), subject.flat.double())
    # Einsum sums in any order: equal sums must stay equal, or ties of a constant map would be ranked by rounding.
    sums = (sums / sums.abs().amax(1, keepdim=True).clamp_min(1e-300)).mul(1e9).round()
    parts = [spearman(sums[:, sizes == size], drops[:, sizes == size]) for size in sizes.unique()]
    return torch.stack(parts).mean(0)


@register_metric(
    "infidelity",
    family="subsets",
    title="squared error of subset relevance against the drop, best scale",
    citation="Yeh et al. 2019, arXiv 1901.09392",
    higher_is_better=False,
)
def infidelity(subject: Subject) -> Tensor | None:
    """E[(β Σ_{i∈S} m_i − (f(x) − f(x∖S)))²] / E[(f(x) − f(x∖S))²] with the β that makes it least, (B,).

    0 is perfect, 1 is what no relevance at all reaches. For signed maps only: others do not claim to add up.
    """
    if not subject.signed:
        return None
    chosen, _, drops = _subsets(subject.case)
    sums = torch.einsum("bsp,bp->bs", chosen.double(), subject.flat.double())
    drops = drops.double()
    power = sums.square().sum(1)
    scale = torch.where(power > 0, (sums * drops).sum(1) / power.clamp_min(1e-300), torch.zeros_like(power))
    total = drops.square().sum(1)
    error = (scale.view(-1, 1) * sums - drops).square().sum(1)
    return torch.where(total > 0, error / total.clamp_min(1e-300), torch.nan)
