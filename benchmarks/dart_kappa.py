"""What DART's kappa may depend on: SRG under several rules for it, on two real models, with paired differences.

    python benchmarks/dart_kappa.py develop     # every rule, on every third sample photograph (rows 0, 3, 6 ...)
    python benchmarks/dart_kappa.py confirm     # the same once more, on the other photographs

Rules: a constant; by conservation (``vs.calibrate``) on the first 16 of the very photographs; by conservation on 16
reference inputs made from a seed, either rendered scenes of the "shapes" world or smoothed noise in the model's
normalised space. SRG as in ``dart_srg.py``: 10 steps, removal "drop" (the values of "mask" at half the cost), logit
of the predicted class. Beside it grid pointing on 2 x 2 mosaics, as in ``dart_variants.py``. Results:
benchmarks/results/dart_kappa.json; the table: docs/methods/dart.md.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import torch
from dart_srg import curve_areas, end_points, half_width
from dart_variants import grid_pointing, mosaic_batches, sample
from splits import MODELS, ROOT, open_real
from torch import Tensor
from torch.nn.functional import interpolate

import vitscope as vs
from vitscope.worlds import world

CONSTANTS = (0.25, 0.5, 0.75, 1.0)
TODAY = "conservation, first 16 photographs"
STEPS, BATCH, REFERENCES = 10, 17, 16


def reference_scenes(vit: vs.Vit) -> Tensor:
    """16 rendered scenes of the shapes world, prepared as the model prepares pictures."""
    return vit.images(world("shapes").sample(REFERENCES, seed=0).images())


def reference_noise(vit: vs.Vit) -> Tensor:
    """16 pictures of noise with equal parts at four scales, of mean 0 and deviation 1 in the normalised space."""
    generator = torch.Generator().manual_seed(0)
    size = vit.image_size
    total = torch.zeros(REFERENCES, 3, *size)
    for scale in (8, 16, 32, 64):
        shape = (REFERENCES, 3, -(-size[0] // scale), -(-size[1] // scale))
        coarse = torch.randn(shape, generator=generator)
        total += interpolate(coarse, size, mode="bilinear", align_corners=False)
    return total / total.std()


def rules(vit: vs.Vit, images: Tensor) -> dict[str, float]:
    """kappa under every rule; a rule of today's, which looks at the pictures, for comparison."""
    found = {f"constant {value:g}": value for value in CONSTANTS}
    found[TODAY] = vs.calibrate(vit, images[:REFERENCES]).kappa
    found["conservation, reference scenes"] = vs.calibrate(vit, reference_scenes(vit)).kappa
    found["conservation, reference noise"] = vs.calibrate(vit, reference_noise(vit)).kappa
    return found


def srg_of(vit: vs.Vit, images: Tensor, kappas: list[float]) -> dict[float, Tensor]:
    """SRG of every picture, (n,) float64, by kappa."""
    patches = vit.anatomy.layout.patches
    parts = images.split(BATCH)
    classes = [vit.predict(part).argmax(1) for part in parts]
    ends = [end_points(vit, p, c, patches, "drop") for p, c in zip(parts, classes, strict=True)]
    made = {}
    for kappa in kappas:
        rows = []
        for part, chosen, end in zip(parts, classes, ends, strict=True):
            e = vs.explain(vit, part, "dart", chosen, kappa=kappa, batch_size=BATCH, keep_pictures=False)
            areas = curve_areas(vit, part, e.maps.flatten(1), chosen, end, STEPS)
            rows.append(areas[:, 0] - areas[:, 1])
        made[kappa] = torch.cat(rows)
    return made


def pointing_of(
    vit: vs.Vit, images: Tensor, labels: list[int], names: list[str], kappas: list[float]
) -> dict[float, Tensor]:
    """Share of positive relevance in the right cell of 2 x 2 mosaics, mean of two drawings per photograph, (n,)."""
    made: dict[float, list[Tensor]] = {kappa: [] for kappa in kappas}
    for mosaics, classes, masks in mosaic_batches(vit, images, labels, names, range(2)):
        for kappa in kappas:
            e = vs.explain(vit, mosaics, "dart", classes, kappa=kappa, batch_size=BATCH, keep_pictures=False)
            made[kappa].append(grid_pointing(e.maps.flatten(1), masks))
    return {kappa: torch.cat(rows).view(2, len(images)).mean(0) for kappa, rows in made.items()}


def table(kappas: dict[str, float], values: dict[float, Tensor]) -> dict[str, Any]:
    """Means, and paired differences to today's rule and to one half, each with half a 95 % interval."""
    rows = {}
    for name, kappa in kappas.items():
        rows[name] = {"kappa": kappa, "mean": summary(values[kappa])}
        for title, other in (("photographs", kappas[TODAY]), ("constant 0.5", 0.5)):
            rows[name][f"minus {title}"] = summary(values[kappa] - values[other])
    return rows


def summary(values: Tensor) -> list[float]:
    """Mean and half a 95 % interval."""
    return [round(float(values.mean()), 4), round(half_width(values), 4)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("stage", choices=["develop", "confirm"])
    parser.add_argument("--metrics", default="srg,pointing")
    parser.add_argument("--out", default=str(ROOT / "benchmarks" / "results" / "dart_kappa.json"))
    given = parser.parse_args()
    out = Path(given.out)
    document = json.loads(out.read_text()) if out.exists() else {}
    for short, model in MODELS.items():
        vit = open_real(short)
        images, labels, names = sample(vit, given.stage == "confirm")
        kappas = rules(vit, images)
        tried = list(dict.fromkeys(kappas.values()))
        for metric in given.metrics.split(","):
            begun = time.process_time()
            srg = metric == "srg"
            values = srg_of(vit, images, tried) if srg else pointing_of(vit, images, labels, names, tried)
            rows = table(kappas, values)
            document.setdefault(given.stage, {}).setdefault(model, {})[metric] = {
                "pictures": len(images),
                "cpu_seconds": round(time.process_time() - begun),
                "rules": rows,
                "per_picture": {
                    f"{kappa:g}": [round(x, 4) for x in v.tolist()] for kappa, v in values.items()
                },
            }
            out.write_text(json.dumps(document, ensure_ascii=False, indent=1) + "\n")
            for name, row in rows.items():
                numbers = "  ".join(f"{k} {v[0]:+.3f} ± {v[1]:.3f}" for k, v in row.items() if k != "kappa")
                print(f"{model} {metric:8s} {name:36s} {row['kappa']:.2f}  {numbers}", flush=True)


if __name__ == "__main__":
    main()
