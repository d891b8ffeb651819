"""The claims as sentences, and what the paired comparisons on each model and under each removal say of them."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, replace

import pandas as pd
from leaderboard_boards import CAM_FAMILY, PUBLISHED
from splits import TITLES

import vitscope as vs
from vitscope.evaluation import Metric, get_metric
from vitscope.evaluation.board.comparison import LEVEL
from vitscope.evaluation.board.statistics import Difference, holm

Pair = tuple[str, str]
Column = tuple[str, str, str]
"""Its title, the board and the metric."""
REMOVALS: list[Column] = [
    ("masking", "mask", "srg"),
    ("mean colour", "mean", "srg"),
    ("blur", "blur", "srg"),
]
PLACES: list[Column] = [
    ("grid pointing", "mosaics", "grid-pointing"),
    ("share in the box", "boxes", "mass"),
    ("pointing game", "boxes", "pointing"),
    ("MaxBoxAccV2", "boxes", "max-box-acc-v2"),
]
GRADCAMS = ["gradcam", "gradcam:relu=false"]


@dataclass(frozen=True)
class Claim:
    """A sentence that says one thing of several pairs (better, worse) of methods, whose words are the columns'.

    ours: settings of a method in it were chosen on the development pictures, so the others decide. whole: it is decided
    where all of its pairs were measured; else against those that the board has.
    """

    sentence: str
    source: str
    pairs: list[Pair]
    columns: list[Column]
    ours: bool = False
    whole: bool = True


def against(first: str, others: Iterable[str]) -> list[Pair]:
    """The first method better than each of the others."""
    return [(first, other) for other in others if other != first]


CLAIMS = [
    Claim(
        "GMAR is more faithful than rollout",
        "GMAR, arXiv 2504.19414",
        [("gmar:norm=l1", "rollout"), ("gmar:norm=l2", "rollout")],
        REMOVALS,
    ),
    Claim(
        "DAAM localises better than the CAM family",
        "DAAM, arXiv 2503.14640",
        against("daam", ["gradcam", *CAM_FAMILY]),
        PLACES,
    ),
    Claim(
        "LeGrad is more faithful than GAE and Grad-CAM",
        "LeGrad, arXiv 2404.03214",
        against("legrad", ["gae", "gradcam"]),
        REMOVALS,
    ),
    Claim(
        "DART is more faithful than every published method measured",
        "vitscope",
        against("dart", [*PUBLISHED, *CAM_FAMILY]),
        REMOVALS,
        ours=True,
        whole=False,
    ),
    Claim(
        "DART for removal is more faithful than every published method measured",
        "vitscope",
        against("dart-removal", [*PUBLISHED, *CAM_FAMILY]),
        REMOVALS,
        ours=True,
        whole=False,
    ),
    Claim(
        "Centred DART localises better than GAE and Grad-CAM",
        "vitscope",
        against("dart:centre=true", ["gae", *GRADCAMS]),
        PLACES,
        ours=True,
    ),
]
"""Those that the page tells."""


@dataclass(frozen=True)
class Finding:
    """What was found on one model in one column: the differences of all pairs, p corrected over the whole claim."""

    model: str
    column: Column
    verdict: str
    differences: list[Difference] = field(default_factory=list)

    @property
    def pictures(self) -> int:
        """On how many pictures."""
        return max((each.n for each in self.differences), default=0)

    @property
    def closest(self) -> Difference | None:
        """The pair that decides: the one in which the first method does worst, seen by how sure that is."""
        sign = -1 if get_metric(self.column[2]).higher_is_better is False else 1
        known = [each for each in self.differences if each.n]
        return min(known, key=lambda each: sign * each.difference, default=None)


def findings(
    claim: Claim,
    boards: dict[str, vs.Leaderboard],
    development: Collection[str],
    models: Iterable[str] = TITLES,
) -> list[Finding]:
    """The claim on every model in every column. Holm's correction is over all of its comparisons."""
    made: list[tuple[str, Column, list[Difference]]] = []
    for model in models:
        for column in claim.columns:
            board = boards.get(f"{model}-{column[1]}")
            made.append(
                (model, column, [] if board is None else _compared(claim, column, board, development))
            )
    corrected = iter(holm([each.p for *_, found in made for each in found]))
    result = []
    for model, column, found in made:
        known = [replace(each, p_holm=next(corrected)) for each in found]
        whole = len(known) == len(claim.pairs) if claim.whole else bool(known)
        result.append(Finding(model, column, decided(known, column[2]) if whole else "not measured", known))
    return result


def decided(differences: list[Difference], metric: str) -> str:
    """holds: every difference is for the first method beyond noise; fails: one is for the second; else undecided."""
    sign = -1 if get_metric(metric).higher_is_better is False else 1
    sure = [sign * each.difference > 0 if each.p_holm < LEVEL else None for each in differences]
    if False in sure:
        return "fails"
    return "holds" if all(sure) else "undecided"


def on_pictures(board: vs.Leaderboard, left_out: Collection[str]) -> vs.Leaderboard:
    """The same board without some of its pictures, told by their file names."""
    states, names = {}, {named(key) for key in left_out}
    for place, state in board.states.items():
        assert isinstance(state, Metric)
        states[place] = state.only({key: key for key in state.keys if named(key) not in names})
    return replace(board, states=states, curves={})


def table(
    claims: Iterable[Claim], boards: dict[str, vs.Leaderboard], development: Collection[str]
) -> pd.DataFrame:
    """Every comparison of every claim, one row each."""
    rows = [
        {
            "claim": claim.sentence,
            "model": TITLES[finding.model],
            "by": finding.column[0],
            "verdict": finding.verdict,
            "first": each.first,
            "second": each.second,
            "difference": each.difference,
            "low": each.low,
            "high": each.high,
            "p_holm": each.p_holm,
            "pictures": each.n,
        }
        for claim in claims
        for finding in findings(claim, boards, development)
        for each in finding.differences
    ]
    return pd.DataFrame(rows)


def named(key: str) -> str:
    """The file of a picture, whatever folder its key begins with."""
    return key.rpartition("/")[2]


def _compared(
    claim: Claim, column: Column, board: vs.Leaderboard, development: Collection[str]
) -> list[Difference]:
    used = on_pictures(board, development) if claim.ours else board
    by = used.by(column[2])
    return [
        by.difference(first, second)
        for first, second in claim.pairs
        if first in used.names and second in used.names
    ]
