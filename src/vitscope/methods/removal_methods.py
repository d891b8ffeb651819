"""Black box by token removal: what the score does when patches no longer exist. Oracle and ceiling for the rest."""

from __future__ import annotations

from typing import Annotated

import torch
from torch import Tensor

from vitscope.methods.many_forwards import scores_under
from vitscope.methods.registry import register
from vitscope.methods.relevance import Needs, Relevance
from vitscope.models.anatomy import Anatomy
from vitscope.options.bounds import Range, Seed
from vitscope.tracing import TokenRemoval, Trace
from vitscope.tracing.calls.calling import Inputs
from vitscope.tracing.passes.request import PassRequest


def _removable(anatomy: Anatomy) -> str | None:
    return anatomy.why_no_row()


def removal_scores(trace: Trace, keep: Tensor, batch_size: int = 32) -> Tensor:
    """The target's score for every picture under every mask: keep (M, P) bool -> (M, B), float32."""

    def remove(part: slice, rows: Tensor, inputs: Inputs) -> tuple[Inputs, PassRequest]:
        removal = TokenRemoval(keep[part].repeat_interleave(trace.batch, 0))
        return inputs, PassRequest(precision=trace.precision, removal=removal)

    return scores_under(trace, len(keep), remove, batch_size)


@register(
    "leave-one-out",
    family="black-box",
    title="Leave one patch out",
    citation="Zeiler and Fergus, ECCV 2014, by token removal",
    class_specific=True,
    signed=True,
    forwards=196,
    passes_by=("patches", 196),
    needs=Needs(precision="float32"),
    applies=_removable,
)
def leave_one_out(trace: Trace) -> Relevance:
    """Drop of the score when one patch can be attended to by nobody; exact, one forward a patch, batched."""
    P = trace.layout.patches
    keep = ~torch.eye(P, dtype=torch.bool)
    drop = trace.scores[None].cpu() - removal_scores(trace, keep).cpu()
    return _patches(drop.T, trace)


@register(
    "rise",
    family="black-box",
    title="RISE with token masks",
    citation="Petsiuk, Das and Saenko, BMVC 2018, arXiv 1806.07421, by token removal",
    class_specific=True,
    signed=True,
    forwards=400,
    passes_by=("masks", 400),
    needs=Needs(),
    applies=_removable,
)
def rise(
    trace: Trace,
    *,
    masks: Annotated[int, Range(2, 100_000)] = 400,
    share: Annotated[float, Range(0, 1, above=True, below=True)] = 0.5,
    seed: Seed = 0,
) -> Relevance:
    """Mean score over random masks that keep a patch, minus the mean over all masks.

    Each of ``masks`` keeps every patch with probability ``share``; masks come in complementary pairs, which takes
    the noise of how many patches are kept out of each pair when share is one half."""
    P = trace.layout.patches
    generator = torch.Generator().manual_seed(seed)
    half = torch.rand((masks + 1) // 2, P, generator=generator) < share
    other = ~half if share == 0.5 else torch.rand(half.shape, generator=generator) < share
    keep = torch.cat([half, other])[:masks]
    keep[~keep.any(1), 0] = True
    scores = removal_scores(trace, keep).cpu()
    weights = keep.float()
    kept = (weights.T @ scores) / weights.sum(0).clamp_min(1)[:, None]
    return _patches((kept - scores.mean(0, keepdim=True)).T, trace)


def _patches(values: Tensor, trace: Trace) -> Relevance:
    return Relevance(maps=trace.layout.to_grid(values))
