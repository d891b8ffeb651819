"""A study as the app shows it: its finished pictures, the maps that it keeps, how far it is."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import vitscope as vs
from vitscope.app.pictures.listed import ListedPicture
from vitscope.app.pictures.reference import StudiedPicture
from vitscope.evaluation import Leaderboard
from vitscope.models.preparing.preprocessor import Preprocessor
from vitscope.pictures import MAX_PIXELS
from vitscope.pictures.planned import PlannedPicture
from vitscope.storage.stores import open_store
from vitscope.studies import StudyError, overview
from vitscope.studies.analyses.pictures import OK
from vitscope.studies.plan_files import PlanFiles
from vitscope.studies.reading import Reading

PICTURES = ["picture", "key", "label", "status", "reason", "content"]
PREDICTIONS = ["picture", "rank", "class", "probability", "entropy"]
BETWEEN = 2.0
"""Seconds between two looks at how far a growing study is."""


class StudyShown:
    """A study that is looked at, which may still be growing.

    Args:
        place: Its folder or URL.

    Raises:
        StudyError: There is no study, or its manifest is damaged.
    """

    def __init__(self, place: str) -> None:
        self.study = vs.Study.open(place, alone=True)
        self.manifest = self.study.manifest
        self.place = place
        store = open_store(place, alone=True)
        self._plan, self._reading = PlanFiles(store, self.manifest), Reading(store, self.manifest)
        self._shards: dict[int, list[PlannedPicture]] = {}
        self._listed: tuple[int, list[ListedPicture]] | None = None
        self._board: Leaderboard | None = None
        self._looked = -BETWEEN
        self._finished = False
        self._lock, self._merging = threading.Lock(), threading.Lock()

    @property
    def name(self) -> str:
        """The last part of its place."""
        return self.place.rstrip("/").rpartition("/")[2] or self.place

    @property
    def methods(self) -> list[str]:
        """The methods whose maps it keeps, in the order in which they were chosen."""
        kept = (path for path in self.manifest.arrays if path.startswith("maps/"))
        return [path.removeprefix("maps/") for path in kept]

    def described(self) -> dict[str, Any]:
        """What it holds, how far it is, and what is to be known of it."""
        status = self.study.status()
        main = next(stage for stage in status.stages if stage.name == self.manifest.main.name)
        notes = []
        if not status.finished:
            notes.append(
                f"the study is not finished: {main.pictures:,} of {status.pictures:,} pictures are computed; go on "
                f"with vitscope study run {self.place}"
            )
        if status.skipped:
            notes.append(f"{status.skipped:,} pictures could not be read; they are listed with the reason")
        if self.read_only:
            notes.append("the study's folder cannot be written; it is only read here")
        return {
            "name": self.name,
            "place": str(self.study.place),
            "pictures": self.manifest.input.count,
            "computed": main.pictures,
            "finished": status.finished,
            "read_only": self.read_only,
            "analyses": sorted(set(self.manifest.main.analyses) | self._other_analyses()),
            "methods": self.methods,
            "arrays": sorted(self.manifest.arrays),
            "unknown": self.unknown,
            "notes": notes,
        }

    @property
    def preprocessor(self) -> Preprocessor | None:
        """How pictures became the model's input, as the study recorded it."""
        known: dict[str, Any] | None = self.manifest.model.identity.get("preprocessing")
        if known is None:
            return None
        fields: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in known.items()
        }
        return Preprocessor(**fields)

    @property
    def read_only(self) -> bool:
        """Whether its folder cannot be written; False for one behind a URL, of which that is not known."""
        return "://" not in self.place and not os.access(Path(self.place), os.W_OK)

    @property
    def finished(self) -> bool:
        """Whether all of it is computed; looked up until it is."""
        self._finished = self._finished or self.study.status().finished
        return self._finished

    def listed(self) -> list[ListedPicture]:
        """The pictures of finished shards, in their order."""
        with self._lock:
            now = time.monotonic()
            whole = self._listed is not None and self._listed[0] == self.manifest.shards
            if not whole and now - self._looked > BETWEEN:
                self._looked = now
                done = len(self._reading.finished("pictures"))
                if self._listed is None or self._listed[0] != done:
                    self._listed = (done, self._read() if done else [])
            return [] if self._listed is None else self._listed[1]

    def maps(self, method: str, row: int) -> dict[str, NDArray[np.float32]]:
        """The map, and the flow where it is kept, of one picture. Raises StudyError where the study has none."""
        if f"maps/{method}" not in self.manifest.arrays:
            kept = ", ".join(self.methods) or "no method"
            raise StudyError(f"this study keeps no maps of {method!r}; it keeps those of {kept}")
        found = {"map": np.asarray(self.study.array(f"maps/{method}")[row], np.float32)}
        if f"flow/{method}" in self.manifest.arrays:
            found["flow"] = np.asarray(self.study.array(f"flow/{method}")[row], np.float32)
        if np.isnan(found["map"]).all():
            raise StudyError("this study has no map of that picture; it was skipped, or is not computed yet")
        return found

    @property
    def unknown(self) -> dict[str, str]:
        """Which of the numbers to sort by it does not hold, each with the reason."""
        reasons = {
            "entropy": self._why_no_entropy(),
            "drop": overview.why_no_drop(self.manifest),
            "similarity": overview.why_no_similarity(self.manifest),
        }
        return {name: reason for name, reason in reasons.items() if reason is not None}

    def _why_no_entropy(self) -> str | None:
        if "predictions" not in self.manifest.tables:
            return "the study's model predicts no classes"
        if self.manifest.schema < 2:
            return "the study is of an older schema, without entropy; it is known of pictures that were looked at"
        return None

    def similarities(self, row: int) -> NDArray[np.float32]:
        """How alike every picture of the study is to one. Raises StudyError where it does not hold that."""
        return overview.similarities(self.study, row)

    def board(self) -> Leaderboard:
        """The study's own leaderboard, merged once. Raises StudyError where it has none, or is not finished."""
        with self._merging:  # which takes seconds: pictures are listed meanwhile
            if self._board is None:
                self._board = self.study.leaderboard()
            return self._board

    def maps_together(self, most: int) -> tuple[dict[str, NDArray[np.float32]], int]:
        """The maps of all methods on the same pictures, at most so many and evenly over the study, and of how many
        pictures there are any. Methods whose maps have another grid are left out."""
        rows = [each.row for each in self.listed() if each.reference is not None and each.row is not None]
        chosen = np.asarray(rows[:: max(1, -(-len(rows) // most))], np.int64)
        found: dict[str, NDArray[np.float32]] = {}
        for method in self.methods if len(chosen) else ():
            values = np.asarray(self.study.array(f"maps/{method}")[chosen], np.float32)
            if not found or values.shape == next(iter(found.values())).shape:
                found[method] = values
        return found, len(rows)

    def predictions_of(self, row: int) -> list[tuple[int, float, float]]:
        """Class, probability and logit of the most likely classes of a picture, the first on top; none where the study
        keeps none."""
        if "predictions" not in self.manifest.tables:
            return []
        shard = row // self.manifest.shard_size
        names = ["picture", "rank", "class", "probability", "logit"]
        rows = self._reading.table("predictions", [shard], names)
        own = rows[rows["picture"] == row].sort_values("rank")
        return [
            (int(number), float(share), float(logit))
            for number, share, logit in zip(own["class"], own["probability"], own["logit"], strict=True)
        ]

    def options_of(self, method: str) -> Mapping[str, Any]:
        """The options that the maps of a method were made with, as far as they were chosen."""
        explain = self.manifest.options_of("explain") or {}
        methods = explain.get("methods", {})
        found: Mapping[str, Any] = methods.get(method, {}) if isinstance(methods, Mapping) else {}
        return found

    def _other_analyses(self) -> set[str]:
        known = {"patterns", "importance", "strength", "evaluate", "explain"}
        return {name for stage in self.manifest.stages for name in stage.analyses if name in known}

    def _read(self) -> list[ListedPicture]:
        rows = self.study.table("pictures", columns=PICTURES)
        predicted, drops = self._predictions(), self._drops()
        seen: dict[str, int] = {}
        found = []
        for number, key, label, status, reason, content in rows[PICTURES].itertuples(index=False, name=None):
            row = int(number)
            digest = content if isinstance(content, str) and content else f"unread-{row}"
            again = seen[digest] = seen.get(digest, 0) + 1
            usable = status == OK
            first, confidence, entropy = predicted.get(row, (None, None, None))
            drop, head = drops.get(row, (None, None))
            found.append(
                ListedPicture(
                    digest if again == 1 else f"{digest}-{again}",
                    str(key),
                    self._reference(row, digest) if usable else None,
                    row,
                    None if label is None or label != label else int(label),
                    first,
                    confidence,
                    entropy,
                    drop,
                    head,
                    skipped=None if usable else str(reason or "it could not be read"),
                )
            )
        return found

    def _predictions(self) -> dict[int, tuple[int, float, float | None]]:
        if "predictions" not in self.manifest.tables:
            return {}
        rows = self.study.table("predictions", columns=PREDICTIONS)
        first = rows[rows["rank"] == 0]
        return {
            int(number): (int(found), float(share), float(entropy) if entropy == entropy else None)
            for number, found, share, entropy in zip(
                first["picture"], first["class"], first["probability"], first["entropy"], strict=True
            )
        }

    def _drops(self) -> dict[int, tuple[float, str]]:
        if overview.why_no_drop(self.manifest) is not None:
            return {}
        found = overview.largest_drops(self.study)
        return {
            int(row): (float(found.value[row]), f"{found.block[row]}.{found.head[row]}")
            for row in np.flatnonzero(found.block >= 0)
        }

    def _reference(self, row: int, content: str) -> StudiedPicture:
        shard, place = divmod(row, self.manifest.shard_size)
        if shard not in self._shards:
            self._shards[shard] = self._plan.shard(shard)
        return StudiedPicture(
            self.manifest.input.url,
            self._shards[shard][place],
            content,
            self.manifest.input.max_pixels or MAX_PIXELS,
        )
