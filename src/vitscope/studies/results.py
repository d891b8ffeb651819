"""The merged results of a study, as the library's own result types, from what its shards wrote."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from vitscope.evaluation import Leaderboard
from vitscope.evaluation.board import merging
from vitscope.evaluation.board.records import CurveRecord, MethodRecord
from vitscope.evaluation.metric_state import Metric
from vitscope.evaluation.protocol import Protocol
from vitscope.heads import HeadTable, PatternAtlas, StrengthProfile
from vitscope.heads.distance.strength import profile_of
from vitscope.heads.distance.strength_parts import SCALARS, StrengthSums
from vitscope.heads.origin import Origin
from vitscope.heads.per_picture import Rows
from vitscope.heads.pruning.importance import described_importance
from vitscope.heads.summed_table import SummedHeadTable
from vitscope.heads.table_parts import merge_tables
from vitscope.progress import CountedStage
from vitscope.storage.recipe import Recipe
from vitscope.studies.analyses import heads as importance_analysis
from vitscope.studies.analyses import scores as score_analysis
from vitscope.studies.analyses import strength as strength_analysis
from vitscope.studies.analyses.patterns import atlas_of
from vitscope.studies.analyses.pictures import OK
from vitscope.studies.errors import StudyError
from vitscope.studies.reading import Reading
from vitscope.studies.stages import FIT
from vitscope.sums import poisson_bootstrap


class Results:
    """Merges what finished shards wrote, in the order of the shards.

    Args:
        reading: The study's tables, arrays and states.
    """

    def __init__(self, reading: Reading) -> None:
        self._reading, self._manifest = reading, reading.manifest

    def _options(self, analysis: str) -> Mapping[str, Any]:
        options = self._manifest.options_of(analysis)
        if options is None:
            raise StudyError(
                f"this study was made without the analysis {analysis}; it has "
                f"{', '.join(self._manifest.main.analyses)}"
            )
        return options

    def leaderboard(self) -> Leaderboard:
        """The scores of every method; seconds and memory are in the study's events."""
        self._options("evaluate")
        shards = [
            shard for shard in self._reading.require("main") if self._wrote(shard, score_analysis.STATE)
        ]
        return merging.merge(map(self._board, shards), map(self._start, shards))

    def _wrote(self, shard: int, state: str) -> bool:
        """Whether a shard left a state: one whose pictures were all skipped did not."""
        return state in self._reading.states("main", shard)

    def _start(self, shard: int) -> int:
        return self._manifest.bounds(shard)[0]

    def _board(self, shard: int) -> Leaderboard:
        """The leaderboard of one shard."""
        note = json.loads(self._reading.states("main", shard)[score_analysis.STATE])
        keys = self._keys(shard)
        scores = self._reading.table("scores", [shard])
        curves = self._reading.table("curves", [shard])
        states: dict[tuple[str, str], Metric] = {}
        for (method, metric), rows in scores.groupby(["method", "metric"], sort=False, observed=True):
            state = Metric(str(metric))
            state.update_rows([keys[number] for number in rows["picture"]], _stacked(rows["statistics"]))
            states[str(method), str(metric)] = state
        fractions = {(method, curve): values for method, curve, values in note["fractions"]}
        kept: dict[tuple[str, str], CurveRecord] = {}
        for (method, curve), rows in curves.groupby(["method", "curve"], sort=False, observed=True):
            place = (str(method), str(curve))
            at = _stacked(pd.Series([fractions[place]]))[0]
            kept[place] = CurveRecord(
                at, [keys[number] for number in rows["picture"]], _stacked(rows["values"])
            )
        # The order of a table's rows is that of its pictures; a board's is that of its methods and metrics.
        order = [(each["name"], metric) for metric in note["metrics"] for each in note["methods"]]
        return Leaderboard(
            Protocol.from_dict(note["protocol"]),
            [MethodRecord(**method) for method in note["methods"]],
            [str(metric) for metric in note["metrics"]],
            {place: states[place] for place in order if place in states},
            {(str(method), str(metric)): int(count) for method, metric, count in note["evaluations"]},
            int(note["shared_evaluations"]),
            {place: kept[place] for place in fractions if place in kept},
        )

    def heads(self) -> HeadTable | SummedHeadTable:
        """What every head matters, by every metric."""
        options = self._options("importance")
        shards = [
            shard for shard in self._reading.require("main") if self._wrote(shard, importance_analysis.STATE)
        ]
        full_forwards = 0.0
        savings: Mapping[str, Any] = {}
        arrays = {
            path.rpartition("/")[2]: self._reading.array(path)
            for path in self._manifest.arrays
            if path.startswith("head_scores/")
        }

        def tables() -> Iterator[HeadTable]:
            nonlocal full_forwards, savings
            for shard in shards:
                note = json.loads(self._reading.states("main", shard)[importance_analysis.STATE])
                full_forwards, savings = full_forwards + note["full_forwards"], note["savings"]
                start, stop = self._manifest.bounds(shard)
                values = {name: np.asarray(array[start:stop]) for name, array in arrays.items()}
                pictures = self._measured(shard, next(iter(values.values())))
                rows = pictures["picture"].to_numpy() - start
                origin = Origin(Recipe.from_dict(note["recipe"]), tuple(pictures["content"].fillna("")))
                yield HeadTable(
                    {name: array[rows] for name, array in values.items()}, tuple(pictures["key"]), {}, origin
                )

        table = merge_tables(tables(), map(self._start, shards), seed=self._manifest.seed)
        table = replace(table, origin=replace(table.origin, skipped=self.skipped()))
        metadata = {
            "model": self._manifest.model.identity["source"],
            "fingerprint": self._manifest.model.identity["fingerprint"],
            "replacement": options["replacement"],
            "labels": "labels" in self._manifest.input.known,
            "screen": None,
            "full_forwards": full_forwards,
            "savings": savings,
        }
        if isinstance(table, HeadTable):
            return described_importance(table, metadata)
        return described_importance(table, metadata)

    def strength(self) -> StrengthProfile:
        """How far every head looks."""
        distance = self._options("strength")["distance"]
        sums = StrengthSums(Recipe("strength"), distance, 1, CountedStage(None, "attention strength", 0))
        recipe: Recipe | None = None

        def parts() -> Iterator[Any]:
            nonlocal recipe
            for shard in self._reading.require("main"):
                states = self._reading.states("main", shard)
                if strength_analysis.RECIPE in states:
                    own = Recipe.from_dict(json.loads(states[strength_analysis.RECIPE])["recipe"])
                    recipe = own if recipe is None else recipe.merged(own)
                    prefix = f"{strength_analysis.STATE}/"
                    files = {n.removeprefix(prefix): c for n, c in states.items() if n.startswith(prefix)}
                    yield sums.decode(files)

        whole = sums.merge(None, parts())  # type: ignore[arg-type]  # nothing is asked of a model
        ids: tuple[str, ...] = ()
        if whole.count <= poisson_bootstrap.EXACT:
            arrays = {name: self._reading.array(f"profiles/{name}")[:] for name in SCALARS}
            pictures = self._measured(None, arrays[SCALARS[0]])
            rows = pictures["picture"].to_numpy()
            scalars = {name: np.asarray(values[rows], np.float32) for name, values in arrays.items()}
            ids = tuple(pictures["content"].fillna(""))
            whole = replace(whole, rows=Rows(tuple(pictures["key"]), ids, scalars))
        identity = self._manifest.model.identity
        metadata = {"model": identity["source"], "fingerprint": identity["fingerprint"]}
        if recipe is None:
            raise StudyError("no picture could be used, so there is no strength; see the table of pictures")
        origin = Origin(recipe, ids, self.skipped())
        return profile_of(whole, distance, metadata, origin)

    def patterns(self) -> PatternAtlas:
        """The patterns that attention has; the code of every map is the array ``patterns/codes``."""
        self._options("patterns")
        self._reading.require(FIT)
        return atlas_of(self._reading.states(FIT, 0))

    def skipped(self) -> dict[str, str]:
        """By key, why a picture could not be used."""
        found: dict[str, str] = {}
        for rows in self._reading.iterate("pictures", ["key", "status", "reason"]):
            left = rows[rows["status"] != OK]
            found.update(zip(left["key"], left["reason"], strict=True))
        return found

    def _keys(self, shard: int) -> dict[int, str]:
        rows = self._reading.table("pictures", [shard], ["picture", "key"])
        return dict(zip(rows["picture"].tolist(), rows["key"], strict=True))

    def _measured(self, shard: int | None, values: NDArray[Any]) -> pd.DataFrame:
        """The pictures of one shard, or of all, for which an array over them has values, with key and content."""
        chosen, start = (None, 0) if shard is None else ([shard], self._start(shard))
        rows = self._reading.table("pictures", chosen, ["picture", "key", "content"])
        there = ~np.isnan(values.reshape(len(values), -1)).all(1)
        found: pd.DataFrame = rows[there[rows["picture"].to_numpy() - start]]
        return found


def _stacked(column: pd.Series) -> Any:
    """A column of equally long lists as a float64 tensor (rows, length)."""
    import torch

    return torch.from_numpy(np.stack([np.asarray(row, dtype=np.float64) for row in column]))
