"""SRG of DART beside what it is compared with, on the sample photographs, with paired differences.

    python benchmarks/dart_srg.py                     # every method of METHODS, writes benchmarks/results/dart_srg.json
    python benchmarks/dart_srg.py dart gae --pictures 32 --steps 14

SRG = area under the logit of the predicted class when patches leave least important first, minus the same most
important first; mask removal, `steps` equal steps, trapezoid over the removed fraction, mean over pictures.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import vitscope as vs
from vitscope.tracing import TokenRemoval

METHODS = [
    *("dart", "dart:kappa=0.5", "dart:kappa=1,gate=False", "gmar-plus", "gae", "gradcam"),
    *("legrad", "gmar", "rollout", "daam", "raw-attention", "random"),
]
ROOT = Path(__file__).resolve().parent.parent


def curve_areas(vit: vs.Vit, images: Tensor, maps: Tensor, classes: Tensor, steps: int) -> Tensor:
    """(B, 2): area under the class's logit, least and most important patches first."""
    P = maps.shape[1]
    areas = []
    for descending in (False, True):
        rank = maps.argsort(dim=1, descending=descending, stable=True).argsort(1)
        scores = []
        for step in range(steps + 1):
            keep = rank >= round(step * P / steps)
            logits = vit.forward(images, removal=TokenRemoval(keep))
            scores.append(logits.gather(1, classes[:, None])[:, 0])
        areas.append(torch.trapezoid(torch.stack(scores, 1), dx=1 / steps, dim=1))
    return torch.stack(areas, 1)


def parse(text: str) -> tuple[str, dict[str, Any]]:
    """``name:option=value,option=value`` with JSON values (True and False as in Python)."""
    name, _, tail = text.partition(":")
    options = {}
    for part in filter(None, tail.split(",")):
        option, _, value = part.partition("=")
        options[option] = json.loads(value.lower() if value in ("True", "False") else value)
    return name, options


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("methods", nargs="*", default=METHODS)
    parser.add_argument("--assets", default=os.environ.get("VITSCOPE_ASSETS", str(ROOT.parent / "shared")))
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--pictures", type=int, default=100)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--out", default=str(ROOT / "benchmarks" / "results" / "dart_srg.json"))
    given = parser.parse_args()
    assets = Path(given.assets)
    vit = vs.open_model(
        "timm/deit_tiny_patch16_224", weights=assets / "models" / "deit_tiny_patch16_224.safetensors"
    )
    paths = sorted((assets / "images" / "sample").glob("*.jpg"))[given.first : given.first + given.pictures]
    images = vit.images(paths)
    classes = vit.predict(images).argmax(1)
    areas: dict[str, Tensor] = {}
    for text in given.methods:
        name, options = parse(text)
        start = time.perf_counter()
        maps = vs.explain(vit, images, name, target=classes, keep_pictures=False, **options).maps.flatten(1)
        parts = [
            curve_areas(vit, images[i : i + 25], maps[i : i + 25], classes[i : i + 25], given.steps)
            for i in range(0, len(images), 25)
        ]
        areas[text] = torch.cat(parts)
        srg = areas[text][:, 0] - areas[text][:, 1]
        seconds = time.perf_counter() - start
        print(f"{text:28s} SRG {srg.mean():6.3f} ± {half_width(srg):.3f}  {seconds:5.1f} s", flush=True)
    report(areas, given)


def half_width(values: Tensor) -> float:
    """Half the 95 % interval of a mean."""
    return float(1.96 * values.std() / len(values) ** 0.5)


def report(areas: dict[str, Tensor], given: argparse.Namespace) -> None:
    reference = next(iter(areas))
    base = areas[reference][:, 0] - areas[reference][:, 1]
    table = {}
    for text, both in areas.items():
        srg = both[:, 0] - both[:, 1]
        difference = base - srg
        table[text] = {
            "srg": round(float(srg.mean()), 3),
            "half_width_95": round(half_width(srg), 3),
            "lif_area": round(float(both[:, 0].mean()), 3),
            "mif_area": round(float(both[:, 1].mean()), 3),
            f"{reference}_minus_this": round(float(difference.mean()), 3),
            "difference_half_width_95": round(half_width(difference), 3),
            f"{reference}_better_on": round(float((difference > 0).float().mean()), 3),
        }
    document = {
        "model": "timm/deit_tiny_patch16_224",
        "pictures": f"sample {given.first}…{given.first + len(base) - 1}",
        "removal": "mask",
        "score": "logit of the predicted class",
        "steps": given.steps,
        "methods": table,
    }
    Path(given.out).write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
