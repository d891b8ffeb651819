"""Every attention matrix of every picture: very large, and kept only when it is asked for."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vitscope.heads.per_picture import Rows
from vitscope.pictures import Batch
from vitscope.pictures.read_batch import ReadBatch
from vitscope.studies.analyses.analysis import Desk
from vitscope.studies.analyses.answers import arrays_of_rows, measured_rows, output_of_rows
from vitscope.studies.output import Output, Places
from vitscope.studies.store.specs import ArraySpec


class Attention:
    """The matrices of every block and head.

    Args:
        desk: Model and study.
    """

    tables: Sequence[str] = ()

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def run(self, pictures: ReadBatch) -> Rows:
        """Those of one batch."""
        return measured_rows(self._desk, pictures, self._matrices)

    def _matrices(self, batch: Batch) -> Rows:
        trace = self._desk.vit.trace(batch.images, gradient=False, keys=batch.keys)
        found = {
            int(site.info.block): site.attention().half().cpu().numpy()
            for site in trace.sites
            if site.info.block is not None
        }
        alike = len({values.shape for values in found.values()}) == 1
        if alike and sorted(found) == list(range(len(found))):
            values = {"attention": np.stack([found[block] for block in sorted(found)], axis=1)}
        else:
            values = {f"attention/block_{block:02d}": found[block] for block in sorted(found)}
        return Rows(tuple(batch.keys), tuple(batch.ids), values, float(len(batch)))

    def arrays(self, parts: Sequence[Rows]) -> Sequence[ArraySpec]:
        """``attention``, or ``attention/block_07`` where blocks differ."""
        return arrays_of_rows(parts)

    def finish(self, parts: Sequence[Rows], places: Places) -> Output:
        """A row for every picture."""
        return output_of_rows(parts, places)
