"""How a pruned model does against the one it was made from, on the same pictures."""

from __future__ import annotations

from vitscope.pictures import PictureSource
from vitscope.tracing import Vit


def accuracy_of(
    full: Vit, pruned: Vit, source: PictureSource, batch_size: int
) -> tuple[float | None, float | None, float]:
    """(accuracy before, after, share of equal predictions); accuracies are None where no labels are known."""
    before = after = same = seen = 0
    for batch in source.batches(full, batch_size):
        first, second = (vit.forward(batch.images).argmax(-1).cpu() for vit in (full, pruned))
        same += int((first == second).sum())
        seen += len(first)
        if batch.labels is not None:
            before += int((first == batch.labels).sum())
            after += int((second == batch.labels).sum())
    labelled = source.labels is not None
    return (before / seen, after / seen, same / seen) if labelled else (None, None, same / seen)
