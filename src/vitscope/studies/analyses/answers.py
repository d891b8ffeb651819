"""What the model says of each picture, as a table, and what else is measured of each, as arrays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from vitscope.heads.answers.predictions import Predictions as TopClasses
from vitscope.heads.answers.predictions import as_columns
from vitscope.heads.per_picture import PerPicture, Rows
from vitscope.pictures import Batch
from vitscope.pictures.read_batch import ReadBatch
from vitscope.progress import CountedStage
from vitscope.storage.recipe import Recipe
from vitscope.studies.analyses.analysis import Desk
from vitscope.studies.output import Output, Places
from vitscope.studies.store.specs import ArraySpec, array_spec
from vitscope.tracing import by_number, parse_target


class Predictions:
    """The table of predictions.

    Args:
        desk: Model and study.
        target: What is explained, in words; its class stands beside those that are predicted.
    """

    tables: Sequence[str] = ("predictions",)

    def __init__(self, desk: Desk, target: str) -> None:
        self._desk = desk
        aim = by_number(parse_target(target), desk.vit.class_names, desk.vit.source)
        self._measure = TopClasses(desk.vit, aim)

    def run(self, pictures: ReadBatch) -> Rows:
        """The first classes of each picture."""
        return measured_rows(self._desk, pictures, self._measure)

    def arrays(self, parts: Sequence[Rows]) -> Sequence[ArraySpec]:
        """None."""
        return ()

    def finish(self, parts: Sequence[Rows], places: Places) -> Output:
        """One row for each picture and rank."""
        rows = Rows.join(parts)
        if not rows.keys:
            return Output()
        columns: dict[str, Any] = as_columns(rows)
        columns["picture"] = places.numbers(rows.keys)[columns["picture"]]
        return Output({"predictions": columns})


class MeasuredRows:
    """Rows of numbers that a measurement gives for each picture. The names of its values are the paths of the arrays,
    such as ``class_rows``, or ``class_rows/block_07`` where blocks have other heads.

    Args:
        desk: Model and study.
        measure: Gives the rows of one batch.
    """

    tables: Sequence[str] = ()

    def __init__(self, desk: Desk, measure: Callable[[Batch], Rows]) -> None:
        self._desk, self._measure = desk, measure

    def run(self, pictures: ReadBatch) -> Rows:
        """The rows of one batch."""
        return measured_rows(self._desk, pictures, self._measure)

    def arrays(self, parts: Sequence[Rows]) -> Sequence[ArraySpec]:
        """One for each name of a value."""
        return [
            array_spec(path, values.shape[1:]) for part in parts[:1] for path, values in part.values.items()
        ]

    def finish(self, parts: Sequence[Rows], places: Places) -> Output:
        """A row for every picture."""
        rows = Rows.join(parts)
        if not rows.keys:
            return Output()
        return Output(arrays={path: places.spread(rows.keys, values) for path, values in rows.values.items()})


def measured_rows(desk: Desk, pictures: ReadBatch, measure: Callable[[Batch], Rows]) -> Rows:
    """What a measurement gives for the pictures of one batch."""
    stage = CountedStage(None, "measuring", len(pictures))
    return PerPicture(Recipe("part of a study"), measure, desk.batch_size, stage).run(desk.vit, pictures)
