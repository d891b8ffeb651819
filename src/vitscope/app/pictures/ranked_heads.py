"""The heads of a study in the order of one number, whichever of its analyses knows it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from vitscope.app.pictures.studied_heads import StudiedHeads

Head = tuple[int, int]
DISTANCES = ("patch_distance", "entropy")
DEPENDENCE = "content_dependence"


def order_of(heads: StudiedHeads, metric: str, rows: Sequence[int] | None = None) -> tuple[Head, ...]:
    """All heads that have such a number, that with the smallest first.

    Args:
        heads: The heads of a study.
        metric: A metric of importance, or ``patch_distance``, ``entropy``, ``content_dependence``.
        rows: Over which of the study's pictures importance is averaged; None for all that are computed.

    Raises:
        HeadsError: There is no such metric.
        StudyError: The study has no such analysis.
    """
    if metric in DISTANCES:
        profile = heads.strength()
        return _ascending(profile.values[metric], profile.blocks)
    if metric == DEPENDENCE:
        known = heads.atlas().heads
        mine = known[known["model"] == known["model"].iloc[0]].sort_values(metric, kind="stable")
        return tuple(zip(mine["block"].tolist(), mine["head"].tolist(), strict=True))
    return tuple(heads.table(rows).order(metric, most_important_first=False))


def _ascending(values: NDArray[np.floating], blocks: Sequence[int]) -> tuple[Head, ...]:
    rows, heads = np.nonzero(np.isfinite(values))
    found = sorted(zip(rows.tolist(), heads.tolist(), strict=True), key=lambda place: float(values[place]))
    return tuple((blocks[row], head) for row, head in found)
