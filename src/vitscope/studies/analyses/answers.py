"""What the model says of each picture, as a table, and the row of attention that it says it from, as an array."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from vitscope.heads.answers.class_rows import ClassRows as RowsOfClass
from vitscope.heads.answers.features import Features as FeaturesOfPictures
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


class ClassRows:
    """The row of attention that the classifier reads, of every block and head.

    Args:
        desk: Model and study.
    """

    tables: Sequence[str] = ()

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._measure = RowsOfClass(desk.vit)

    def run(self, pictures: ReadBatch) -> Rows:
        """The rows of one batch."""
        return measured_rows(self._desk, pictures, self._measure)

    def arrays(self, parts: Sequence[Rows]) -> Sequence[ArraySpec]:
        """``class_rows``, or ``class_rows/block_07`` where blocks have other heads."""
        return arrays_of_rows(parts)

    def finish(self, parts: Sequence[Rows], places: Places) -> Output:
        """A row for every picture."""
        return output_of_rows(parts, places)


class Features:
    """What the classifier reads of each picture.

    Args:
        desk: Model and study.
    """

    tables: Sequence[str] = ()

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._measure = FeaturesOfPictures(desk.vit)

    def run(self, pictures: ReadBatch) -> Rows:
        """The features of one batch."""
        return measured_rows(self._desk, pictures, self._measure)

    def arrays(self, parts: Sequence[Rows]) -> Sequence[ArraySpec]:
        """``features``."""
        return arrays_of_rows(parts)

    def finish(self, parts: Sequence[Rows], places: Places) -> Output:
        """A row for every picture."""
        return output_of_rows(parts, places)


def measured_rows(desk: Desk, pictures: ReadBatch, measure: Callable[[Batch], Rows]) -> Rows:
    """What a measurement gives for the pictures of one batch."""
    stage = CountedStage(None, "measuring", len(pictures))
    return PerPicture(Recipe("part of a study"), measure, desk.batch_size, stage).run(desk.vit, pictures)


def arrays_of_rows(parts: Sequence[Rows]) -> list[ArraySpec]:
    """The arrays that rows of numbers fill; their names are the paths."""
    return [array_spec(path, values.shape[1:]) for part in parts[:1] for path, values in part.values.items()]


def output_of_rows(parts: Sequence[Rows], places: Places) -> Output:
    """Rows of numbers as blocks of arrays."""
    rows = Rows.join(parts)
    if not rows.keys:
        return Output()
    return Output(arrays={path: places.spread(rows.keys, values) for path, values in rows.values.items()})
