"""Rank statistics on the device, in batches: midranks, Spearman, AUROC, average precision, entropy, Gini."""

from __future__ import annotations

import torch
from torch import Tensor


def midranks(values: Tensor) -> Tensor:
    """Ranks 1..n along the last axis, equal values sharing the mean of their ranks; float64."""
    ordered, order = values.sort(dim=-1)
    count = values.shape[-1]
    place = torch.arange(1, count + 1, device=values.device, dtype=torch.float64).expand_as(ordered)
    starts = torch.ones_like(ordered, dtype=torch.bool)
    starts[..., 1:] = ordered[..., 1:] != ordered[..., :-1]
    group = starts.cumsum(-1) - 1
    total = torch.zeros_like(place).scatter_add_(-1, group, place)
    size = torch.zeros_like(place).scatter_add_(-1, group, torch.ones_like(place))
    mean = (total / size.clamp_min(1)).gather(-1, group)
    return torch.empty_like(mean).scatter_(-1, order, mean)


def pearson(first: Tensor, second: Tensor) -> Tensor:
    """Correlation along the last axis; NaN where one side is constant."""
    first, second = first.double(), second.double()
    first = first - first.mean(-1, keepdim=True)
    second = second - second.mean(-1, keepdim=True)
    scale = first.square().sum(-1).sqrt() * second.square().sum(-1).sqrt()
    return torch.where(scale > 0, (first * second).sum(-1) / scale, torch.nan)


def spearman(first: Tensor, second: Tensor) -> Tensor:
    """Rank correlation along the last axis with midranks for ties; NaN where one side is constant."""
    return pearson(midranks(first), midranks(second))


def auroc(scores: Tensor, truth: Tensor) -> Tensor:
    """Area under the ROC curve along the last axis, ties counted half; NaN where truth has one class only."""
    positive = truth.double()
    hits = positive.sum(-1)
    misses = truth.shape[-1] - hits
    area = (midranks(scores) * positive).sum(-1) - hits * (hits + 1) / 2
    return torch.where((hits > 0) & (misses > 0), area / (hits * misses).clamp_min(1), torch.nan)


def average_precision(scores: Tensor, truth: Tensor) -> Tensor:
    """Σ (R_k − R_{k−1}) P_k along the last axis, equal scores taken together; NaN without a positive."""
    ordered, order = scores.sort(dim=-1, descending=True)
    positive = truth.gather(-1, order).double()
    hits = positive.cumsum(-1)
    seen = torch.arange(1, scores.shape[-1] + 1, device=scores.device, dtype=torch.float64)
    ends = torch.ones_like(truth, dtype=torch.bool)
    ends[..., :-1] = ordered[..., 1:] != ordered[..., :-1]
    total = hits[..., -1:]
    # A group of equal scores counts at its end: its hits are those gained since the end before it.
    before = torch.where(ends, hits, torch.zeros_like(hits)).cummax(-1).values
    before = torch.cat([torch.zeros_like(before[..., :1]), before[..., :-1]], dim=-1)
    gained = torch.where(ends, hits - before, torch.zeros_like(hits))
    value = (gained * hits / seen).sum(-1) / total.squeeze(-1).clamp_min(1)
    return torch.where(total.squeeze(-1) > 0, value, torch.nan)


def entropy(maps: Tensor) -> Tensor:
    """Entropy in nats of |m| / Σ|m| over the last axis; NaN for a map of zeros."""
    weight = maps.double().abs()
    total = weight.sum(-1, keepdim=True)
    share = weight / total.clamp_min(torch.finfo(torch.float64).tiny)
    value = -(share * share.clamp_min(torch.finfo(torch.float64).tiny).log()).sum(-1)
    return torch.where(total.squeeze(-1) > 0, value, torch.nan)


def gini(maps: Tensor) -> Tensor:
    """Gini coefficient of |m| over the last axis: 0 for a constant map, towards 1 for a single peak."""
    weight = maps.double().abs().sort(dim=-1).values
    count = weight.shape[-1]
    place = torch.arange(1, count + 1, device=maps.device, dtype=torch.float64)
    total = weight.sum(-1)
    value = (2 * place - count - 1).mul(weight).sum(-1) / (
        count * total.clamp_min(torch.finfo(torch.float64).tiny)
    )
    return torch.where(total > 0, value, torch.nan)
