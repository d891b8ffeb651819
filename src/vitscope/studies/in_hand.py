"""Pictures that were read already, to evaluate on."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from vitscope.evaluation import EvaluationSet
from vitscope.pictures import Batch
from vitscope.pictures.read_batch import ReadBatch
from vitscope.tracing import Vit


class EvaluationInHand(EvaluationSet):
    """An evaluation set whose pictures are in hand, see `evaluation_in_hand`."""

    def batches(self, vit: Vit, size: int) -> Iterator[Batch]:
        """The batch that was read."""
        source = self.__dict__["source"]
        assert isinstance(source, ReadBatch)
        try:
            yield from source.batches(vit, size)
        finally:
            self.skipped.update(source.skipped)


def evaluation_in_hand(source: ReadBatch, kinds: Collection[str]) -> EvaluationInHand:
    """A batch that was read, with those ``kinds`` of labels, masks and boxes that are used."""
    made = EvaluationInHand(
        source.items,
        list(source.keys),
        source.labels if "labels" in kinds else None,
        source.masks if "masks" in kinds else None,
        source.boxes if "boxes" in kinds else None,
        contents=list(source.ids),
        skip=True,
    )
    made.__dict__["source"] = source
    return made
