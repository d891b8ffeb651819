"""The headers of answers that are arrays: JSON before raw values, see ``vitscope.app.tensors``."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field

from vitscope.app.answers.attention import Direction


class TensorAbout(BaseModel):
    """Where one array lies behind the header."""

    name: str
    dtype: Literal["float32", "uint8", "uint16", "uint32", "int32"]
    shape: list[int]
    offset: int
    bytes: int


class TensorsHeader(BaseModel):
    """What every such answer begins with."""

    tensors: list[TensorAbout]


class TargetClass(BaseModel):
    """The class that is explained; ``text``: in words."""

    number: int = Field(alias="class")
    name: str | None
    text: str


class PrefixShare(BaseModel):
    """What lies on a prefix token: its share of the absolute relevance, its value, and its value in each map of the
    flow; null where the method does not tell tokens apart."""

    name: str
    share: float
    value: float | None
    flow: list[float | None] | None


class MapHeader(TensorsHeader):
    """Arrays ``map`` (h, w), ``flow`` (L, h, w) where the method has one, and ``extras/NAME``. ``source``: computed, or
    as the study keeps it. ``first_block``: the number of the flow's first map."""

    method: str
    options: dict[str, Any]
    target: TargetClass | str | None
    explained: str
    score: float | None
    probability: float | None
    signed: bool
    accumulates: bool
    flow_of: str
    first_block: int
    grid: list[int]
    extent: list[float]
    prefix: list[PrefixShare]
    notes: list[str]
    model: str | None
    weights: str | None
    key: str | None
    picture: str | None
    recipe: str | None
    off: list[tuple[int, int]]
    source: Literal["computed", "study"]


class SimilarityHeader(TensorsHeader):
    """An array ``similarity`` (N,) over the rows of the study, NaN where unknown. ``measure``: what it is, in words."""

    picture: str
    measure: str


class RowsHeader(TensorsHeader):
    """An array ``rows`` (H, N). ``prefix``: how many of the N tokens come before the patches."""

    block: int
    query: str
    direction: Direction
    heads: int
    prefix: int
    prefix_names: list[str]
    grid: list[int]


class MatrixHeader(TensorsHeader):
    """Arrays ``matrix`` (Nq, Nk) uint8 and ``scale`` (Nq,): a value is ``matrix / 255 * scale[row]``."""

    block: int
    head: int
    prefix: int
    prefix_names: list[str]
    grid: list[int]


class ImportanceHeader(TensorsHeader):
    """An array ``importance`` (L, H). ``methods``: the metrics that can be asked for."""

    metric: str
    title: str
    signed: bool
    family: str
    methods: list[str]
