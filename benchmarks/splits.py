"""The real models and photographs of the measurements, and which photographs are for choosing and which for reporting.

    from splits import open_real, photographs

    vit = open_real("deit")
    chosen_on = photographs("sample", "development")
    reported_on = photographs("sample", "confirmation")

Settings are chosen on the development pictures (every third of each folder, in the order of its labels.csv) and are
reported on the others, the confirmation pictures. Real weights and photographs are looked for in VITSCOPE_ASSETS
(default ../shared).
"""

from __future__ import annotations

import csv
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import vitscope as vs

Folder = Literal["sample", "boxed-val"]
Part = Literal["development", "confirmation", "all"]
Box = tuple[float, float, float, float]

ROOT = Path(__file__).resolve().parent.parent
ASSETS = Path(os.environ.get("VITSCOPE_ASSETS", ROOT.parent / "shared"))
MODELS = {"deit": "deit_tiny_patch16_224", "augreg": "vit_tiny_patch16_224"}
"""By their short names timm's names of the real models: DeiT-Tiny, and ViT-Tiny of the AugReg recipe."""
TITLES = {"deit": "DeiT-Tiny", "augreg": "AugReg ViT-Tiny"}


def open_real(name: str, **options: str) -> vs.Vit:
    """The real model of a short name; options are those of ``open_model``, such as ``device``."""
    weights = ASSETS / "models" / f"{MODELS[name]}.safetensors"
    return vs.open_model(f"timm/{MODELS[name]}", weights=weights, **options)


@dataclass(frozen=True)
class Photograph:
    """A photograph with its true class and the boxes of that class, in its own pixels (none known in ``sample``)."""

    path: Path
    label: int
    boxes: tuple[Box, ...] = ()

    @property
    def key(self) -> str:
        """Folder and file name."""
        return f"{self.path.parent.name}/{self.path.name}"


def photographs(folder: Folder, part: Part = "all") -> list[Photograph]:
    """The photographs of a folder of ``images``, or one part of them, in the order of its labels.csv."""
    place = ASSETS / "images" / folder
    boxes: dict[str, list[Box]] = {}
    if (place / "boxes.csv").is_file():
        for row in _rows(place / "boxes.csv"):
            x0, y0, x1, y1 = (float(row[side]) for side in ("x0", "y0", "x1", "y1"))
            boxes.setdefault(row["file"], []).append((x0, y0, x1, y1))
    found = [
        Photograph(place / row["file"], int(row["class_index"]), tuple(boxes.get(row["file"], ())))
        for row in _rows(place / "labels.csv")
    ]
    return [each for index, each in enumerate(found) if part in ("all", part_of(index))]


def part_of(index: int) -> Part:
    """To which part the photograph at this place of its folder belongs."""
    return "development" if index % 3 == 0 else "confirmation"


def _rows(file: Path) -> list[dict[str, str]]:
    with file.open(newline="", encoding="utf-8") as lines:
        return list(csv.DictReader(lines))
