"""Heads removed more and more from some of the pictures, and how the answers of several parts are added up."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import pandas as pd
import torch
from torch import Tensor

from vitscope.heads.measuring import measured
from vitscope.heads.pruning.change_metrics import js_bits
from vitscope.heads.pruning.sweep import clean_run
from vitscope.pictures import Batch, PictureSource
from vitscope.progress import CountedStage
from vitscope.storage import tensors
from vitscope.storage.recipe import Recipe
from vitscope.sums.moments import ExactSum
from vitscope.tracing import HeadAblation, Vit
from vitscope.tracing.copies.resumer import Resumer

Head = tuple[int, int]
ANSWERS = ("probability", "accuracy", "same_prediction", "js_divergence")
KIND = "part of a cumulative pruning"
FILE = "sums.safetensors"


@dataclass
class AnswerSums:
    """total: sum over pictures of the four ANSWERS, (runs, counts, 4). keys, ids: of the pictures."""

    keys: list[str] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    total: ExactSum = field(default_factory=ExactSum)

    def merge(self, other: AnswerSums) -> None:
        """Take in the sums of other pictures."""
        if other.keys:
            self.keys += other.keys
            self.ids += other.ids
            self.total.merge(other.total)


@dataclass(frozen=True)
class CumulativeSums:
    """Answers with more and more heads away, as an :class:`~vitscope.analysis.Analysis`.

    orders: heads, first removed first. counts: after how many of them the model is asked. means: what stands in for
    heads, None for zero.
    """

    made: Recipe
    orders: Sequence[Sequence[Head]]
    counts: Sequence[int]
    means: Tensor | None
    labelled: bool
    batch_size: int
    L: int
    H: int
    stage: CountedStage
    name: str = "cumulative pruning"

    def recipe(self, vit: Vit, source: PictureSource) -> Recipe:
        """What makes the result of the whole."""
        return self.made

    def prepare(self, vit: Vit, source: PictureSource) -> Vit:
        """The means are prepared already."""
        return vit

    def run(self, prepared: Vit, shard: PictureSource) -> AnswerSums:
        """The sums over some of the pictures."""
        sums = AnswerSums()

        def answers_of(batch: Batch) -> tuple[Batch, Tensor]:
            clean = clean_run(prepared, batch.images, batch.labels if self.labelled else None)
            resumer = Resumer(prepared, clean)
            rows = []
            for order in self.orders:
                self.stage.check()
                asked = [
                    answers(
                        clean.cache.logits.cpu(),
                        masked_logits(resumer, order[:count], self.means, self.L, self.H).cpu(),
                        clean.labels,
                    )
                    for count in self.counts
                ]
                rows.append(torch.stack(asked, 1))
                self.stage.advance(len(batch) * len(self.counts))
            return batch, torch.stack(rows, 1)

        for batch, found in measured(prepared, shard, self.batch_size, answers_of, self.stage):
            sums.total.add(found)
            sums.keys += batch.keys
            sums.ids += batch.ids
        return sums

    def merge(self, prepared: Vit, parts: Iterable[AnswerSums]) -> AnswerSums:
        """The sums over all pictures."""
        whole = AnswerSums()
        for part in parts:
            whole.merge(part)
        return whole

    def encode(self, part: AnswerSums) -> Mapping[str, bytes]:
        """One file."""
        arrays = {"high": part.total.high, "low": part.total.low}
        return {FILE: tensors.encode(KIND, arrays, {"keys": part.keys, "ids": part.ids})}

    def decode(self, files: Mapping[str, bytes]) -> AnswerSums:
        """What ``encode`` made, back."""
        arrays, note = tensors.decode(files[FILE], FILE, KIND)
        return AnswerSums(list(note["keys"]), list(note["ids"]), ExactSum(arrays["high"], arrays["low"]))


def masked_logits(resumer: Resumer, heads: Sequence[Head], means: Tensor | None, L: int, H: int) -> Tensor:
    """Logits with these heads away, resumed from the earliest of their blocks."""
    if not heads:
        return resumer.clean.cache.logits
    keep = torch.ones(1, L, H)
    for block, head in heads:
        keep[0, block, head] = 0
    index = torch.arange(resumer.clean.pictures)
    logits, _ = resumer.run(min(b for b, _ in heads), HeadAblation(keep, means), index)
    return logits


def answers(full: Tensor, logits: Tensor, labels: Tensor | None) -> Tensor:
    """(n, 4): probability of the reference class, accuracy, same prediction, Jensen-Shannon divergence."""
    p_log, q_log = full.double().log_softmax(-1), logits.double().log_softmax(-1)
    reference = full.argmax(-1) if labels is None else labels
    probability = q_log.exp().gather(1, reference[:, None]).squeeze(1)
    predicted = logits.argmax(-1)
    accuracy = torch.full_like(probability, torch.nan) if labels is None else (predicted == labels).double()
    return torch.stack(
        [probability, accuracy, (predicted == full.argmax(-1)).double(), js_bits(p_log, q_log)], 1
    )


def with_means(place: pd.DataFrame, sums: ExactSum, pictures: int) -> pd.DataFrame:
    """The rows with the mean over pictures of each answer."""
    means = (sums.value() / pictures).numpy()
    return place.assign(**{name: means[:, column] for column, name in enumerate(ANSWERS)})
