"""Removal orders and the areas under removal curves: pure functions of tensors."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from vitscope.evaluation.removal.draws import permutations


def removal_order(maps: Tensor, keys: Sequence[str], seed: int) -> Tensor:
    """Patches from the most to the least relevant: (B, P) relevance -> (B, P) indices.

    Ties (relu maps have many) are broken by a random permutation seeded per picture, never by index: a
    constant map gives a random order. NaN counts as the least relevant.
    """
    values, shuffle = _shuffled(maps, keys, seed)
    return shuffle.gather(1, values.argsort(dim=1, descending=True, stable=True))


def most_relevant(maps: Tensor, keys: Sequence[str], seed: int) -> Tensor:
    """The first of ``removal_order``, (B,), without ordering the rest."""
    values, shuffle = _shuffled(maps, keys, seed)
    return shuffle.gather(1, values.argmax(dim=1, keepdim=True)).squeeze(
        1
    )  # of equal ones argmax takes the first


def _shuffled(maps: Tensor, keys: Sequence[str], seed: int) -> tuple[Tensor, Tensor]:
    """Relevance (B, P) in a random order, seeded per picture, and that order."""
    values = maps.flatten(1)
    values = torch.nan_to_num(values, nan=-torch.inf, posinf=torch.inf, neginf=-torch.inf)
    shuffle = permutations(keys, values.shape[1], seed, "ties").to(values.device)
    return values.gather(1, shuffle), shuffle


def ranks_of(order: Tensor) -> Tensor:
    """Place of every patch in an order: the inverse permutation, (B, P)."""
    places = torch.arange(order.shape[1], device=order.device).expand_as(order)
    return torch.empty_like(order).scatter_(1, order, places)


def step_counts(patches: int, steps: int) -> list[int]:
    """How many patches are gone at each point of a curve, from 0 to all, without repetitions."""
    return sorted({round(patches * step / steps) for step in range(steps + 1)})


def kept_patches(order: Tensor, counts: Sequence[int]) -> Tensor:
    """Which patches are left when the first ``count`` of an order are removed: (B, P) -> (B, K, P), True = kept."""
    place = ranks_of(order)
    removed = torch.tensor(list(counts), device=order.device)
    return place.unsqueeze(1) >= removed.view(1, -1, 1)


def area(values: Tensor, fractions: Tensor) -> Tensor:
    """Trapezoid rule over the last axis: (..., K) at ``fractions`` (K,) -> (...)."""
    return torch.trapezoid(values, fractions.to(values), dim=-1)


def mean_rise(values: Tensor) -> Tensor:
    """RISE's area: (Σ − ½ first − ½ last) / (n − 1) over the last axis."""
    count = values.shape[-1]
    return (values.sum(-1) - values[..., 0] / 2 - values[..., -1] / 2) / (count - 1)
