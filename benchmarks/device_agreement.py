"""How far a map depends on where and how precisely it is computed: every method on a GPU, in bf16, in float64.

    python benchmarks/device_agreement.py [--device cuda] [--pictures 8]    # results/device_agreement.json
    python benchmarks/device_agreement.py --page docs/performance.md    # puts its table into the page

DeiT-Tiny and development photographs of shared/images; each against the processor's map in float32. *Correlation* is
Pearson's, between two maps of one picture; told is the lowest of the pictures. *Difference* is the largest one in terms
of the map's largest value. The class explained is the one that the processor predicts in float32, so that a near tie
does not pass for a difference of maps.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from marked import between
from splits import ROOT, open_real, photographs

import vitscope as vs
from vitscope.errors import VitscopeError

RESULT = ROOT / "benchmarks" / "results" / "device_agreement.json"
START, END = "<!-- devices: begin -->", "<!-- devices: end -->"
QUICK: dict[str, dict[str, int]] = {"rise": {"masks": 100}, "kernel-shap": {"samples": 100}}
"""Less of what takes hundreds of passes: both sides draw the same masks."""
WITHOUT = {"attention-flow"}
"""On the processor by nature: minutes for one picture, and nothing of its own on a GPU."""


def maps_of(vit: vs.Vit, images: torch.Tensor, method: str, classes: list[int]) -> np.ndarray[Any, Any]:
    """The maps (B, h, w) as they come, float64."""
    less = QUICK.get(method, {})
    made = vs.explain(
        vit, images, method, target=classes, keep_pictures=False, batch_size=len(images), **less
    )
    found: np.ndarray[Any, Any] = made.maps.double().cpu().numpy()
    return found


def apart(one: np.ndarray[Any, Any], other: np.ndarray[Any, Any]) -> dict[str, float]:
    """The lowest correlation of a picture's two maps, and the largest difference in terms of the largest value."""
    lowest, largest = 1.0, 0.0
    for mine, theirs in zip(one, other, strict=True):
        scale = np.abs(mine).max() or 1.0
        largest = max(largest, float(np.abs(mine - theirs).max() / scale))
        if mine.std() > 0 and theirs.std() > 0:
            lowest = min(lowest, float(np.corrcoef(mine.ravel(), theirs.ravel())[0, 1]))
    return {"correlation": round(lowest, 6), "difference": float(f"{largest:.2g}")}


def opened(device: str) -> dict[str, vs.Vit]:
    """The model in every way that is compared with float32 on the processor."""
    doubled = vs.open_model(open_real("deit").model.double())
    return {
        "float32": open_real("deit", device=device),
        "bf16": open_real("deit", device=device, precision="bf16"),
        "float64": doubled,
    }


def measure(device: str, pictures: int) -> dict[str, Any]:
    """By method and way what ``apart`` tells, or the words of its refusal."""
    processor, ways = open_real("deit"), opened(device)
    images = processor.images([each.path for each in photographs("sample", "development")[:pictures]])
    with torch.inference_mode():
        classes = processor.model(images).argmax(1).tolist()
    found: dict[str, Any] = {}
    for info in vs.methods():
        if info.name in WITHOUT or info.why_not(processor.anatomy) is not None:
            continue
        reference = maps_of(processor, images, info.name, classes)
        rows = found[info.name] = {}
        for way, vit in ways.items():
            own = images.double() if way == "float64" else images.to(vit.device)
            try:
                rows[way] = apart(reference, maps_of(vit, own, info.name, classes))
            except VitscopeError as error:
                rows[way] = {"refused": str(error)}
        print(info.name, rows, flush=True)
    return found


ALIKE = 0.9995
"""From which correlation on in every way a method has no row of its own."""
WAYS = {
    "float32": "float32 on the GPU",
    "float64": "float64 on the processor",
    "bf16": "bf16 on the GPU",
}


def table(found: dict[str, Any]) -> str:
    """A row for each method that the way changes, what depends most on it first, and one for all others; without the
    controls, which depend on no model."""
    controls = {info.name for info in vs.methods() if info.family == "control"}
    titles = " | ".join(f"{title}: correlation | difference" for title in WAYS.values())
    rows = [f"| method | {titles} |", "| --- |" + " --- | --- |" * len(WAYS)]
    kept = {name: told for name, told in found["methods"].items() if name not in controls}
    plain = [name for name, told in kept.items() if min(_correlation(told, way) for way in WAYS) >= ALIKE]
    for name in sorted(
        kept.keys() - set(plain), key=lambda name: [_correlation(kept[name], way) for way in WAYS]
    ):
        rows.append(f"| `{name}` | {' | '.join(_cells(kept[name][way]) for way in WAYS)} |")
    least = {
        way: {
            "correlation": min(kept[name][way]["correlation"] for name in plain),
            "difference": max(kept[name][way]["difference"] for name in plain),
        }
        for way in WAYS
    }
    rows.append(f"| the {len(plain)} others, at most | {' | '.join(_cells(least[way]) for way in WAYS)} |")
    return "\n".join(rows)


def _cells(told: dict[str, float]) -> str:
    return f"{told['correlation']:.4f} | {told['difference']:.1g}" if "correlation" in told else "refused |"


def _correlation(told: dict[str, Any], way: str) -> float:
    value: float = told[way].get("correlation", -1.0)
    return round(value, 4)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--pictures", type=int, default=8)
    parser.add_argument("--out", type=Path, default=RESULT)
    parser.add_argument("--page", type=Path)
    given = parser.parse_args()
    if given.page:
        found = json.loads(given.out.read_text(encoding="utf-8"))
        page = given.page.read_text(encoding="utf-8")
        given.page.write_text(between(page, START, END, table(found)), encoding="utf-8")
        return
    name = torch.cuda.get_device_name() if given.device.startswith("cuda") else given.device
    found = {"device": name, "torch": torch.__version__, "pictures": given.pictures}
    found["methods"] = measure(given.device, given.pictures)
    given.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
