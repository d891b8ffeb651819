"""What the classifier reads: the class token after the last block, as one vector of features per picture."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from vitscope.heads.errors import HeadsError
from vitscope.heads.per_picture import Rows
from vitscope.heads.pruning.sweep import read_vector
from vitscope.models.anatomy import Anatomy
from vitscope.pictures import Batch
from vitscope.tracing import Capture, Trace, Vit


@dataclass(frozen=True)
class Features:
    """What :class:`~vitscope.heads.per_picture.PerPicture` measures: the features of each picture, float32.

    notes: ``features``, in words, which token they are of."""

    vit: Vit

    def __call__(self, batch: Batch) -> Rows:
        trace = self.vit.trace(batch.images, gradient=False, capture=Capture(streams=True), keys=batch.keys)
        found = {"features": features(trace).float().cpu().numpy()}
        notes = {"features": features_in_words(trace.anatomy)}
        return Rows(tuple(batch.keys), tuple(batch.ids), found, float(len(batch)), notes)


def features(trace: Trace) -> Tensor:
    """The class token after the last block, (B, D); the mean of the patches for a model without one.

    Raises HeadsError for a model without blocks, or whose tokens lie on no known grid."""
    blocks = trace.anatomy.blocks
    read = read_vector(blocks[-1].as_sequence(trace.block_outputs[-1]), trace.anatomy) if blocks else None
    if read is None:
        raise HeadsError(
            f"{trace.model.source} has no token that stands for the picture; leave the features out"
        )
    return read


def features_in_words(anatomy: Anatomy) -> str:
    """Which token :func:`features` gives."""
    token = anatomy.layout is not None and anatomy.layout.class_index is not None
    return f"{'class token' if token else 'mean of the patch tokens'} after the last block"
