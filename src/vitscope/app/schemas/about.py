"""The server, its model and its study."""

from __future__ import annotations

from pydantic import BaseModel


class ModelAbout(BaseModel):
    """The opened model. Sizes are (height, width); blocks and heads count from 0. ``extent``: the part of the model's
    picture that the grid covers, top, left, bottom, right. ``asunder``: why the blocks are no one chain."""

    name: str
    family: str
    weights: str
    precision: str
    device: str
    parameters: int
    image_size: tuple[int, int] | None
    grid: tuple[int, int] | None
    patches: int | None
    extent: tuple[float, float, float, float]
    blocks: int
    heads: list[int]
    prefix: list[str]
    classes: int | None
    probability: str | None
    read_out: str
    tokens: str | None
    asunder: str | None
    notes: list[str]


class StudyAbout(BaseModel):
    """The study that is shown. ``computed``: pictures of finished shards. ``unknown``: which of entropy, drop and
    similarity it does not hold, each with the reason."""

    name: str
    place: str
    pictures: int
    computed: int
    finished: bool
    read_only: bool
    analyses: list[str]
    methods: list[str]
    arrays: list[str]
    unknown: dict[str, str]
    notes: list[str]


class BesideAbout(BaseModel):
    """The study that lies beside the one that is shown. ``names``: what the models of the two are called. ``path``:
    below which it has the same addresses."""

    study: str
    place: str
    names: tuple[str, str]
    path: str


class Limits(BaseModel):
    """The largest picture that is taken, and the largest sum of answers that is kept, in bytes."""

    upload_bytes: int
    upload_pixels: int
    cache_bytes: int


class CacheState(BaseModel):
    """What is kept of computed answers: bytes of at most so many."""

    used: int
    cap: int
    entries: int


class About(BaseModel):
    """``can_compute``: whether there is a model to ask; where not, ``why_not`` says why. ``seconds_forward`` and
    ``seconds_backward``: of one pass of one picture, measured here."""

    version: str
    model: ModelAbout | None
    study: StudyAbout | None
    beside: BesideAbout | None
    limits: Limits
    cache: CacheState
    extent: tuple[float, float, float, float]
    can_compute: bool
    why_not: str | None
    seconds_forward: float | None
    seconds_backward: float | None
    video: bool


class Classes(BaseModel):
    """The names of the classes by number; null where they are not known."""

    count: int | None
    names: list[str] | None
