"""Head scores from slopes at two places: what a head's removal would do, from four forward and backward passes.

With a gate on every head's output, 1 is the model as it is and 0 the head's removal. The first-order score takes the
slope at 1 for the whole way; but removal bends. Here the slope at 3/4 counts two thirds. One pass gives the slopes of
many heads at once if their gates move together, which mixes in what the others do; so the heads are drawn into three
groups, anew for each picture, and each group moves alone. The numbers were chosen on a third of the photographs of
docs/heads.md and reported on the others.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from vitscope.heads.pruning.first_order import first_order_scores
from vitscope.tracing import ClassIndex, HeadAblation, Trace, Vit
from vitscope.tracing.picture_keys import generator_for
from vitscope.tracing.targets.quantity import Quantity

GROUPS = 3
GATE = 0.75
SHARE = 2 / 3
"""Weight of the slope at the gate; the slope at 1 has the rest."""
QUANTITIES: tuple[Quantity, ...] = ("logit", "log_probability")
CLASSES = 5
"""How many of the likeliest classes the divergence counts."""
COST = GROUPS * (1 + len(QUANTITIES))
"""Passes for each picture, forward or backward, beyond those of the slopes at 1."""


def path_scores(
    vit: Vit, pixels: Tensor, first: Sequence[Trace], replacement: Tensor | None = None
) -> list[Tensor]:
    """The predicted drop of each of the QUANTITIES of the prediction when a head is replaced, (B, L, H) each.

    Heads that a block does not have are NaN. first: traces of the pictures as they are, one per quantity. replacement:
    what stands in for a head, (L, H, d) or (L, H, N, d); None for zero.
    """
    keys, classes = first[0].keys, first[0].classes
    assert classes is not None
    start = [first_order_scores(trace, replacement) for trace in first]
    aims = [ClassIndex(tuple(classes.tolist()), quantity) for quantity in QUANTITIES]
    groups = drawn_groups(keys, start[0].shape[1], start[0].shape[2])
    moved = [torch.full_like(each, torch.nan) for each in start]
    for group in range(GROUPS):
        own = groups == group
        ablation = HeadAblation(torch.where(own, GATE, 1.0), replacement)
        for place, trace in enumerate(vit.traces(pixels, aims, ablation=ablation, keys=keys)):
            # The trace's gradient is by what the head gave before its gate, hence the gate as a factor.
            moved[place] = torch.where(own, first_order_scores(trace, replacement) / GATE, moved[place])
    return [(1 - SHARE) * one + SHARE * other for one, other in zip(start, moved, strict=True)]


def divergence_bits(likeliest: Sequence[Trace], replacement: Tensor | None = None) -> Tensor:
    """The Jensen-Shannon divergence of a small change: sum of p_c (change of log p_c)^2 / 8, in bits, (B, L, H).

    likeliest: a trace of log p for each of the classes that are counted. For p and q close to each other the divergence
    is an eighth of the Fisher information's form, whose change of log p is taken at first order."""
    total = torch.zeros(())
    for trace in likeliest:
        p = trace.scores.exp().cpu()[:, None, None]
        total = total + p * first_order_scores(trace, replacement).square()
    return total / (8 * math.log(2))


def drawn_groups(keys: Sequence[str], blocks: int, heads: int) -> Tensor:
    """The group of each head of each picture, (B, L, H), as even as can be; it depends on the picture's key alone."""
    order = [torch.randperm(blocks * heads, generator=generator_for(0, key)) for key in keys]
    return (torch.stack(order) % GROUPS).view(len(keys), blocks, heads)
