"""docs/leaderboard from what was measured: the claims in sentences, one table, one plot, and tables for programs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from leaderboard_boards import OURS, REAL_BOARDS
from leaderboard_claims import CLAIMS, PLACES, REMOVALS, Claim, Finding, findings, table
from leaderboard_plot import Rows, draw
from marked import number
from splits import TITLES

import vitscope as vs
from vitscope.evaluation import protocol_rank_correlation, world_names
from vitscope.evaluation.board.statistics import Difference
from vitscope.methods.kappa import DEFAULT
from vitscope.storage import folders

PLOTTED = [("SRG, masking", "mask", "srg"), ("share in the box", "boxes", "mass")]
PARTS = "parts.json"
"""Beside the boards: which pictures are for choosing, by key."""
DISTANCES = "head_distance.json"
"""Beside their folder: how far heads look, by block (``head_distance.py``)."""


@dataclass(frozen=True)
class Measured:
    """Every board that is there, by name, and the keys of the development pictures."""

    boards: dict[str, vs.Leaderboard]
    development: Collection[str]
    distances: Mapping[str, list[float]]

    @classmethod
    def load(cls, results: Path) -> Measured:
        """What a folder of results holds."""
        places = [place for place in sorted(results.iterdir()) if folders.exists(place)]
        file = results / PARTS
        keys = json.loads(file.read_text(encoding="utf-8"))["development"] if file.is_file() else []
        boards = {place.name: vs.Leaderboard.load(place) for place in places}
        return cls(boards, frozenset(keys), distances_of(results.parent / DISTANCES))


def write_page(results: Path, folder: Path) -> None:
    """README.md, claims.csv, scores.csv and scores.png."""
    measured = Measured.load(results)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "README.md").write_text(page(measured), encoding="utf-8")
    claims_table(measured).to_csv(folder / "claims.csv", index=False, float_format="%.5g")
    scores_table(measured).to_csv(folder / "scores.csv", index=False, float_format="%.5g")
    rows = plotted(measured)
    draw(rows, folder / "scores.png", digest(rows))


def page(measured: Measured) -> str:
    """The text of the page."""
    found = [(claim, findings(claim, measured.boards, measured.development)) for claim in CLAIMS]
    text = [INTRODUCTION.format(pictures=pictures_in_words(measured))]
    text += [old, ""] if (old := earlier(measured.boards)) else []
    text += ["## The claims", ""]
    for place, (claim, of) in enumerate(found, 1):
        text += [f"{place}. {in_words(claim, of)}"]
    text += [f"{len(found) + 1}. {farther(measured.distances)}"]
    text += ["", "## Claim × model × measure", "", LEGEND, "", verdict_table(found), ""]
    text += ["## Every method", "", PLOT, ""]
    text += [f"* {line}" for line in survival(measured.boards) + planted(measured.boards)]
    text += ["", BEHIND]
    return "\n".join(text)


def with_interval(found: Difference) -> str:
    """A difference and its 95 % interval."""
    return f"{number(found.difference)} [{number(found.low)}, {number(found.high)}]"


def pictures_in_words(measured: Measured) -> str:
    """How many pictures each kind of board has, the same for both models or named apart."""
    words = []
    for kind in REAL_BOARDS:
        counts = {
            TITLES[model]: measured.boards[f"{model}-{kind}"].protocol.pictures
            for model in TITLES
            if f"{model}-{kind}" in measured.boards
        }
        if len(set(counts.values())) == 1 and len(counts) == len(TITLES):
            words.append(f"{kind} {next(iter(counts.values()))}")
        else:
            apart = (f"{counts.get(title, 'none')} ({title})" for title in TITLES.values())
            words.append(f"{kind} {' and '.join(apart)}")
    return "; ".join(words)


def in_words(claim: Claim, found: list[Finding]) -> str:
    """The claim with where it holds, model by model, and the pair that decides in the first column measured."""
    parts = []
    for model, title in TITLES.items():
        own = [each for each in found if each.model == model]
        verdicts = {
            word: [each.column[0] for each in own if each.verdict == word]
            for word in ("holds", "fails", "undecided", "not measured")
        }
        words = "; ".join(f"{word} by {', '.join(names)}" for word, names in verdicts.items() if names)
        parts.append(f"{title}: {words}{deciding(own)}")
    return f"**{claim.sentence}** ({claim.source}): {overall(found)}. " + ". ".join(parts) + "."


def distances_of(file: Path) -> dict[str, list[float]]:
    """By model, of each photograph the rank correlation of a block's place with how far its heads look."""
    if not file.is_file():
        return {}
    known = json.loads(file.read_text(encoding="utf-8"))["rho, then hops by block"]
    return {model: [row[0] for row in rows.values()] for model, rows in known.items()}


def farther(distances: Mapping[str, list[float]]) -> str:
    """The claim of the visual analytics, that heads look farther in later blocks, on each model."""
    parts, verdicts = [], []
    for model, title in TITLES.items():
        if model not in distances:
            parts.append(f"{title}: not measured")
            continue
        values = np.asarray(distances[model])
        drawn = np.random.default_rng(0).choice(values, (2_000, len(values))).mean(1)
        low, high = (float(end) for end in np.quantile(drawn, [0.025, 0.975]))
        verdicts.append("holds" if low > 0 else "fails" if high < 0 else "undecided")
        interval = f"{number(float(values.mean()))} [{number(low)}, {number(high)}], n = {len(values)}"
        parts.append(f"{title}: {verdicts[-1]} (ρ of block and mean distance {interval})")
    everywhere = len(verdicts) == len(TITLES) and set(verdicts) == {"holds"}
    told = "**it holds everywhere**" if everywhere else "; ".join(verdicts) or "not measured"
    return (
        "**Heads look farther in later blocks** (How Does Attention Work in Vision Transformers?, arXiv 2303.13731): "
        f"{told}. {'. '.join(parts)}."
    )


def deciding(found: list[Finding]) -> str:
    """The pair in which the first method does worst, in the first column where one was measured."""
    for each in found:
        worst = each.closest
        if worst is not None:
            return f" ({worst.first} − {worst.second} by {each.column[0]}: {with_interval(worst)}, n = {worst.n})"
    return ""


def overall(found: list[Finding]) -> str:
    """Where the claim holds, in a few words."""
    known = [each for each in found if each.verdict != "not measured"]
    holding = [each for each in known if each.verdict == "holds"]
    failing = [each for each in known if each.verdict == "fails"]
    if not known:
        return "not measured"
    if len(holding) == len(found):
        return "**it holds everywhere**"
    where = f"of {len(known)} places" + (" measured" if len(known) < len(found) else "")
    if not holding and not failing:
        return (
            f"**undecided in all {where}**" if len(known) > 1 else "**undecided in the one place measured**"
        )
    return f"**it holds in {len(holding)} and fails in {len(failing)} {where}**"


def verdict_table(found: list[tuple[Claim, list[Finding]]]) -> str:
    """Claims and models down, removals and measures of place across."""
    columns = [*REMOVALS, *PLACES]
    lines = [
        "| claim | model | " + " | ".join(title for title, *_ in columns) + " |",
        "|---|---|" + "---|" * len(columns),
    ]
    for place, (_, of) in enumerate(found, 1):
        for model, title in TITLES.items():
            verdicts = {each.column: in_cell(each) for each in of if each.model == model}
            lines.append(f"| {place} | {title} | " + " | ".join(verdicts.get(c, "") for c in columns) + " |")
    return "\n".join(lines)


def in_cell(found: Finding) -> str:
    """The verdict with the number of pictures."""
    return f"{found.verdict} ({found.pictures})" if found.pictures else found.verdict


def earlier(boards: dict[str, vs.Leaderboard]) -> str:
    """The boards of an earlier version, in which the factor of DART was found on their own pictures."""
    old = [
        name
        for name, board in boards.items()
        if board.recipe.options["methods"].get("dart", {}).get("options", {}).get("kappa") != DEFAULT
    ]
    told = ", ".join(old)
    return (
        f"Measured by an earlier version, with DART's κ found on the pictures and without its newer forms: {told}."
        if old
        else ""
    )


def survival(boards: dict[str, vs.Leaderboard]) -> list[str]:
    """Kendall's τ between the rankings under the removals, and of the models."""
    lines = []
    for model, title in TITLES.items():
        own = {name: boards[f"{model}-{kind}"] for name, kind, _ in REMOVALS if f"{model}-{kind}" in boards}
        if len(own) > 1:
            square = protocol_rank_correlation(own, "srg")
            names = list(square.columns)
            pairs = [
                f"{number(float(square.loc[a, b]))} ({a}, {b})"
                for place, a in enumerate(names)
                for b in names[place + 1 :]
            ]
            lines.append(f"{title}: Kendall's τ of the SRG rankings between removals {', '.join(pairs)}.")
    both = {TITLES[model]: boards[f"{model}-mask"] for model in TITLES if f"{model}-mask" in boards}
    if len(both) == len(TITLES):
        first, second = both
        tau = float(protocol_rank_correlation(both, "srg").loc[first, second])
        lines.append(f"Between the two models, under masking: {number(tau)}.")
    return lines


def planted(boards: dict[str, vs.Leaderboard]) -> list[str]:
    """Mean AUROC over the planted-evidence worlds of the best methods and of ours."""
    own = [boards[f"world-{name}"] for name in world_names() if f"world-{name}" in boards]
    if not own:
        return []
    shared = [name for name in own[0].names if all(name in board.names for board in own)]
    values = {
        name: sum(board.interval(name, "auroc").value for board in own) / len(own)
        for name in shared
        if all(board.interval(name, "auroc").n for board in own)
    }
    ranked = sorted(values, key=lambda name: -values[name])
    chosen = ranked[:3] + [name for name in OURS if name in ranked[3:]]
    told = ", ".join(f"{name} {number(values[name])}" for name in chosen)
    return [f"Planted evidence, AUROC, mean of {len(own)} worlds: {told} (the first three, and ours)."]


def claims_table(measured: Measured) -> pd.DataFrame:
    """Every comparison behind the claims."""
    return table(CLAIMS, measured.boards, measured.development)


def scores_table(measured: Measured) -> pd.DataFrame:
    """Every score of every board with its interval."""
    kept = ["method", "metric", "value", "low", "high", "n", "best", "control", "class_specific"]
    frames = [board.to_pandas()[kept].assign(board=name) for name, board in measured.boards.items()]
    return pd.concat(frames, ignore_index=True)[["board", *kept]] if frames else pd.DataFrame()


def plotted(measured: Measured) -> Rows:
    """What the plot shows: by (model, title) for each method value, low, high."""
    rows: Rows = {}
    for title, kind, metric in PLOTTED:
        for model, name in TITLES.items():
            board = measured.boards.get(f"{model}-{kind}")
            if board is not None:
                found = {method: board.interval(method, metric) for method in board.names}
                rows[name, title] = {m: (i.value, i.low, i.high) for m, i in found.items() if i.n}
    return rows


def digest(rows: Rows) -> str:
    """A short hash of the numbers that are drawn; it stands in the file of the plot."""
    told = [
        [*place, method, *(f"{v:.5g}" for v in values)]
        for place, of in rows.items()
        for method, values in of.items()
    ]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:16]


INTRODUCTION = """# Leaderboard: what holds on two models

Written by `python benchmarks/leaderboard.py page` from what was measured. Nothing here was typed in, and a test holds
the page against the data. Two ImageNet ViTs of one shape and two recipes: DeiT-Tiny, and ViT-Tiny of AugReg (21k → 1k).
Pictures: 100 photographs of images/sample and 300 of images/boxed-val, 2×2 mosaics of them, five planted worlds.
Pictures per board: {pictures}.
Measured on an NVIDIA H200: masking, mean colour and blur in whole float32, the other boards while TF32 still rounded
the patch embedding ([what that does](../performance.md)); black boxes on the worlds on a processor.

* **Faithful** is SRG, the symmetric relevance gain ([metrics](../metrics.md#the-metrics)), in logits of the predicted
  class, under three removals: masking (by the shorter sequence, the same value), mean colour, blur.
* **Localises** is the share of positive relevance in the right cell of a mosaic (grid pointing) or in the box, the
  pointing game and MaxBoxAccV2, for the labelled class. That is plausibility, not faithfulness.
* *holds*: every difference that the claim speaks of is beyond noise in its favour; *fails*: one is beyond noise
  against it; else *undecided*. Paired sign flips on the same pictures, 5 %, Holm's correction over all comparisons of
  a claim.
* Settings of our own methods were chosen on a third of the pictures: claims about them are decided on the others.
"""

LEGEND = (
    """Numbers of the claims above, and of pictures in brackets; an empty cell is no part of the claim."""
)

PLOT = """![SRG under masking and the share in the box, of every method on both models](scores.png)

Points are means over pictures, bars 95 % bootstrap intervals; controls are grey."""

BEHIND = """Behind this page: [claims.csv](claims.csv), every comparison with its interval and corrected p;
[scores.csv](scores.csv), every method by every metric on every board; per picture
`benchmarks/results/leaderboard/*/per_image.parquet`; and the boards themselves, which `vs.Leaderboard.load` reads
(`board.compare("srg")`, `board.to_html("page.html")`).
"""
