"""How a pruned model does against the one it was made from, on the same pictures."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from vitscope.heads.batches import PictureSource
from vitscope.tracing import Vit


def accuracy_of(
    full: Vit, pruned: Vit, source: PictureSource, labels: Sequence[int] | None, batch_size: int
) -> tuple[float | None, float | None, float]:
    """(accuracy before, after, share of equal predictions); accuracies are None without labels."""
    before = after = same = seen = 0
    for batch in source.batches(full, batch_size):
        first, second = (vit.forward(batch.pixels).argmax(-1).cpu() for vit in (full, pruned))
        same += int((first == second).sum())
        seen += len(first)
        if labels is not None:
            truth = torch.tensor([labels[i] for i in batch.positions])
            before += int((first == truth).sum())
            after += int((second == truth).sum())
    return (before / seen, after / seen, same / seen) if labels is not None else (None, None, same / seen)
