"""SRG of DART beside what it is compared with, on the sample photographs, with paired differences.

    python benchmarks/dart_srg.py                # every method of METHODS, writes benchmarks/results/dart_srg.json
    python benchmarks/dart_srg.py gae legrad     # these again; what the file holds under the same protocol stays
    python benchmarks/dart_srg.py dart dart:refined=8 --pictures 64 --out refined.json

SRG = area under the logit of the predicted class when patches leave least important first, minus the same most
important first; `steps` equal steps, trapezoid over the removed fraction, mean over pictures. Equal values leave in
one drawn order. Removal "drop" shortens the sequence; its values are those of "mask" to rounding, at half the cost.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

import vitscope as vs
from vitscope.tracing import TokenRemoval

Mode = Literal["mask", "drop"]
METHODS = [
    *("dart", "dart:kappa=0.53", "dart:kappa=1,gate=False", "gmar-plus", "gae", "gradcam"),
    *("legrad", "gmar", "rollout", "daam", "raw-attention", "random"),
]
ROOT = Path(__file__).resolve().parent.parent
BATCH = 25


def scores_without(vit: vs.Vit, images: Tensor, classes: Tensor, keep: Tensor, mode: Mode) -> Tensor:
    """The class's logit with the patches of ``keep`` (B, P) alone, (B,)."""
    logits = vit.forward(images, removal=TokenRemoval(keep, mode=mode))
    return logits.gather(1, classes[:, None])[:, 0].double()


def end_points(vit: vs.Vit, images: Tensor, classes: Tensor, patches: int, mode: Mode) -> Tensor:
    """The class's logit with all patches and with none, (B, 2): every curve starts and ends there."""
    keep = torch.zeros(len(images), patches, dtype=torch.bool)
    return torch.stack([scores_without(vit, images, classes, k, mode) for k in (~keep, keep)], 1)


def curve_areas(
    vit: vs.Vit, images: Tensor, maps: Tensor, classes: Tensor, ends: Tensor, steps: int, mode: Mode = "drop"
) -> Tensor:
    """(B, 2): area under the class's logit, least and most important patches first; maps (B, P)."""
    P = maps.shape[1]
    drawn = torch.rand(P, generator=torch.Generator().manual_seed(0)).argsort()
    rank = drawn[maps[:, drawn].argsort(dim=1, stable=True)].argsort(dim=1)  # 0: least important
    areas = []
    for place in (rank, P - 1 - rank):
        inner = [
            scores_without(vit, images, classes, place >= round(step * P / steps), mode)
            for step in range(1, steps)
        ]
        areas.append(torch.trapezoid(torch.stack([ends[:, 0], *inner, ends[:, 1]], 1), dx=1 / steps, dim=1))
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
    parser.add_argument("--removal", choices=["drop", "mask"], default="drop")
    parser.add_argument("--out", default=str(ROOT / "benchmarks" / "results" / "dart_srg.json"))
    given = parser.parse_args()
    assets = Path(given.assets)
    vit = vs.open_model(
        "timm/deit_tiny_patch16_224", weights=assets / "models" / "deit_tiny_patch16_224.safetensors"
    )
    paths = sorted((assets / "images" / "sample").glob("*.jpg"))[given.first : given.first + given.pictures]
    images = vit.images(paths)
    classes = vit.predict(images).argmax(1)
    protocol = {
        "model": "timm/deit_tiny_patch16_224",
        "pictures": f"sample {given.first}…{given.first + len(images) - 1}",
        "removal": given.removal,
        "score": "logit of the predicted class",
        "steps": given.steps,
    }
    parts = [slice(i, i + BATCH) for i in range(0, len(images), BATCH)]
    patches = vit.anatomy_for((images.shape[-2], images.shape[-1])).layout.patches
    ends = torch.cat([end_points(vit, images[p], classes[p], patches, given.removal) for p in parts])
    areas = kept(Path(given.out), protocol)
    for text in given.methods:
        name, options = parse(text)
        start = time.perf_counter()
        maps = vs.explain(vit, images, name, target=classes, keep_pictures=False, **options).maps.flatten(1)
        areas[text] = torch.cat(
            [
                curve_areas(vit, images[p], maps[p], classes[p], ends[p], given.steps, given.removal)
                for p in parts
            ]
        )
        srg = areas[text][:, 0] - areas[text][:, 1]
        seconds = time.perf_counter() - start
        print(f"{text:28s} SRG {srg.mean():6.3f} ± {half_width(srg):.3f}  {seconds:5.1f} s", flush=True)
        report(areas, protocol, Path(given.out))


def half_width(values: Tensor) -> float:
    """Half the 95 % interval of a mean."""
    return float(1.96 * values.std() / len(values) ** 0.5)


def kept(out: Path, protocol: dict[str, Any]) -> dict[str, Tensor]:
    """The areas per picture that an earlier run under the same protocol left, by method; none otherwise."""
    found = json.loads(out.read_text()) if out.exists() else {}
    if {name: found.get(name) for name in protocol} != protocol:
        return {}
    return {text: torch.tensor(areas, dtype=torch.float64) for text, areas in found["areas"].items()}


def report(areas: dict[str, Tensor], protocol: dict[str, Any], out: Path) -> None:
    """Write the table and the areas per picture, [least, most important first]."""
    reference = "dart" if "dart" in areas else next(iter(areas))
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
    head = json.dumps({**protocol, "methods": table}, indent=2, ensure_ascii=False)
    rows = [
        f'    "{text}": {json.dumps([[round(v, 4) for v in row] for row in both.tolist()])}'
        for text, both in areas.items()
    ]
    out.write_text(head[:-2] + ',\n  "areas": {\n' + ",\n".join(rows) + "\n  }\n}\n")


if __name__ == "__main__":
    main()
