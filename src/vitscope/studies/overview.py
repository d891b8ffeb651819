"""One number for each picture of a study, made of what it holds: to sort by, before any picture is looked at."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vitscope.studies.errors import StudyError
from vitscope.studies.manifest import Manifest
from vitscope.studies.read_study import ReadStudy

FEATURES = "features"
DROPS = "head_scores/probability_drop_top"
CHUNK = 65_536
"""Pictures that are read at once."""


def why_no_drop(manifest: Manifest) -> str | None:
    """Why a study cannot say what the loss of one head does to a picture; None where it can."""
    if DROPS in manifest.arrays:
        return None
    if "importance" in manifest.main.analyses:
        return "the study measured its heads without removing any; make it with --exact"
    return "the study did not measure its heads; make it with --analyses importance"


def why_no_similarity(manifest: Manifest) -> str | None:
    """Why a study cannot say which of its pictures are alike; None where it can."""
    if FEATURES in manifest.arrays:
        return None
    return "the study kept no class-token features; make it with --arrays features"


@dataclass(frozen=True)
class Drop:
    """For each picture (N,) the largest fall, and the block and head that make it; NaN and -1 where unknown."""

    value: NDArray[np.float32]
    block: NDArray[np.int32]
    head: NDArray[np.int32]


def largest_drops(study: ReadStudy) -> Drop:
    """The largest fall of the predicted class's probability when one head is removed, in points from -1 to 1.

    drop[n] = max over blocks l and heads h of p(n) - p(n without l.h), from ``head_scores/probability_drop_top``.

    Raises StudyError for a study without it.
    """
    _require(why_no_drop(study.manifest))
    array = study.array(DROPS)
    pictures, heads = len(array), array.shape[2]
    found = Drop(
        np.full(pictures, np.nan, np.float32),
        np.full(pictures, -1, np.int32),
        np.full(pictures, -1, np.int32),
    )
    for start in range(0, pictures, CHUNK):
        scores = np.asarray(array[start : start + CHUNK], np.float32).reshape(-1, array.shape[1] * heads)
        rows = np.flatnonzero(np.isfinite(scores).any(1))
        best = np.nanargmax(scores[rows], 1)
        found.value[start + rows] = scores[rows, best]
        found.block[start + rows], found.head[start + rows] = best // heads, best % heads
    return found


def similarities(study: ReadStudy, picture: int) -> NDArray[np.float32]:
    """How alike every picture is to one of them, (N,): the cosine of their class-token features, NaN where unknown.

    Raises StudyError for a study without features, and for a picture of which it has none.
    """
    _require(why_no_similarity(study.manifest))
    array = study.array(FEATURES)
    if not 0 <= picture < len(array):
        raise StudyError(f"the study has pictures 0 to {len(array) - 1}, got {picture}; choose one of them")
    wanted = np.asarray(array[picture], np.float32)
    length = float(np.linalg.norm(wanted))
    if not np.isfinite(length) or length == 0:
        raise StudyError(
            f"the study has no features of picture {picture}; it was skipped, or is not computed yet"
        )
    found = np.full(len(array), np.nan, np.float32)
    for start in range(0, len(array), CHUNK):
        rows = np.asarray(array[start : start + CHUNK], np.float32)
        lengths = np.linalg.norm(rows, axis=1)
        known = lengths > 0  # False for NaN, too
        found[start : start + CHUNK][known] = rows[known] @ wanted / (lengths[known] * length)
    return found


def _require(reason: str | None) -> None:
    if reason is not None:
        raise StudyError(f"there is no such number: {reason}")
