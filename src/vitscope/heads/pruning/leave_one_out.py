"""Take every head of a batch's run away in turn, exactly, and measure what changes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from vitscope.heads.per_picture import Rows
from vitscope.heads.pruning.sweep import clean_run, groups, measure_output, measure_tokens, stacked_index
from vitscope.pictures import Batch
from vitscope.progress import CountedStage
from vitscope.tracing import HeadAblation, Vit
from vitscope.tracing.calls.counting import counted_as
from vitscope.tracing.changes.ablation import keep_without_each
from vitscope.tracing.copies.resumer import TAILS, Resumer, Started

Head = tuple[int, int]


@dataclass(frozen=True)
class LeaveOneOut:
    """What is taken away and what is measured; called with a batch it gives every metric, (n, L, H).

    heads: which; those that are not named are NaN. means: what stands in for a head, None for zero. L, H: the grid of
    heads. stage: told how many (picture, head) pairs are done.
    """

    vit: Vit
    heads: Sequence[Head]
    means: Tensor | None
    representation: str
    labelled: bool
    batch_size: int
    L: int
    H: int
    stage: CountedStage

    def __call__(self, batch: Batch) -> Rows:
        clean = clean_run(self.vit, batch.images, batch.labels if self.labelled else None)
        sweep = _Sweep(self, Resumer(self.vit, clean))
        sweep.run()
        return Rows.of(batch, sweep.values, sweep.cost, {"savings": sweep.resumer.savings.as_dict()})


@dataclass
class _Sweep:
    """One batch: its clean run, and the values that are filled in."""

    plan: LeaveOneOut
    resumer: Resumer
    values: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    cost: float = 0.0

    def run(self) -> None:
        """Every chosen head, block by block; last blocks are run for several groups at once."""
        plan, n = self.plan, self.resumer.clean.pictures
        self.cost += n
        waiting: list[tuple[int, list[int], Started]] = []
        for block in range(plan.L):
            plan.stage.check()
            mine = [head for b, head in plan.heads if b == block]
            size = plan.batch_size if self.resumer.stacks else 1
            for group in groups(mine, n, size):
                waiting.append((block, group, self._start(block, group)))
            if sum(len(started.index) for *_, started in waiting) >= TAILS or block == plan.L - 1:
                self._finish(waiting)
                waiting = []
            if mine:
                plan.stage.advance(len(mine) * n)

    def _start(self, block: int, heads: list[int]) -> Started:
        """Run copies without each of the heads of one block up to a shortened last block, and measure the block."""
        plan, n = self.plan, self.resumer.clean.pictures
        index = stacked_index(n, len(heads))
        keep = keep_without_each([(block, head) for head in heads], plan.L, plan.H)
        ablation = HeadAblation(keep if len(heads) == 1 else keep.repeat_interleave(n, 0), plan.means)
        # Patch tokens after the last block need that block whole.
        patches = plan.representation == "all" or (plan.representation == "standard" and block == plan.L - 1)
        read = plan.representation != "none"
        with counted_as(len(index)):
            started = self.resumer.start(block, ablation, index, patches=patches, tokens=read)
        self.cost += len(index) * self.resumer.cost(block, patches)
        if plan.representation != "none":
            after = started.outputs[block] if block == plan.L - 1 else started.outputs.pop(block)
            self._write(block, heads, measure_tokens(self.resumer.clean, after, block, index, "block"))
        return started

    def _finish(self, waiting: list[tuple[int, list[int], Started]]) -> None:
        """The last block of what was started, and what is measured at the end."""
        clean, last, representation = self.resumer.clean, self.plan.L - 1, self.plan.representation
        with counted_as(0):  # they were counted when they were started
            finished = self.resumer.finish([started for *_, started in waiting])
        for (block, heads, started), (logits, outputs) in zip(waiting, finished, strict=True):
            found = measure_output(clean, logits, started.index)
            if representation != "none":
                every = representation == "all"
                found.update(measure_tokens(clean, outputs[last], last, started.index, "last", every))
            self._write(block, heads, found)

    def _write(self, block: int, heads: list[int], found: dict[str, Any]) -> None:
        """Put values (heads * pictures,) into values[name] (n, L, H)."""
        for name, value in found.items():
            columns = value.reshape(len(heads), -1).T.float().numpy()
            if name not in self.values:
                shape = (len(columns), self.plan.L, self.plan.H)
                self.values[name] = np.full(shape, np.nan, dtype=np.float32)
            self.values[name][:, block, heads] = columns
