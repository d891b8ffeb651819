"""Which methods over- or under-rate outlier patches? Their rank in a map beside their rank by single removals.

    python benchmarks/sink_ratings.py [--models augreg] [--pictures 20] [--device cuda]

Truth: by how much the explained logit falls when that patch alone is removed (196 shorter sequences per picture). A
patch's rank is the share of the patches below it in the same picture, 0 to 1, equal values in the middle. Over-rated:
rank in the map less rank by removal, mean over a picture's outlier patches, then over pictures that have one. Beside it
the rank correlation with the removals over all patches and over those that are no outliers, and the share of the
absolute relevance on outliers. Outliers are those of ``metadata["diagnostics"]``. Figures per picture are kept in
benchmarks/results/sink_ratings.json, and the table of docs/methods/attention.md is written.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import torch
from dart_second_model import maps_of, set_of, written
from dart_srg import half_width, scores_without
from marked import between, cell, number
from splits import MODELS, ROOT, TITLES, open_real, photographs
from torch import Tensor

import vitscope as vs
from vitscope.evaluation.rank_statistics import midranks, spearman
from vitscope.methods.explaining.diagnostics import norms_of, outlier_patches
from vitscope.storage import files
from vitscope.tracing import Capture

METHODS = [
    *("raw-attention", "rollout", "gmar", "gmar-paper", "gae", "gradient-rollout", "transformer-attribution"),
    *("legrad", "attcat", "tokentm", "daam", "gradcam", "layercam", "attnlrp", "libra-fullgrad", "gmar-plus"),
    *("dart", "beta-dart", "dart-removal", "dart-removal@removal", "random"),
]
PAGE = ROOT / "docs" / "methods" / "attention.md"
BEGIN, END = "<!-- sinks: begin -->", "<!-- sinks: end -->"
CALLED = {"dart-removal@removal": "Γ of `dart-removal` alone", "removal": "**the removals themselves**"}
COLUMNS = {
    "over-rated": "over-rated",
    "rank": "rank",
    "relevance": "share on them",
    "correlation": "correlation with removals",
}
"""Of the page's table."""


def single_removals(vit: vs.Vit, images: Tensor, classes: Tensor) -> Tensor:
    """The fall of the class's logit without each patch alone, (B, P)."""
    P = vit.anatomy.layout.patches
    keep = torch.ones(len(images), P, dtype=torch.bool, device=images.device)
    whole = scores_without(vit, images, classes, keep, "drop")
    falls = []
    for patch in range(P):
        keep[:, patch] = False
        falls.append(whole - scores_without(vit, images, classes, keep, "drop"))
        keep[:, patch] = True
    return torch.stack(falls, 1)


def rank(values: Tensor) -> Tensor:
    """The share of the other patches that lie below each, (B, P)."""
    return (midranks(values) - 1) / (values.shape[1] - 1)


def measured(vit: vs.Vit, batch: int, pictures: int | None) -> dict[str, dict[str, list[float]]]:
    """{measure: {method: values}} over the photographs that have outlier patches; NaN is left out."""
    names = ("over-rated", "rank", "relevance", "correlation", "correlation of the others")
    found: dict[str, dict[str, list[float]]] = {name: {} for name in names}
    found["patches"] = {"outliers": []}
    chosen = photographs("sample", "development") + photographs("sample", "confirmation")
    data = set_of(chosen[:pictures])
    for part in data.batches(vit, batch):
        trace = vit.trace(part.images, gradient=False, capture=Capture(streams=True))
        outliers = outlier_patches(norms_of(trace))
        found["patches"]["outliers"] += outliers.sum(1).tolist()
        some = outliers.any(1)
        if not bool(some.any()):
            continue
        images, outliers, classes = part.images[some], outliers[some], trace.logits.argmax(1)[some]
        falls = single_removals(vit, images, classes).to(outliers.device)
        count = outliers.sum(1)

        def on_outliers(values: Tensor, outliers: Tensor = outliers, count: Tensor = count) -> Tensor:
            return (values * outliers).sum(1) / count

        rows = {"removal": falls} | {
            spec: maps_of(vit, images, spec, classes.tolist()).flatten(1).to(outliers.device).double()
            for spec in METHODS
        }
        for spec, values in rows.items():
            others = [spearman(v[~o], f[~o]) for v, f, o in zip(values, falls, outliers, strict=True)]
            share = (values.abs() * outliers).sum(1) / values.abs().sum(1)
            measures = (
                on_outliers(rank(values) - rank(falls)), on_outliers(rank(values)), share,
                spearman(values, falls), torch.stack(others),
            )  # fmt: skip
            for name, each in zip(names, measures, strict=True):
                found[name].setdefault(spec, []).extend(round(x, 4) for x in each.tolist())
    return found


def table(found: dict[str, dict[str, list[float]]]) -> list[str]:
    """A row per method, from the most over-rating to the most under-rating."""
    names = [name for name in found if name != "patches"]
    lines = ["| method | " + " | ".join(names) + " |", "| --- " * (1 + len(names)) + "|"]
    tensors = {n: {s: torch.tensor(v, dtype=torch.float64) for s, v in found[n].items()} for n in names}
    for spec in sorted(tensors["over-rated"], key=lambda s: -float(tensors["over-rated"][s].nanmean())):
        cells = [tensors[name][spec] for name in names]
        cells = [v[v.isfinite()] for v in cells]
        lines.append(
            f"| `{spec}` | " + " | ".join(f"{v.mean():+.2f} ± {half_width(v):.2f}" for v in cells) + " |"
        )
    return lines


def page_table(document: dict[str, Any]) -> str:
    """The page's table: both models beside each other, from the most over-rating on AugReg to the most under-rating."""
    models = [model for model in reversed(MODELS) if model in document]
    values = {
        (model, column, spec): torch.tensor(each, dtype=torch.float64)
        for model in models
        for column in COLUMNS
        for spec, each in document[model][column].items()
    }
    specs = sorted(
        document[models[0]]["over-rated"], key=lambda s: -float(values[models[0], "over-rated", s].nanmean())
    )
    titles = [f"{head}: {TITLES[model]}" for head in COLUMNS.values() for model in models]
    lines = [f"| method | {' | '.join(titles)} |", "| --- " * (1 + len(titles)) + "|"]
    for spec in specs:
        cells = []
        for column in COLUMNS:
            for model in models:
                found = values[model, column, spec]
                found = found[found.isfinite()]
                mean, sign = float(found.mean()), column in ("over-rated", "correlation")
                whole = column == "over-rated"
                cells.append(cell(mean, half_width(found), sign=sign) if whole else number(mean, sign=sign))
        lines.append(f"| {CALLED.get(spec, f'`{spec}`')} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pictures", type=int, help="the first so many; all 100 by default")
    parser.add_argument("--models", nargs="+", choices=list(MODELS), default=list(MODELS))
    parser.add_argument("--batch", type=int, default=10)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", default=str(ROOT / "benchmarks" / "results" / "sink_ratings.json"))
    given = parser.parse_args()
    out = Path(given.out)
    document = json.loads(out.read_text()) if out.exists() else {}
    for model in given.models:
        vit = open_real(model, device=given.device)
        document[model] = measured(vit, given.batch, given.pictures)
        files.write(out, written(document))
        counts = torch.tensor(document[model]["patches"]["outliers"]).double()
        print(f"\n{model}: {counts.mean():.1f} outlier patches per picture, {int((counts > 0).sum())} of")
        print(f"{len(counts)} pictures have one\n\n" + "\n".join(table(document[model])), flush=True)
    PAGE.write_text(
        between(PAGE.read_text(encoding="utf-8"), BEGIN, END, page_table(document)), encoding="utf-8"
    )


if __name__ == "__main__":
    main()
