"""One batch after the other, where a picture that the model has no number for is left out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

from vitscope.analysis import answered
from vitscope.errors import AnswerError
from vitscope.heads.errors import HeadsError
from vitscope.pictures import Batch, PictureSource
from vitscope.progress import CountedStage
from vitscope.tracing import Vit

Found = TypeVar("Found")


def measured(
    vit: Vit, shard: PictureSource, batch_size: int, measure: Callable[[Batch], Found], stage: CountedStage
) -> Iterator[Found]:
    """What ``measure`` gives for every batch, see :func:`vitscope.analysis.answered`.

    Where the source does not skip, HeadsError is raised with the key of a picture that has no number.
    """
    return answered(vit, shard, batch_size, measure, stage, _refused)


def _refused(batch: Batch, error: AnswerError) -> HeadsError:
    return HeadsError(f"{batch.keys[error.pictures[0]]}: {error.of_one}")
