"""One batch after the other, where a picture that the model has no number for is left out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

from vitscope.errors import AnswerError
from vitscope.heads.errors import HeadsError
from vitscope.pictures import Batch, PictureSource
from vitscope.pictures.batch import batch_of
from vitscope.progress import CountedStage
from vitscope.tracing import Vit

Found = TypeVar("Found")


def measured(
    vit: Vit, shard: PictureSource, batch_size: int, measure: Callable[[Batch], Found], stage: CountedStage
) -> Iterator[Found]:
    """What ``measure`` gives for every batch of some pictures; ``stage`` is told of each, and stops before the next.

    A picture that the model answers with NaN or infinity is left out and remembered in ``shard.skipped``, as one that
    cannot be read is; where the source does not skip, HeadsError is raised with its key.
    """
    for given in shard.batches(vit, batch_size):
        stage.check()
        before, batch = stage.done, given
        while True:
            try:
                found = measure(batch)
            except AnswerError as error:
                stage.again_from(before)
                left = _without(vit, shard, batch, error)
                if left is None:
                    break
                batch = left
                continue
            stage.finish_batch(before, len(given))
            yield found
            break


def _without(vit: Vit, shard: PictureSource, batch: Batch, error: AnswerError) -> Batch | None:
    """The batch without the pictures that an error names; None when none is left."""
    keys = batch.keys
    if not shard.skip:
        raise HeadsError(f"{keys[error.pictures[0]]}: {error.of_one}") from None
    for place in error.pictures:
        shard.skipped[keys[place]] = f"{keys[place]}: {error.of_one}"
    left = [picture for place, picture in enumerate(batch.pictures) if place not in error.pictures]
    return batch_of(vit, left) if left else None
