"""Which DART: candidates beside GAE, DAAM and raw attention on two real models and the planted worlds.

    python benchmarks/dart_second_model.py measure --split development --pictures 30     # a look, on a CPU
    python benchmarks/dart_second_model.py measure --split confirmation --device cuda    # once
    python benchmarks/dart_second_model.py tables --split confirmation                   # Markdown, from what was kept

Parts: SRG under three removals (drop, mean colour, blur), and with the log-probability explained and measured; boxes
(share, pointing, AUROC); grid pointing on mosaics, two drawings per photograph; the five worlds (share, rank accuracy,
AUROC, SRG); seconds per map. Every value per picture is kept in benchmarks/results/dart_second_model.json; a part that
is there for the same pictures is not measured again. ``dart-removal@0.33`` is dart-removal with another share than one
half for the derivative of removal, ``dart-removal@removal`` that derivative alone. Which pictures develop and which
confirm: splits.py.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from dart_srg import half_width, parse
from leaderboard_boards import mixed
from splits import MODELS, ROOT, Part, Photograph, open_real, photographs
from torch import Tensor

import vitscope as vs
from vitscope.evaluation import EvaluationSet, get_metric, world_names, world_set
from vitscope.evaluation.board.paired_test import paired_p
from vitscope.evaluation.board.statistics import holm
from vitscope.evaluation.case import Case, Subject
from vitscope.evaluation.removal.perturbation import Asking, Perturber
from vitscope.evaluation.running.mosaics import mosaics_of
from vitscope.evaluation.running.run import model_call
from vitscope.pictures import Batch
from vitscope.storage import files

ORDERS = [
    *("dart-removal", "dart-removal@0.33", "dart-removal@0.75", "beta-dart", "dart", "dart:kappa=0.75"),
    *("gae", "daam", "raw-attention", "rollout", "legrad", "gradcam", "gmar-plus", "libra-fullgrad"),
    *("transformer-attribution", "attcat", "tokentm", "random"),
]
"""What orders the patches; ``centre`` would change none of it."""
CENTRED = ["dart-removal:centre=true", "beta-dart:centre=true", "dart:centre=true"]
"""Beside them where maps are cut at zero."""
REFERENCES = ("dart", "gae", "daam", "raw-attention")
DRAWINGS = range(2)
WORLD_SEEDS: dict[Part, int] = {"development": 0, "confirmation": 2}


@dataclass(frozen=True)
class Measured:
    """What is measured together: metrics of the library under one protocol, on pictures of one kind."""

    metrics: tuple[str, ...]
    protocol: vs.Protocol
    explained: str = "logit"
    places: bool = False

    @property
    def candidates(self) -> list[str]:
        return ORDERS + CENTRED if self.places else ORDERS


LABEL = vs.Protocol(target="label")
PARTS = {
    "drop": Measured(("srg",), vs.Protocol(removal="drop", steps=14)),
    "mean": Measured(("srg",), vs.Protocol(removal="mean", steps=10)),
    "blur": Measured(("srg",), vs.Protocol(removal="blur", steps=10)),
    "log-probability": Measured(
        ("srg",), vs.Protocol(removal="drop", steps=14, score="log_probability"), "log_probability"
    ),
    "boxes": Measured(("mass", "pointing", "auroc"), LABEL, places=True),
    "mosaics": Measured(("grid-pointing",), LABEL, places=True),
}
WORLD = Measured(
    ("mass", "rank-accuracy", "auroc", "srg"),
    vs.Protocol(removal="drop", steps=8, target="label"),
    places=True,
)


def maps_of(vit: vs.Vit, images: Tensor, spec: str, target: Any) -> Tensor:
    """The raw maps of one candidate, (B, h, w)."""
    if spec == "random":
        return torch.rand(len(images), *vit.anatomy.layout.grid, generator=torch.Generator().manual_seed(0))
    text, _, share = spec.partition("@")
    name, options = parse(text)
    e = vs.explain(vit, images, name, target, batch_size=len(images), keep_pictures=False, **options)
    if not share:
        return e.maps
    if share == "removal":
        return e.layout.to_grid(e.extras["removal"])
    blocks = len(vit.anatomy.blocks)
    return e.maps + (float(share) - 0.5) * blocks * e.layout.to_grid(e.extras["removal"])


def case_of(vit: vs.Vit, batch: Batch, protocol: vs.Protocol, size: int) -> Case:
    """One batch as the metrics of the library take it."""
    logits = vit.forward(batch.images)
    labels = None if batch.labels is None else batch.labels.to(logits.device)
    classes = labels if protocol.target == "label" else logits.argmax(1)
    mean, std = vit.preprocessor.mean_std()
    height, width = batch.images.shape[-2:]
    cells = vit.anatomy.layout.cells_at((int(height), int(width)))
    asking = Asking(mean=mean.flatten(), std=std.flatten(), batch_size=size)
    perturber = Perturber(model_call(vit, protocol.removal), batch.images, classes, cells, protocol, asking)
    perturber.adopt_clean(logits)
    return Case(perturber, batch.keys, labels, batch.masks, batch.boxes, class_count=logits.shape[1])


def measure(
    vit: vs.Vit, sets: Sequence[EvaluationSet], part: Measured, candidates: Sequence[str], size: int
) -> dict[str, dict[str, list[float]]]:
    """{metric: {candidate: values}}, a value per picture of the first set, the mean over several."""
    drawings = []
    for data in sets:
        found: dict[str, dict[str, list[Tensor]]] = {m: {c: [] for c in candidates} for m in part.metrics}
        for batch in data.batches(vit, size):
            case = case_of(vit, batch, part.protocol, 4 * size)
            target = [f"class:{c}:{part.explained}" for c in case.classes.tolist()]
            for spec in candidates:
                maps = maps_of(vit, batch.images, spec, target).to(case.images.device)
                subject = Subject(case, spec, maps)
                for metric in part.metrics:
                    found[metric][spec].append(get_metric(metric).function(subject).double().cpu())
        drawings.append({m: {c: torch.cat(v) for c, v in rows.items()} for m, rows in found.items()})
    return {
        metric: {
            spec: [round(x, 4) for x in torch.stack([d[metric][spec] for d in drawings]).nanmean(0).tolist()]
            for spec in candidates
        }
        for metric in part.metrics
    }


def seconds(vit: vs.Vit, images: Tensor, candidates: Sequence[str]) -> dict[str, list[float]]:
    """Seconds per picture of each candidate's maps, the smallest of three, and of a plain forward."""

    def spent(run: Any) -> float:
        times = []
        for _ in range(4):  # the first warms up
            begun = time.perf_counter()
            run()
            if images.is_cuda:
                torch.cuda.synchronize()
            times.append(time.perf_counter() - begun)
        return min(times[1:]) / len(images)

    taken = {"forward": [spent(lambda: vit.forward(images))]}
    for spec in candidates:
        taken[spec] = [spent(lambda spec=spec: maps_of(vit, images, spec, 0))]
    return taken


def set_of(chosen: Sequence[Photograph]) -> EvaluationSet:
    """Photographs with their classes, and with their boxes where all have some."""
    return EvaluationSet(
        [each.path for each in chosen],
        [each.key for each in chosen],
        [each.label for each in chosen],
        boxes=[each.boxes for each in chosen] if all(each.boxes for each in chosen) else None,
    )


def jobs(
    split: Part, device: str, pictures: int | None, names: Sequence[str], models: Sequence[str]
) -> Iterator[Any]:
    """(model, part's name, part, opened model, the sets it is measured on) of everything that was chosen."""
    sample, boxed = (
        mixed(split, photographs(folder, split))[:pictures] for folder in ("sample", "boxed-val")
    )
    for model in models:
        vit = open_real(model, device=device)
        for name, part in PARTS.items():
            if name not in names:
                continue
            if name == "mosaics":
                sets = [mosaics_of(vit, set_of(sample), seed) for seed in DRAWINGS]
            else:
                sets = [set_of(boxed if name == "boxes" else sample + boxed)]
            yield model, name, part, vit, sets
    for world in world_names() if "worlds" in names else ():
        vit = vs.open_model(f"bundled/{world}", device=device)
        yield world, "world", WORLD, vit, [world_set(world, pictures or 100, WORLD_SEEDS[split])]


def run(given: argparse.Namespace, out: Path) -> None:
    document = json.loads(out.read_text()) if out.exists() else {}
    chosen = given.candidates or []
    for model, name, part, vit, sets in jobs(
        given.split, given.device, given.pictures, given.parts, given.models
    ):
        kept = document.setdefault(given.split, {}).setdefault(model, {}).setdefault(name, {})
        keys = list(sets[0].keys)
        if kept.get("keys") != keys:
            kept.clear()
            kept.update({"keys": keys, "protocol": part.protocol.choices(), "values": {}})
        first = kept["values"].get(part.metrics[0], {})
        open_ = [spec for spec in chosen or part.candidates if spec not in first]
        if open_:
            begun = time.perf_counter()
            for metric, rows in measure(vit, sets, part, open_, given.batch).items():
                kept["values"].setdefault(metric, {}).update(rows)
            files.write(out, written(document))
            print(f"{model} {name}: {len(open_)} candidates, {time.perf_counter() - begun:.0f} s", flush=True)
    if "cost" in given.parts:
        for model, _, _, vit, sets in jobs(given.split, given.device, 8, ["drop"], given.models):
            images = next(iter(sets[0].batches(vit, 16))).images
            place = f"{given.device}, {torch.cuda.get_device_name() if given.device == 'cuda' else 'CPU'}"
            document[given.split][model].setdefault("cost", {})[place] = seconds(vit, images, ORDERS[:-1])
            files.write(out, written(document))


def written(value: Any, depth: int = 0) -> str:
    """JSON with a row of figures on each line."""
    if not isinstance(value, dict) or not value:
        return json.dumps(value, ensure_ascii=False)
    indent = " " * (depth + 1)
    rows = [f"{indent}{json.dumps(k, ensure_ascii=False)}: {written(v, depth + 1)}" for k, v in value.items()]
    return "{\n" + ",\n".join(rows) + "\n" + " " * depth + "}" + ("" if depth else "\n")


def tables(document: dict[str, Any], split: Part) -> str:
    """A Markdown table for each part and metric: means, and differences to the references with Holm's p."""
    lines = []
    for model, parts in document.get(split, {}).items():
        for name, kept in parts.items():
            for metric, rows in kept.get("values", {}).items():
                lines += ["", f"{model}, {name}, {metric}, {len(kept['keys'])} pictures", ""]
                lines += table({spec: torch.tensor(v, dtype=torch.float64) for spec, v in rows.items()})
    return "\n".join(lines)


def table(rows: dict[str, Tensor]) -> list[str]:
    """Rows from best to worst; a difference is bold where p < .05 after Holm over its column."""
    columns: dict[str, dict[str, str]] = {}
    for reference in [r for r in REFERENCES if r in rows]:
        others = [spec for spec in rows if spec != reference]
        both = {s: rows[s].isfinite() & rows[reference].isfinite() for s in others}
        p = holm([paired_p(rows[s][both[s]], rows[reference][both[s]]) for s in others])
        columns[reference] = {reference: ""}
        for spec, corrected in zip(others, p, strict=True):
            d = (rows[spec] - rows[reference])[both[spec]]
            text = f"{d.mean():+.3f} ± {half_width(d):.3f}"
            columns[reference][spec] = f"**{text}**" if corrected < 0.05 else text
    lines = ["| candidate | mean | " + " | ".join(f"minus {r}" for r in columns) + " |"]
    lines.append("| --- " * (2 + len(columns)) + "|")
    for spec in sorted(rows, key=lambda s: -float(rows[s].nanmean())):
        defined = rows[spec][rows[spec].isfinite()]
        cells = [f"{defined.mean():.3f} ± {half_width(defined):.3f}", *(columns[r][spec] for r in columns)]
        lines.append(f"| `{spec}` | " + " | ".join(cells) + " |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("stage", choices=["measure", "tables"])
    parser.add_argument("--split", choices=["development", "confirmation"], required=True)
    parser.add_argument("--parts", nargs="+", default=[*PARTS, "worlds", "cost"])
    parser.add_argument("--candidates", nargs="+", help="all by default")
    parser.add_argument(
        "--pictures", type=int, help="of each folder or world, the first so many; all by default"
    )
    parser.add_argument("--models", nargs="+", choices=list(MODELS), default=list(MODELS))
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", default=str(ROOT / "benchmarks" / "results" / "dart_second_model.json"))
    given = parser.parse_args()
    if given.stage == "measure":
        run(given, Path(given.out))
    else:
        print(tables(json.loads(Path(given.out).read_text()), given.split))


if __name__ == "__main__":
    main()
