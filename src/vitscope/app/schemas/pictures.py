"""Pictures and what the model says of them."""

from __future__ import annotations

from pydantic import BaseModel, Field


class PictureColumns(BaseModel):
    """A list for each column, in the order of the pictures; null where something is not known. ``row``: the picture's
    number in the study. ``drop``: the largest fall of its class's probability when one head is removed, which is
    ``drop_head``."""

    id: list[str]
    row: list[int | None]
    key: list[str]
    name: list[str]
    label: list[int | None]
    label_name: list[str | None]
    prediction: list[int | None]
    prediction_name: list[str | None]
    confidence: list[float | None]
    entropy: list[float | None]
    drop: list[float | None]
    drop_head: list[str | None]
    correct: list[bool | None]
    added: list[bool]
    skipped: list[str | None]


class Pictures(BaseModel):
    """``count``: pictures in the columns; ``total``: with those of a study that are not computed yet."""

    count: int
    total: int
    columns: PictureColumns


class AddedPicture(BaseModel):
    """A picture that was taken in, or was there already; ``added`` is false for one of the study."""

    id: str
    name: str
    added: bool


class ClassAnswer(BaseModel):
    """One class of an answer."""

    number: int = Field(alias="class")
    name: str | None
    probability: float
    logit: float


class ClassName(BaseModel):
    """A class by its number, and its name where it is known."""

    number: int = Field(alias="class")
    name: str | None


class Answer(BaseModel):
    """The most likely classes; ``entropy`` of all probabilities in bits, null where classes do not exclude each
    other."""

    top: list[ClassAnswer]
    entropy: float | None
    predicted: int


class Prediction(Answer):
    """What the whole model says. ``without``: what it says with heads off, the classes of ``top`` first and in their
    order, then its own first ones that are not among them."""

    probability_kind: str
    label: ClassName | None
    without: Answer | None


class Blocks(BaseModel):
    """By block and head; ``class_share`` is null in a model without a class token. ``units`` of each measure."""

    blocks: list[int]
    distance: str
    units: dict[str, str]
    entropy: list[list[float | None]]
    entropy_mean: list[float | None]
    class_share: list[list[float | None]] | None
    class_share_mean: list[float | None] | None
    hop: list[list[float | None]]
    hop_mean: list[float | None]
