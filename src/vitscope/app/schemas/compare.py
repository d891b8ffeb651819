"""Methods beside each other: their scores, curves and agreement, as the study's own leaderboard has them."""

from __future__ import annotations

from pydantic import BaseModel


class Missing(BaseModel):
    """What a study does not hold, why, and the command that makes one which does."""

    reason: str
    command: str | None


class ComparedMethod(BaseModel):
    """A row. control: a baseline such as random maps. seconds: of a picture, null where they are not known."""

    name: str
    family: str
    class_specific: bool
    control: bool
    maps: bool
    seconds: float | None


class ComparedMetric(BaseModel):
    """A column of scores. higher_is_better: null where it ranks nothing. needed: from how many pictures on a pair could
    be told apart."""

    name: str
    title: str
    higher_is_better: bool | None
    ranking: list[str]
    best: list[str]
    needed: int


class Score(BaseModel):
    """A method by a metric, with its 95 % interval over ``n`` pictures; null where it has no value."""

    method: str
    metric: str
    value: float | None
    low: float | None
    high: float | None
    n: int
    undefined: int


class Compared(BaseModel):
    """A paired comparison by a metric: first − second, p with Holm's correction, who is better (or nobody)."""

    metric: str
    difference: float | None
    low: float | None
    high: float | None
    p: float | None
    n: int
    better: str
    verdict: str


class Verdict(Compared):
    """Two methods, paired by picture."""

    first: str
    second: str


class Curve(BaseModel):
    """The mean over pictures of a method's curve."""

    method: str
    curve: str
    title: str
    axis: str
    fractions: list[float]
    values: list[float | None]


class Board(BaseModel):
    """``missing``: why there are no scores; all lists but ``methods`` are empty then."""

    pictures: int
    methods: list[ComparedMethod]
    metrics: list[ComparedMetric]
    scores: list[Score]
    verdicts: list[Verdict]
    curves: list[Curve]
    missing: Missing | None


class ModelScore(Score):
    """A method by a metric, of one of two models, on the pictures that both studies have."""

    model: str


class ModelVerdict(Compared):
    """Two models by a method, paired by picture; p is corrected over the methods."""

    method: str


class Unlike(BaseModel):
    """A method that the two studies scored with other options."""

    method: str
    reason: str


class ModelAgreement(BaseModel):
    """How far the maps of two models agree, by a method that both studies keep: mean rank correlation over ``n`` of
    ``total`` pictures."""

    method: str
    rank: float | None
    n: int
    total: int


class Models(BaseModel):
    """Two studies held against each other. pictures: how many both have. only: how many each has alone. targets: what
    the maps of each explain. ``missing``: why there are no scores."""

    names: list[str]
    pictures: int
    only: list[int]
    targets: list[str]
    notes: list[str]
    metrics: list[ComparedMetric]
    scores: list[ModelScore]
    verdicts: list[ModelVerdict]
    unlike: list[Unlike]
    agreement: list[ModelAgreement]
    missing: Missing | None


class Agreement(BaseModel):
    """``values[i][j]``: how far the maps of two methods agree, mean over ``n`` of ``total`` pictures. ``missing``: why
    there are none."""

    measure: str
    title: str
    methods: list[str]
    values: list[list[float | None]]
    n: int
    total: int
    missing: Missing | None
