"""What is told of all heads of a study; arrays come behind headers of these forms."""

from __future__ import annotations

from pydantic import BaseModel

from vitscope.app.schemas.tensors import TensorsHeader


class HeadsPart(BaseModel):
    """Whether a part of the analyses is there; ``reason``: why not, and what would add it."""

    there: bool
    reason: str | None


class HeadsAbout(BaseModel):
    """What the study knows of its heads. ``heads``: how many each block has; ``asunder``: why the blocks do not follow
    one another, where they do not and the model is open; ``parts``: by ``importance``, ``strength``, ``patterns``,
    ``features`` and ``model``, which computes what the study does not keep."""

    study: str
    pictures: int
    computed: int
    finished: bool
    heads: list[int]
    asunder: str | None
    parts: dict[str, HeadsPart]


class HeadMetric(BaseModel):
    """A column of numbers about heads. ``family``: output, representation or gradient."""

    name: str
    title: str
    family: str
    signed: bool


class HeadPicturesHeader(TensorsHeader):
    """Arrays ``rows`` (n,), the places of the pictures in the study, and ``layout`` (n, 2) where it keeps features.
    ``ids``: of the pictures. ``how``: how the layout was found."""

    ids: list[str]
    how: str | None


class HeadTableHeader(TensorsHeader):
    """Arrays ``mean``, ``low``, ``high`` (M, L, H): over pictures, with the 95 % interval."""

    metrics: list[HeadMetric]
    pictures: int


class ResponseHeader(TensorsHeader):
    """Arrays ``response`` (n,), the mean of ``metric`` over the ``heads`` that were asked for, of the pictures in
    ``rows`` (n,) of the study."""

    metric: HeadMetric
    heads: int


class AgreementHeader(TensorsHeader):
    """Arrays ``spearman``, ``kendall`` (M, M), and each with ``_low`` and ``_high``, 95 % intervals over pictures where
    ``rounds`` is more than 1."""

    names: list[str]
    rounds: int
    resample: str
    pictures: int


class StrengthHeader(TensorsHeader):
    """Arrays ``mass``, ``strength`` (L, H, K) by hops, ``offsets`` (L, H, 2h−1, 2w−1), ``to_prefix`` (L, H, p),
    ``patch_distance``, ``expected_distance``, ``entropy`` (L, H); each with ``_spread`` over pictures and ``_uniform``,
    what uniform attention would give. ``trend``: rank correlation of the blocks' means with the block number."""

    blocks: list[int]
    prefix: list[str]
    grid: list[int]
    distance: str
    pictures: int
    trend: dict[str, float | None]


class ClusterAbout(BaseModel):
    """A pattern: its name, why it is called so, the maps of the sample that have it, its dependence on content."""

    cluster: int
    name: str
    because: str
    maps: int
    content_dependence: float | None


class AtlasHeader(TensorsHeader):
    """Arrays ``prototypes`` and ``examples`` (k, side, side), ``shares`` (L, H, k), ``purity`` and
    ``content_dependence`` (L, H) of the sample that the atlas was fitted to."""

    clusters: list[ClusterAbout]
    form: str
    coder: str
    verdict: str
    sampled: int


class CodesHeader(TensorsHeader):
    """Arrays ``places`` (n, L, H, 2), NaN for heads without maps; ``clusters`` (n, L, H), there 255; ``rows`` (n,)."""

    how: str


class WalkHeader(TensorsHeader):
    """An array ``map`` (side, side), decoded. ``inside``: whether maps of pictures lie that far out."""

    form: str
    inside: bool


class PrototypeHeader(TensorsHeader):
    """An array ``map`` (side, side), decoded from the mean code of ``maps`` maps."""

    form: str
    maps: int


class PartialHeader(TensorsHeader):
    """Arrays ``mean``, ``spread`` (M, S) of every metric at every step; ``steps``: part, and k or query."""

    block: int
    head: int
    steps: list[tuple[str, int]]
    metrics: list[HeadMetric]
    pictures: int


class RemovalOrder(HeadMetric):
    """By which number heads are removed, and whether from its largest down."""

    largest_first: bool


class CumulativeHeader(TensorsHeader):
    """Arrays ``mean`` (A, O, S): every one of ``answers`` in every order after every number of ``removed`` heads; and
    ``low``, ``high``, the ends over the ``random`` repetitions of random orders, which are the last row where there are
    some. ``labelled``: whether the probability is that of the label, else of the whole model's prediction."""

    orders: list[RemovalOrder]
    random: int
    removed: list[int]
    answers: list[str]
    pictures: int
    labelled: bool


class Effect(HeadMetric):
    """What is lost together, and the sum of what is lost one by one; an ``interaction`` above 0 says that heads stand
    in for each other."""

    joint: float | None
    sum_of_singles: float | None
    interaction: float | None
    interaction_std: float | None


class Ablation(BaseModel):
    """What happens without heads, a row for each metric; means over pictures."""

    heads: list[tuple[int, int]]
    pictures: int
    metrics: list[Effect]


class WorkEstimate(BaseModel):
    """What a long question will cost: forwards over single pictures, and seconds as they were measured here."""

    pictures: int
    forwards: float
    seconds: float
    kept: bool
