"""What a study knows of all heads: read when it is asked for, kept until more shards are finished."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

import vitscope as vs
from vitscope.app.answers.heads import NO_CLUSTER, only_rows
from vitscope.app.pictures.listed import ListedPicture
from vitscope.app.pictures.reference import StudiedPictures
from vitscope.app.pictures.studied import StudyShown
from vitscope.heads import HeadsError, HeadTable, PatternAtlas, StrengthProfile, SummedHeadTable
from vitscope.heads.atlas.display import layout_codes
from vitscope.heads.numbers import HeadNumbers
from vitscope.studies import StudyError
from vitscope.sums.poisson_bootstrap import EXACT

Floats = NDArray[np.float32]
Found = TypeVar("Found")
NEEDS = {
    "importance": ("head_scores/", "--analyses importance"),
    "strength": ("profiles/", "--analyses strength"),
    "patterns": ("patterns/", "--analyses patterns"),
    "features": ("features", "--arrays features"),
}
"""By part of the screen: where its numbers lie in a study, and what makes a study that has them."""


class StudiedHeads:
    """The heads of a study that is looked at, which may still be growing.

    Args:
        shown: The study.
    """

    def __init__(self, shown: StudyShown) -> None:
        self.shown, self.study = shown, shown.study
        self._kept: dict[str, tuple[int, Any]] = {}
        self._lock = threading.RLock()

    # ---- what is there ---------------------------------------------------------------------------------------
    def why_not(self, part: str) -> str | None:
        """Why a part is not there, with what would add it; None where it is."""
        start, command = NEEDS[part]
        if not any(path.startswith(start) for path in self.study.manifest.arrays):
            return f"the study has no {part}; make one with vitscope study create … {command}"
        if part in ("strength", "patterns") and not self.shown.finished:
            return (
                f"{part} are put together when all pictures are computed; go on with vitscope study run "
                f"{self.shown.place}"
            )
        return None

    def version(self) -> int:
        """Rises with the pictures that are computed."""
        return len(self.listed())

    def listed(self) -> list[ListedPicture]:
        """The study's pictures that could be read, in the order of their rows."""
        return [each for each in self.shown.listed() if each.row is not None and each.skipped is None]

    def rows(self) -> NDArray[np.uint32]:
        """The rows of ``listed``."""
        return np.array([each.row for each in self.listed()], np.uint32)

    def counts(self) -> list[int]:
        """How many heads each block has, as far as the study's own arrays tell; empty where they do not."""
        if self.why_not("importance") is not None or not self.listed():
            return []
        table = self.table()
        return [int(known.sum()) for known in np.isfinite(table.mean(table.metrics[0]))]

    def _once(self, name: str, make: Callable[[], Found]) -> Found:
        """What was made of the pictures that are there, once for each number of them."""
        version = self.version()
        with self._lock:
            known = self._kept.get(name)
            if known is None or known[0] != version:
                known = self._kept[name] = (version, make())
            found: Found = known[1]
            return found

    def _need(self, part: str) -> None:
        reason = self.why_not(part)
        if reason is not None:
            raise StudyError(reason)

    # ---- importance ------------------------------------------------------------------------------------------
    def table(self, rows: Sequence[int] | None = None) -> HeadNumbers:
        """What every head matters on the computed pictures, or on those of some rows: the numbers of ``study.heads()``.

        Raises StudyError where the study has none."""
        self._need("importance")
        whole = self._once("importance", self._table)
        if rows is None:
            return whole
        if isinstance(whole, SummedHeadTable):
            raise StudyError(
                f"above {EXACT:,} pictures the numbers of single pictures are not put together; choose no pictures"
            )
        known = self._once("rows", self._measured)
        return only_rows(whole, np.isin(known, np.asarray(rows)))

    def response(self, metric: str, heads: Sequence[tuple[int, int]]) -> tuple[Floats, NDArray[np.uint32]]:
        """How strongly each picture responds to some heads: the mean of a metric over them, (n,), and the rows (n,).

        Raises StudyError where the study has no numbers of single pictures, HeadsError for heads or a metric that it
        does not know."""
        whole = self.table()
        if not isinstance(whole, HeadTable):
            raise StudyError(f"above {EXACT:,} pictures the numbers of single pictures are not put together")
        values = whole[metric]
        unknown = [head for head in heads if not (head[0] < values.shape[1] and head[1] < values.shape[2])]
        if unknown or not heads:
            raise HeadsError(
                f"expected heads of the study such as 0.3, got {unknown or 'none'}; see the matrix"
            )
        blocks, places = np.array(heads).T
        chosen = values[:, blocks, places]
        known = np.isfinite(chosen)
        with np.errstate(invalid="ignore", divide="ignore"):
            means = np.where(known, chosen, 0).sum(1, dtype=np.float64) / known.sum(1)
        return means.astype(np.float32), self._once("rows", self._measured).astype(np.uint32)

    def _paths(self) -> list[str]:
        return [path for path in self.study.manifest.arrays if path.startswith("head_scores/")]

    def _measured(self) -> NDArray[np.int64]:
        """The rows that have numbers."""
        first = np.asarray(self.study.array(self._paths()[0])[:])
        known: NDArray[np.int64] = np.flatnonzero(~np.isnan(first.reshape(len(first), -1)).all(1))
        return known

    def _table(self) -> HeadTable | SummedHeadTable:
        if self.study.manifest.input.count > EXACT:
            return self.study.heads()
        rows = self._once("rows", self._measured)
        names = {each.row: each.key for each in self.shown.listed()}
        arrays = {
            path.rpartition("/")[2]: np.asarray(self.study.array(path)[:])[rows] for path in self._paths()
        }
        if not len(rows):
            raise StudyError("no picture is computed yet; look again when the first shard is finished")
        return HeadTable(arrays, tuple(names.get(int(row), str(row)) for row in rows))

    def agreement(self, names: Sequence[str] | None) -> vs.heads.Agreement:
        """How alike metrics rank the heads; all of them without bootstrap, a few with intervals over pictures."""
        table = self.table()
        assert isinstance(table, HeadTable | SummedHeadTable)
        if names:
            return vs.heads.agree(table, list(names))
        return self._once("agreement", lambda: vs.heads.agree(table, rounds=1))

    # ---- distance --------------------------------------------------------------------------------------------
    def strength(self) -> StrengthProfile:
        """How far every head looks. Raises StudyError where the study has no strength, or is not finished."""
        self._need("strength")
        return self._once("strength", self.study.strength)

    # ---- patterns --------------------------------------------------------------------------------------------
    def atlas(self) -> PatternAtlas:
        """The patterns. Raises StudyError where the study has none, or they are not fitted yet."""
        self._need("patterns")
        return self._once("atlas", self.study.patterns)

    def codes(self) -> tuple[Floats, NDArray[np.uint8], NDArray[np.uint32]]:
        """Of the n computed pictures: where the code of every map lies in two dimensions (n, L, H, 2), NaN for heads
        without maps; the cluster of each (n, L, H); and the pictures' rows (n,)."""
        self._need("patterns")
        return self._once("codes", self._codes)

    def _every_code(self) -> Floats:
        return np.asarray(self.study.array("patterns/codes")[:], np.float32)

    def _codes(self) -> tuple[Floats, NDArray[np.uint8], NDArray[np.uint32]]:
        codes = self._once("every code", self._every_code)
        clusters = np.asarray(self.study.array("patterns/clusters")[:], np.float32)
        there = ~np.isnan(codes).all(-1)
        rows = np.flatnonzero(there.reshape(len(codes), -1).any(1)).astype(np.uint32)
        places = np.full((*codes.shape[:3], 2), np.nan, np.float32)
        if there.any():
            places[there] = layout_codes(codes[there], "pca")[0]
        named = np.where(np.isnan(clusters), NO_CLUSTER, clusters).astype(np.uint8)
        return places[rows], named[rows], rows

    def walked(self, x: float, y: float) -> tuple[Floats, bool]:
        """The map (side, side) that is decoded at a place of the layout: of the code that lies there on its plane. And
        whether any picture's map lies that far out."""
        places, axes, start = self._once("plane", self._plane)
        code = start + np.array([x, y], np.float32) @ axes
        inside = bool(
            (places.min(0) <= (x, y)).all() and (places.max(0) >= (x, y)).all()
        )  # of the box of all points
        return self.atlas().decode(code[None].astype(np.float32))[0].numpy(), inside

    def prototype(self, points: NDArray[np.int64]) -> tuple[Floats, int]:
        """The map (side, side) of the mean code of some points, each row · heads + head, and how many have a code.

        Raises StudyError where none has."""
        self._need("patterns")
        every = self._once("every code", self._every_code)
        codes = every.reshape(-1, every.shape[3])
        codes = codes[points[points < len(codes)]]
        known = codes[~np.isnan(codes).any(1)]
        if not len(known):
            raise StudyError("none of these heads has a pattern there; select others")
        mean = known.mean(0, dtype=np.float64).astype(np.float32)
        return self.atlas().decode(mean[None])[0].numpy(), len(known)

    def _plane(self) -> tuple[Floats, Floats, Floats]:
        """The places, and the plane on which they lie among the codes: least squares, exact for principal axes."""
        codes = self._once("every code", self._every_code)
        found, _, rows = self.codes()
        there = ~np.isnan(found).any(-1)
        places, known = found[there], codes[rows][there]
        design = np.concatenate([np.ones((len(places), 1), np.float32), places], 1)
        solved = np.linalg.lstsq(design, known, rcond=None)[0]
        return places, solved[1:].astype(np.float32), solved[0].astype(np.float32)

    # ---- pictures --------------------------------------------------------------------------------------------
    def layout(self) -> tuple[Floats, str] | None:
        """Where each of the pictures of ``listed`` lies by its features, (n, 2), NaN for those without, and how that
        was found. None where the study keeps no features."""
        if self.why_not("features") is not None:
            return None
        return self._once("layout", self._layout)

    def _layout(self) -> tuple[Floats, str]:
        values = np.asarray(self.study.array("features")[:], np.float32)
        rows = np.array([each.row for each in self.listed()], np.int64)
        values = values[rows].reshape(len(rows), -1)
        known = np.isfinite(values).all(1)
        places = np.full((len(rows), 2), np.nan, np.float32)
        how = "pca"
        if known.any():
            places[known], how = layout_codes(values[known], "pca")
        return places, how

    def references(self, rows: Sequence[int]) -> StudiedPictures:
        """The pictures of some rows, to be handed to the model. Raises StudyError for a row without a picture."""
        known = {each.row: each for each in self.listed()}
        missing = [row for row in rows if row not in known]
        if missing or not rows:
            raise StudyError(
                f"the study has no computed picture {missing[0] if missing else ''}; give rows of api/heads/pictures"
            )
        return StudiedPictures.of([known[row].reference for row in rows])  # type: ignore[misc]
