"""The row of attention that the classifier reads, in every block and head."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from vitscope.heads.errors import HeadsError
from vitscope.heads.per_picture import Rows
from vitscope.methods.applicability import row_methods
from vitscope.methods.chain import token_sites
from vitscope.methods.raw_attention import site_row
from vitscope.models.anatomy import Anatomy
from vitscope.pictures import Batch
from vitscope.tracing import Trace, Vit

READS: Mapping[str, str] = {
    "class": "the row of the class token",
    "class+distillation": "the mean of the rows of class and distillation token",
    "mean": "the mean of the rows of all patches",
    "attention": "the mean of the rows of the tokens, weighted as the attention pooling weighs them",
}
OTHERWISE = "the mean of the rows of the tokens that the classifier reads, weighted as it reads them"


@dataclass(frozen=True)
class ClassRows:
    """What :class:`~vitscope.heads.per_picture.PerPicture` measures: :func:`class_rows` of each picture, float16.

    notes: ``row``, in words, which row it is; ``blocks``, those that have one."""

    vit: Vit

    def __call__(self, batch: Batch) -> Rows:
        trace = self.vit.trace(batch.images, gradient=False, keys=batch.keys)
        found = {name: value.half().cpu().numpy() for name, value in class_rows(trace).items()}
        blocks = [int(site.info.block or 0) for site in token_sites(trace)]
        notes = {"row": row_in_words(trace.anatomy), "blocks": blocks}
        return Rows(tuple(batch.keys), tuple(batch.ids), found, float(len(batch)), notes)


def class_rows(trace: Trace) -> dict[str, Tensor]:
    """The read-out's row of attention over the T tokens, prefix included, as raw attention shows it.

    One array ``class_rows`` (B, L, H, T) where the blocks have equally many heads, else ``class_rows/block_07`` (B, H,
    T) for each. Keys that a block does not see are 0. The numbers are shares from 0 to 1, which float16 holds to
    2.5e-4; where heads are mixed after the softmax (CaiT) they are mixtures of such shares.

    Raises HeadsError for a model without rows over tokens (windows, channels)."""
    reason = row_methods(trace.anatomy)
    if reason is not None:
        raise HeadsError(f"there is no row of attention that {trace.model.source} reads: {reason}")
    rows = {int(site.info.block or 0): site_row(trace, site, "readout") for site in token_sites(trace)}
    if len({row.shape for row in rows.values()}) == 1:
        return {"class_rows": torch.stack(list(rows.values()), 1)}
    return {f"class_rows/block_{block:02d}": row for block, row in rows.items()}


def row_in_words(anatomy: Anatomy) -> str:
    """Which row :func:`class_rows` gives."""
    return READS.get(anatomy.pooling, OTHERWISE)
