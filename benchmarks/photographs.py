"""Which photographs choose and which confirm: one split for every benchmark that develops a method.

Rows 0, 3, 6 ... of a folder's sorted pictures are for development: rules, factors and variants are chosen on them.
The others confirm what was chosen, once. The planted worlds have a seed for each.
"""

from __future__ import annotations

import csv
import os
from pathlib import Path
from typing import Literal, get_args

from vitscope.evaluation import EvaluationSet

Split = Literal["development", "confirmation"]
SPLITS: tuple[Split, ...] = get_args(Split)
ROOT = Path(__file__).resolve().parent.parent
ASSETS = Path(os.environ.get("VITSCOPE_ASSETS", ROOT.parent / "shared"))
MODELS = ("deit_tiny_patch16_224", "vit_tiny_patch16_224")
WORLD_SEEDS: dict[Split, int] = {"development": 0, "confirmation": 2}
EVERY = 3


def photographs(assets: Path, folder: Literal["sample", "boxed-val"], split: Split) -> EvaluationSet:
    """The photographs of ``images/<folder>`` that belong to a split, with labels, and boxes where there are any."""
    place = assets / "images" / folder
    with (place / "labels.csv").open(newline="") as file:
        labels = {row["file"]: int(row["class_index"]) for row in csv.DictReader(file)}
    names = [
        name for row, name in enumerate(sorted(labels)) if (row % EVERY == 0) == (split == "development")
    ]
    boxes: dict[str, list[tuple[float, float, float, float]]] = {}
    if (place / "boxes.csv").exists():
        with (place / "boxes.csv").open(newline="") as file:
            for row in csv.DictReader(file):
                corners = (float(row["x0"]), float(row["y0"]), float(row["x1"]), float(row["y1"]))
                boxes.setdefault(row["file"], []).append(corners)
    return EvaluationSet(
        [place / name for name in names],
        names,
        [labels[name] for name in names],
        boxes=[boxes[name] for name in names] if boxes else None,
    )


def together(*sets: EvaluationSet) -> EvaluationSet:
    """Several sets as one, with labels alone."""
    return EvaluationSet(
        [picture for each in sets for picture in each.pictures],
        [key for each in sets for key in each.keys],
        [label for each in sets for label in each.labels or ()],
    )
