"""Methods scored by metrics, as ``vs.evaluate`` scores them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from vitscope.evaluation import EvaluationSet, Leaderboard, Protocol, get_metric
from vitscope.evaluation.board import merging
from vitscope.evaluation.board.records import CurveRecord
from vitscope.evaluation.metric_state import Metric
from vitscope.evaluation.running.checkpoint import Evaluation, Prepared
from vitscope.evaluation.running.dataset import evaluation_set
from vitscope.evaluation.running.plan import Plan
from vitscope.evaluation.running.recipe import bind, truth_used
from vitscope.evaluation.running.subjects import Contestant
from vitscope.pictures.read_batch import ReadBatch
from vitscope.progress import CountedStage
from vitscope.studies.analyses.analysis import Desk
from vitscope.studies.output import Output, Places, packed_json
from vitscope.studies.store.specs import ArraySpec

STATE = "evaluate.json"


class Scores:
    """Every contestant against every metric under one protocol.

    Args:
        desk: Model and study.
        rows: The contestants as plain values.
        metrics: Names of metrics.
        protocol: The protocol's choices as plain values.
        perturbed_batch_size: Perturbed pictures in one forward pass.
    """

    tables: Sequence[str] = ("scores", "curves")

    def __init__(
        self,
        desk: Desk,
        rows: Sequence[Mapping[str, Any]],
        metrics: Sequence[str],
        protocol: Mapping[str, Any],
        perturbed_batch_size: int,
    ) -> None:
        self._desk = desk
        self._rows = [Contestant(**row) for row in rows]
        self._metrics = [get_metric(name) for name in metrics]
        self._chosen = Protocol.from_dict(protocol)
        self._perturbed = perturbed_batch_size
        self._bound: Protocol | None = None
        self._prepared: Prepared | None = None

    def run(self, pictures: ReadBatch) -> Leaderboard | None:
        """The leaderboard of one batch."""
        batch = next(pictures.batches(self._desk.vit, len(pictures)))
        used = truth_used(self._metrics, self._chosen.target)
        data = evaluation_set(pictures).only(used).of_batch(batch)
        analysis = self._analysis(data)
        if self._prepared is None:
            self._prepared = analysis.prepare(self._desk.vit, data)
        board = analysis.run(self._prepared, data)
        pictures.skipped.update(data.skipped)
        return board

    def _analysis(self, data: EvaluationSet) -> Evaluation:
        if self._bound is None:
            first = data.first(self._desk.vit)
            self._bound = bind(
                self._chosen, self._desk.vit, dict(self._desk.model), data, self._rows, self._metrics, first
            )
        plan = Plan(
            self._bound,
            self._rows,
            self._metrics,
            self._desk.batch_size,
            self._perturbed,
            keep_pictures=False,
        )
        return Evaluation(plan, CountedStage(None, "evaluating", len(data), len(self._rows)))

    def arrays(self, parts: Sequence[Leaderboard | None]) -> Sequence[ArraySpec]:
        """None."""
        return ()

    def finish(self, parts: Sequence[Leaderboard | None], places: Places) -> Output:
        """Rows for each picture, method and metric; the note of the leaderboard without what a clock said."""
        boards = [part for part in parts if part is not None]
        if not boards:
            return Output()
        board = merging.merge(boards)
        return Output(
            {"scores": _scores(board, places), "curves": _curves(board, places)},
            states={STATE: packed_json(_note(board))},
        )


def contestant_values(row: Contestant) -> dict[str, Any]:
    """A contestant as plain values, from which it can be made again."""
    return {**asdict(row), "options": dict(row.options)}


def _scores(board: Leaderboard, places: Places) -> dict[str, Any]:
    columns: dict[str, list[Any]] = {
        name: [] for name in ("picture", "method", "metric", "value", "defined", "statistics")
    }
    for (method, metric), state in board.states.items():
        assert isinstance(state, Metric)  # a shard has rows
        values = state.per_image().numpy()
        columns["picture"] += places.numbers(state.keys).tolist()
        columns["method"] += [method] * len(values)
        columns["metric"] += [metric] * len(values)
        columns["value"] += values.tolist()
        columns["defined"] += np.isfinite(values).tolist()
        columns["statistics"] += list(state.rows.numpy())
    return columns


def _curves(board: Leaderboard, places: Places) -> dict[str, Any]:
    columns: dict[str, list[Any]] = {name: [] for name in ("picture", "method", "curve", "values")}
    for (method, name), curve in board.curves.items():
        assert isinstance(curve, CurveRecord)
        columns["picture"] += places.numbers(curve.keys).tolist()
        columns["method"] += [method] * len(curve.keys)
        columns["curve"] += [name] * len(curve.keys)
        columns["values"] += list(curve.values.float().numpy())
    return columns


def _note(board: Leaderboard) -> dict[str, Any]:
    """All of a board that is no row of a table. Seconds and memory are another in every run: they are events."""
    records = [
        {name: value for name, value in asdict(record).items() if name not in ("seconds", "memory")}
        for record in board.methods
    ]
    return {
        "protocol": board.protocol.to_dict(),
        "methods": records,
        "metrics": board.metrics,
        "evaluations": [[*place, count] for place, count in board.evaluations.items()],
        "shared_evaluations": board.shared_evaluations,
        "fractions": [[*place, curve.fractions.tolist()] for place, curve in board.curves.items()],
    }
