"""DAAM for self-supervised models (arXiv 2503.14640, section on self-supervised ViTs): no classifier, no class.

What stands for the class score is the similarity <f, w> of the picture's final feature f with weights w that the
feature dimensions get from its nearest neighbours in a memory bank: w = mean_k(f^ * z_k), divided by |sum w|, then
min-max to [0, 1].
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

from vitscope.methods.daam import CITATION, accumulate
from vitscope.methods.memory_bank import MemoryBank
from vitscope.methods.registry import register
from vitscope.methods.relevance import Needs, Relevance
from vitscope.models.anatomy import Anatomy
from vitscope.options.bounds import File, Range
from vitscope.tracing import Target, Trace, Vit
from vitscope.tracing.calls.calling import Inputs
from vitscope.tracing.targets.resolved import ResolvedTarget

BankOrFile = Annotated[MemoryBank | str | os.PathLike[str], File("a MemoryBank or the path of its file")]
NEIGHBOURS = 20
TEMPERATURE = 0.07


@dataclass(frozen=True)
class FeatureSimilarity(Target):
    """<f, w> with w from the k nearest neighbours in a bank, or, without one, w = f^ * f^."""

    bank: MemoryBank | None = None
    k: int = NEIGHBOURS
    temperature: float = TEMPERATURE
    needs_classifier = False

    def resolve(self, logits: Tensor) -> ResolvedTarget:
        w = feature_weights(logits.detach(), self.bank, self.k, self.temperature)

        def bound(weights: Tensor) -> ResolvedTarget:
            return ResolvedTarget(
                self.describe(),
                None,
                lambda output, features: (features.float() * weights).sum(1),
                lambda index: bound(weights[index]),
            )

        return bound(w)

    def describe(self) -> str:
        return (
            "feature similarity"
            if self.bank is None
            else f"memory bank of {len(self.bank)} pictures, k={self.k}"
        )


def feature_weights(features: Tensor, bank: MemoryBank | None, k: int, temperature: float) -> Tensor:
    """w (B, D) in [0, 1] for final features (B, D).

    The k nearest vote with exp(similarity / temperature); those of the winning label are kept (all when the bank
    has no labels); w = mean over them of f^ * z, over |sum w|, then min-max (ones where constant)."""
    unit = normalize(features.float(), dim=-1)
    if bank is None:
        w = unit * unit
    else:
        similarity, rows = bank.nearest(unit, k)
        kept = torch.ones_like(similarity, dtype=torch.bool)
        if bank.labels is not None:
            labels = bank.labels.to(rows.device)[rows]
            votes = torch.zeros(len(unit), int(bank.labels.max()) + 1, device=unit.device)
            votes.scatter_add_(1, labels, (similarity / temperature).exp())
            kept = labels == votes.argmax(1, keepdim=True)
        neighbours = bank.features.to(rows.device)[rows].float()
        w = unit * (neighbours * kept[..., None]).sum(1) / kept.sum(1, keepdim=True)
    w = w / w.sum(1, keepdim=True).abs().clamp_min(1e-12)
    low, high = w.amin(1, keepdim=True), w.amax(1, keepdim=True)
    return torch.where(high > low, (w - low) / (high - low).clamp_min(1e-12), torch.ones_like(w))


def _applies(anatomy: Anatomy) -> str | None:
    if anatomy.classes is not None:
        return "it has a classifier, whose logits are no features; use daam, or open it without its head"
    return anatomy.why_no_tokens()


def _open_bank(vit: Vit, inputs: Inputs, options: Mapping[str, Any]) -> dict[str, Any]:
    """The options with the bank itself in its file's place, so that a record says which bank was used."""
    bank = options["bank"]
    if bank is None:
        return dict(options)
    opened = bank if isinstance(bank, MemoryBank) else MemoryBank.load(bank)
    opened.check(vit)
    return {**options, "bank": opened}


def _needs(vit: Vit, inputs: Inputs, options: Mapping[str, Any]) -> Needs:
    target = FeatureSimilarity(options["bank"], options["k"], options["temperature"])
    return Needs(gradient=True, target=target)


@register(
    "daam-self",
    family="flow",
    title="DAAM, self-supervised",
    citation=CITATION,
    class_specific=False,
    backwards=1,
    has_flow=True,
    accumulates=True,
    needs=_needs,
    applies=_applies,
    follows_rows=True,
    takes_libra=True,
    resolve=_open_bank,
)
def daam_self(
    trace: Trace,
    *,
    bank: BankOrFile | None = None,
    k: Annotated[int, Range(1, 1_000_000)] = NEIGHBOURS,
    temperature: Annotated[float, Range(0.02, 100)] = TEMPERATURE,
    normalise_blocks: bool = False,
) -> Relevance:
    """DAAM of <f, w>, the similarity of the final feature to its nearest neighbours; no relu on the channels.

    ``bank``: a MemoryBank or its file (``vitscope bank build``); None weighs the feature with itself, w = f^ * f^,
    and the notes say so. ``k``: neighbours; ``temperature`` of their vote."""
    made = accumulate(trace, normalise_blocks, channel_relu=False)
    own = "weights from the picture's own feature, no memory bank"
    note = own if bank is None or trace.target is None else trace.target.describe()
    return Relevance(made.tokens, flow=made.flow, extras=made.extras, notes=(note,))
