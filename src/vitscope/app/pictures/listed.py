"""One picture as a list shows it, and several as columns."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from vitscope.app.pictures.reference import PictureReference

COLUMNS = (
    "id", "row", "key", "name", "label", "label_name", "prediction", "prediction_name", "confidence", "entropy", "drop",
    "drop_head", "correct", "added", "skipped",
)  # fmt: skip


@dataclass(frozen=True)
class ListedPicture:
    """What is known of a picture. reference: None where it cannot be opened, ``skipped`` says why. row: its number in
    the study; None for one that was added. entropy: of all class probabilities, in bits. drop, drop_head: how far the
    probability of its class falls without the head that matters most, and that head as ``block.head``."""

    id: str
    key: str
    reference: PictureReference | None
    row: int | None = None
    label: int | None = None
    prediction: int | None = None
    confidence: float | None = None
    entropy: float | None = None
    drop: float | None = None
    drop_head: str | None = None
    skipped: str | None = None

    @property
    def name(self) -> str:
        """The last part of its key."""
        return self.key.rpartition("/")[2]

    @property
    def correct(self) -> bool | None:
        """Whether the prediction is the label; None where one of them is not known."""
        return None if self.label is None or self.prediction is None else bool(self.label == self.prediction)


def as_columns(pictures: Iterable[ListedPicture], names: Sequence[str] | None) -> dict[str, list[Any]]:
    """A list for each of ``COLUMNS``, in the order of the pictures; None for what is not known."""
    columns: dict[str, list[Any]] = {name: [] for name in COLUMNS}

    def called(number: int | None) -> str | None:
        return None if number is None or not names or not 0 <= number < len(names) else names[number]

    for each in pictures:
        values = (
            each.id, each.row, each.key, each.name, each.label, called(each.label), each.prediction,
            called(each.prediction),
            each.confidence, each.entropy, each.drop, each.drop_head, each.correct, each.row is None,
            each.skipped,
        )  # fmt: skip
        for name, value in zip(COLUMNS, values, strict=True):
            columns[name].append(value)
    return columns
