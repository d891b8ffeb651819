"""What ``head_scores.py`` measured, as one file per picture and the tables of docs/heads.md.

    python benchmarks/head_scores_study.py keep head_scores.npz other.npz   # benchmarks/results/head_scores.parquet
    python benchmarks/head_scores_study.py curves augreg.npz   # the curves of its models alone, the others stay
    python benchmarks/head_scores_study.py table                           # the tables into docs/heads.md

Spearman's rho over the heads, between a score and what the removal of the head changes: of each picture, then its mean;
and of the means over the pictures. Only confirmation pictures count. Intervals are of 1,000 bootstrap samples of the
pictures. Scores of a sign are compared with drops by their sign, and with the divergence by their size.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from leaderboard_page import PARTS
from marked import between, number
from numpy.typing import NDArray
from scipy.stats import rankdata
from splits import ROOT, TITLES

RESULT = ROOT / "benchmarks" / "results" / "head_scores.parquet"
CURVES = ROOT / "benchmarks" / "results" / "head_scores_curves.csv"
PAGE = ROOT / "docs" / "heads.md"
START, END = "<!-- head scores: begin -->", "<!-- head scores: end -->"
CURVES_START, CURVES_END = "<!-- head curves: begin -->", "<!-- head curves: end -->"
Values = NDArray[np.float64]


@dataclass(frozen=True)
class Score:
    """A row of the table: its title, its forwards and backwards for each picture, whether it has a sign."""

    title: str
    cost: str
    parts: dict[str, float]
    signed: bool = False


SCORES = [
    Score("GMAR weight within its block", "1 + 1", {"gmar_weight": 1}),
    Score("DAAM share within its block", "1 + 1", {"daam_share": 1}),
    Score("GMAR gradient norm, all blocks", "1 + 1", {"gmar_norm": 1}),
    Score("Σ relu(G∘A)", "1 + 1", {"gradient_attention": 1}),
    Score("`gmar-plus` share", "1 + 1", {"gmar_plus_share": 1}),
    Score("`first_order`, of the logit", "1 + 1", {"first:logit": 1}, True),
    Score("first order of log p", "1 + 1", {"first:logp": 1}, True),
    Score("slope with every gate at ¾, of log p (conductance)", "1 + 1", {"joint@0.75:logp": 1}, True),
    Score("`first_order_divergence`", "1 + 5", {"first:fisher": 1}),
    Score("exact behind its block, then first order of log p", "3 + 1", {"after1:logp": 1}, True),
    Score("the same, divergence", "3 + 5", {"after1:fisher": 1}),
    Score("`path_logit_drop`", "4 + 4", {"first:logit": 1 / 3, "groups3@0.75:logit": 2 / 3}, True),
    Score("`path_loss_rise`", "4 + 4", {"first:logp": 1 / 3, "groups3@0.75:logp": 2 / 3}, True),
]
ORDERS = {
    "score/joint@0.75:logp": "slope with every gate at ¾, of log p, by size",
    "score/gmar_plus_share": "`gmar-plus` share",
    "score/groups3@0.75:logp": "slope of three groups at ¾, of log p, by size",
    "score/first:logit": "`first_order`, of the logit, by size",
    "score/first:logp": "first order of log p, by size",
    "score/first:fisher": "`first_order_divergence`",
    "exact/js": "exact removal, divergence",
    "exact/prob signed": "exact removal, drop of the probability",
    "score/daam_mass": "DAAM mass",
    "score/gmar_norm": "GMAR gradient norm, all blocks",
    "random": "at random, mean of five",
}
"""What the page tells of the orders in which heads are removed, the least first."""
TRUTHS = {"logit": "drop of the logit", "prob": "drop of the probability", "js": "divergence"}


def keep(files: list[Path]) -> None:
    """The scores of the table and the exact values of every picture in one Parquet file, and the curves as CSV."""
    rows = []
    wanted = sorted({f"score/{part}" for score in SCORES for part in score.parts})
    wanted += [f"exact/{name}" for name in TRUTHS]
    for file in files:
        found = np.load(file)
        for model in dict.fromkeys(name.partition("/")[0] for name in found.files):
            columns = {name: found[f"{model}/{name}"].astype(np.float32) for name in wanted}
            for place, key in enumerate(found[f"{model}/keys"]):
                values = {name: column[place].ravel() for name, column in columns.items()}
                rows.append({"model": model, "key": str(key), **values})
    pd.DataFrame(rows).to_parquet(RESULT, index=False, compression="zstd")
    keep_curves(files)


def keep_curves(files: list[Path]) -> None:
    """The mean height of every curve of these files, in the place of those of the same models."""
    curves = []
    for file in files:
        found = np.load(file)
        for name in found.files:
            model, _, rest = name.partition("/")
            if rest.startswith("curve/"):
                same, probability = found[name].mean(1)
                order = rest.removeprefix("curve/")
                curves.append(
                    {"model": model, "order": order, "same_prediction": same, "probability": probability}
                )
    if curves:
        made = pd.DataFrame(curves)
        known = pd.read_csv(CURVES)
        others = known[~known["model"].isin(made["model"])]
        pd.concat([others, made]).to_csv(CURVES, index=False, float_format="%.4f")


def curve_table(curves: pd.DataFrame) -> str:
    """By order and model: the share of unchanged predictions and the mean probability, over all degrees of removal."""
    order = curves["order"].str.replace(r"^random \d+$", "random", regex=True)
    means = curves.assign(order=order).groupby(["model", "order"])[["same_prediction", "probability"]].mean()
    titles = [f"{title}: {what}" for title in TITLES.values() for what in ("same prediction", "probability")]
    lines = [f"| removed first: the least by | {' | '.join(titles)} |", f"| --- |{' --- |' * len(titles)}"]
    for name, title in ORDERS.items():
        cells = [number(float(value)) for model in TITLES for value in means.loc[(model, name)]]
        lines.append(f"| {title} | {' | '.join(cells)} |")
    return "\n".join(lines)


def ranks(values: Values) -> Values:
    """Ranks of each row (n, K), centred and of length 1."""
    found: Values = rankdata(values, axis=1)
    found = found - found.mean(1, keepdims=True)
    return found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-12)


def correlation(score: Values, exact: Values, rounds: int = 1000) -> dict[str, Any]:
    """Mean rho of the pictures and rho of the means, (n, K) each, with intervals over bootstrap samples."""
    each = (ranks(score) * ranks(exact)).sum(1)
    drawn = np.random.default_rng(0).integers(len(score), size=(rounds, len(score)))
    weights = np.stack([np.bincount(own, minlength=len(score)) for own in drawn]) / len(score)
    together = (ranks(weights @ score) * ranks(weights @ exact)).sum(1)
    over = (ranks(score.mean(0)[None]) * ranks(exact.mean(0)[None])).sum()
    return {
        "alone": (each.mean(), *np.quantile(weights @ each, [0.025, 0.975])),
        "over": (over, *np.quantile(together, [0.025, 0.975])),
    }


def table(found: pd.DataFrame, development: set[str]) -> str:
    """The table of docs/heads.md."""
    lines = []
    for model, title in TITLES.items():
        own = found[(found["model"] == model) & ~found["key"].isin(development)]
        if own.empty:
            continue
        lines += [
            f"**{title}**, {len(own)} photographs; of each picture / of the means over them:",
            "",
            "| score | forwards + backwards | " + " | ".join(TRUTHS.values()) + " |",
            "| --- | --- | " + "--- | " * len(TRUTHS),
        ]
        for score in SCORES:
            value = sum(
                weight * np.stack(own[f"score/{part}"].to_list()).astype(np.float64)
                for part, weight in score.parts.items()
            )
            cells = []
            for name in TRUTHS:
                exact = np.stack(own[f"exact/{name}"].to_list()).astype(np.float64)
                got = correlation(np.abs(value) if name == "js" or not score.signed else value, exact)
                cells.append(" / ".join(interval(got[kind]) for kind in ("alone", "over")))
            lines.append(f"| {score.title} | {score.cost} | " + " | ".join(cells) + " |")
        lines.append("")
    return "\n".join(lines)


def interval(values: tuple[float, float, float]) -> str:
    """A correlation with its interval, without leading zeros."""
    value, low, high = (number(each).replace("0.", ".") for each in values)
    return f"{value} [{low}, {high}]"


def development_keys() -> set[str]:
    """The keys of the photographs that settings were chosen on, as the leaderboards keep them."""
    file = RESULT.parent / "leaderboard" / PARTS
    return set(json.loads(file.read_text(encoding="utf-8"))["development"])


def with_tables(page: str) -> str:
    """The page with both tables between their marks."""
    page = between(page, START, END, table(pd.read_parquet(RESULT), development_keys()))
    return between(page, CURVES_START, CURVES_END, curve_table(pd.read_csv(CURVES)))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("part", choices=["keep", "curves", "table"])
    parser.add_argument("files", nargs="*", type=Path)
    given = parser.parse_args()
    if given.part == "keep":
        keep(given.files)
    elif given.part == "curves":
        keep_curves(given.files)
    else:
        PAGE.write_text(with_tables(PAGE.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
