"""Every attention matrix of every picture: very large, and kept only when it is asked for."""

from __future__ import annotations

import numpy as np

from vitscope.heads.per_picture import Rows
from vitscope.pictures import Batch
from vitscope.tracing import Vit


class Attention:
    """Measures the matrices of every block and head: ``attention``, or ``attention/block_07`` where blocks differ.

    Args:
        vit: The opened model.
    """

    def __init__(self, vit: Vit) -> None:
        self._vit = vit

    def __call__(self, batch: Batch) -> Rows:
        """Those of one batch."""
        trace = self._vit.trace(batch.images, gradient=False, keys=batch.keys)
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
