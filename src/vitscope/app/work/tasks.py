"""From a question to its answer, in the model's process: each is a call of the library and its result as bytes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from vitscope.app.answers.attention import matrix_answer, rows_answer
from vitscope.app.answers.blocks import blocks_answer
from vitscope.app.answers.heads import ablation_answer, cumulative_answer, order_name, partial_answer
from vitscope.app.answers.importance import importance_answer, metric_record
from vitscope.app.answers.maps import map_answer
from vitscope.app.answers.predictions import prediction_answer
from vitscope.app.exporting.files import export_answer
from vitscope.app.model.answer import Answer
from vitscope.app.model.asked import (
    AblationAsked,
    Asked,
    BlocksAsked,
    CumulativeAsked,
    ExportAsked,
    ImportanceAsked,
    MapAsked,
    MatrixAsked,
    PartialAsked,
    PredictionAsked,
    RowsAsked,
    TileAsked,
)
from vitscope.app.model.bench import Bench
from vitscope.heads import HeadsError, cumulative_pruning, joint_effect, partial_pruning
from vitscope.progress import Progress
from vitscope.rendering.files import png_bytes
from vitscope.reports import tile


def answer(bench: Bench, asked: Asked, progress: Progress) -> Answer:
    """The answer to any question. Raises what the library raises."""
    return _TASKS[type(asked)](bench, asked, progress)


def _map(bench: Bench, asked: MapAsked, progress: Progress) -> Answer:
    arrays, known = map_answer(bench.explanation(asked, progress))
    off = [list(head) for head in asked.off]
    return Answer.of_tensors(arrays, {**known, "off": off, "source": "computed"})


def _prediction(bench: Bench, asked: PredictionAsked, progress: Progress) -> Answer:
    whole = bench.trace(asked, whole=True)
    also = bench.trace(asked) if asked.off else None
    return Answer.of_json(prediction_answer(whole, asked.count, also=also, label=asked.label))


def _blocks(bench: Bench, asked: BlocksAsked, progress: Progress) -> Answer:
    return Answer.of_json(blocks_answer(bench.trace(asked)))


def _rows(bench: Bench, asked: RowsAsked, progress: Progress) -> Answer:
    return Answer.of_tensors(*rows_answer(bench.trace(asked), asked.block, asked.query, asked.direction))


def _matrix(bench: Bench, asked: MatrixAsked, progress: Progress) -> Answer:
    return Answer.of_tensors(*matrix_answer(bench.trace(asked), asked.block, asked.head))


def _importance(bench: Bench, asked: ImportanceAsked, progress: Progress) -> Answer:
    table = bench.heads(asked, metric_record(asked.metric)["family"] != "gradient", progress)
    if asked.metric not in table.metrics:
        raise HeadsError(f"{asked.metric} is not measured on {bench.vit.source}; choose another metric")
    return Answer.of_tensors(*importance_answer(table, asked.metric))


def _tile(bench: Bench, asked: TileAsked, progress: Progress) -> Answer:
    found = bench.explanation(MapAsked(asked.picture, asked.off, asked.method), progress)
    return Answer(png_bytes(tile(found, side=asked.side)), "image/png")


def _export(bench: Bench, asked: ExportAsked, progress: Progress) -> Answer:
    return export_answer(bench, asked, progress)


def _ablation(bench: Bench, asked: AblationAsked, progress: Progress) -> Answer:
    found = joint_effect(bench.vit, asked.picture.source(), list(asked.off), progress=progress)
    return Answer.of_json(ablation_answer(found))


def _partial(bench: Bench, asked: PartialAsked, progress: Progress) -> Answer:
    found = partial_pruning(
        bench.vit,
        asked.picture.source(),
        asked.block,
        asked.head,
        queries=list(asked.queries),
        progress=progress,
    )
    return Answer.of_tensors(*partial_answer(found))


def _cumulative(bench: Bench, asked: CumulativeAsked, progress: Progress) -> Answer:
    found = cumulative_pruning(
        bench.vit,
        asked.picture.source(),
        {order_name(name, turned): heads for name, turned, heads in asked.orders},
        random_orders=asked.random,
        steps=asked.steps,
        progress=progress,
    )
    return Answer.of_tensors(*cumulative_answer(found, [(name, turned) for name, turned, _ in asked.orders]))


_TASKS: dict[type[Asked], Callable[[Bench, Any, Progress], Answer]] = {
    MapAsked: _map,
    PredictionAsked: _prediction,
    BlocksAsked: _blocks,
    RowsAsked: _rows,
    MatrixAsked: _matrix,
    ImportanceAsked: _importance,
    TileAsked: _tile,
    ExportAsked: _export,
    AblationAsked: _ablation,
    PartialAsked: _partial,
    CumulativeAsked: _cumulative,
}
