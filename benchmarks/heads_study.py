"""The study of docs/heads.md: every head analysis on one model and one labelled folder, tables, plots and figures.

    python benchmarks/heads_study.py --assets ../shared --out build/heads-study --images docs/images/heads

Writes tables (Parquet, CSV), plots, an HTML report and figures.json (times, memory, numbers quoted in the docs).
Every stage is kept: a second run goes on where the first one stopped.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import torch

import vitscope as vs
from vitscope import heads
from vitscope.pictures.annotations import read_folder
from vitscope.rendering import save_figure
from vitscope.reports import HeadsReport
from vitscope.reports.heads import plots
from vitscope.storage import folders


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--assets", type=Path, default=Path("../shared"))
    parser.add_argument("--out", type=Path, default=Path("build/heads-study"))
    parser.add_argument(
        "--images", type=Path, default=None, help="also write the plots of the docs page here"
    )
    parser.add_argument("--limit", type=int, default=None)
    parser.add_argument("--epochs", type=int, default=120, help="most epochs; early stopping ends it sooner")
    parser.add_argument("--steps", type=int, default=9, help="steps of a cumulative curve")
    parser.add_argument(
        "--every", type=int, default=2, help="cumulative curves take each so many-th photograph"
    )
    parser.add_argument(
        "--stage",
        choices=("all", "patterns", "rest"),
        default="all",
        help="patterns and the rest may run one after the other into one --out; then all draws",
    )
    arguments = parser.parse_args()
    out = arguments.out
    out.mkdir(parents=True, exist_ok=True)
    vit = vs.open_model(
        "timm/deit_tiny_patch16_224", weights=arguments.assets / "models/deit_tiny_patch16_224.safetensors"
    )
    records = read_folder(arguments.assets / "images/sample")[: arguments.limit]
    pictures, labels = [record.path for record in records], [record.label for record in records]
    clock = Clock(out / "figures.json")

    def importance(replacement: str) -> heads.HeadTable:
        path = out / f"importance-{replacement}.parquet"
        if not path.exists():
            clock.run(
                f"importance-{replacement}",
                lambda: heads.importance(vit, pictures, labels, replacement=replacement, batch_size=20).save(
                    path
                ),
            )
        return heads.HeadTable.load(path)

    if arguments.stage == "patterns":
        patterns(vit, pictures, out, arguments.epochs, clock)
        return
    table = importance("zero")
    table.save(out / "importance-zero.csv")
    print(table.metadata)

    path = out / "strength.safetensors"
    if not path.exists():
        clock.run("strength", lambda: heads.strength(vit, pictures, batch_size=20).save(path))
    strength = heads.StrengthProfile.load(path)
    strength.summary().to_csv(out / "strength.csv", index=False)

    path = out / "scores.parquet"
    if not path.exists():
        clock.run("scores", lambda: heads.head_scores(vit, pictures).save(path))
    scores = heads.HeadTable.load(path)
    from vitscope.heads.rankings.scores import DEFAULT_AGREEMENT

    joined = table.with_columns({name: scores[name] for name in scores.metrics})
    agreement = heads.agree(joined, [n for n in DEFAULT_AGREEMENT if n in joined.values], rounds=300)
    agreement.save(out / "agreement.csv")
    agreement.disagreements().to_csv(out / "disagreements.csv", index=False)

    top = table.order("js_divergence")[0]
    path = out / "partial.parquet"
    if not path.exists():
        clock.run(
            "partial",
            lambda: heads.partial_pruning(
                vit, pictures, *top, labels, hops=range(0, 14, 2), batch_size=20
            ).save(path),
        )
    path = out / "cumulative.parquet"
    chosen = (
        "probability_drop_label", "js_divergence", "logit_drop_label", "class_cosine_block", "class_cosine_last",
        "patch_cosine_block", "first_order", "gmar_norm",
    )  # fmt: skip
    if not path.exists():
        orders = {name: joined.order(name, most_important_first=False) for name in chosen}
        clock.run(
            "cumulative",
            lambda: heads.cumulative_pruning(
                vit,
                pictures[:: arguments.every],
                orders,
                labels[:: arguments.every],
                steps=arguments.steps,
                random_orders=4,
                batch_size=25,
            ).save(path),
        )
    cumulative = heads.CumulativePruning.load(path)
    path = out / "joint.csv"
    if not path.exists():
        clock.run(
            "joint",
            lambda: (
                heads.joint_effect(vit, pictures, table.order("js_divergence")[:3], labels)
                .to_pandas()
                .to_csv(path, index=False)
            ),
        )

    path = out / "pruned.json"
    if not path.exists():
        clock.run("prune", lambda: prune(vit, table, pictures, labels, out, path))
    mean = importance("mean")
    if arguments.stage == "rest":
        return
    atlas = patterns(vit, pictures, out, arguments.epochs, clock)
    print(atlas.verdict)
    quoted(clock, table, mean, strength, agreement, cumulative, path)

    story = HeadsReport(
        vit.source,
        len(pictures),
        table=table,
        strength=strength,
        atlas=atlas,
        agreement=agreement,
        cumulative=cumulative,
        joint=pd.read_csv(out / "joint.csv"),
    )
    story.write(out / "report.html")
    draw(out / "plots", table, strength, atlas, agreement, cumulative, out)
    if arguments.images is not None:
        draw(arguments.images, table, strength, atlas, agreement, cumulative, out)


def patterns(vit: vs.Vit, pictures: list[Path], out: Path, epochs: int, clock: Clock) -> heads.PatternAtlas:
    """The pattern atlas with its null."""
    if not folders.exists(out / "atlas"):

        def learn() -> None:
            heads.patterns(
                vit,
                pictures,
                options=heads.AutoencoderOptions(epochs=epochs),
                repeats=2,
                stability_maps=500,
                null=True,
                checkpoint=out / "unfinished",
                progress=vs.progress.bar(),
            ).save(out / "atlas")

        clock.run("patterns", learn)
    return heads.PatternAtlas.load(out / "atlas")


def prune(
    vit: vs.Vit, table: heads.HeadTable, pictures: list[Path], labels: list[int], out: Path, path: Path
) -> None:
    """A smaller model that keeps 70 % of the heads, zero and mean replacement, accuracy before and after."""
    x, y = vit.images(pictures), torch.tensor(labels)
    before = float((vit.predict(x).argmax(1) == y).float().mean())
    remove = heads.heads_to_remove(table, "js_divergence", 0.7)
    found: dict[str, Any] = {
        "removed": remove,
        "accuracy_before": before,
        "parameters_before": vit.anatomy.parameters,
    }
    for name, means in (("zero", None), ("mean", heads.mean_outputs(vit, x))):
        module = heads.prune_module(vit, remove, form="smaller", means=means)
        pruned = vs.open_model(module, preprocess=vit.preprocessor)
        found[f"accuracy_after_{name}"] = float((pruned.predict(x).argmax(1) == y).float().mean())
        found["parameters_after"] = sum(p.numel() for p in module.parameters())
    path.write_text(json.dumps(found, indent=1))


def quoted(
    clock: Clock,
    table: heads.HeadTable,
    mean: heads.HeadTable,
    strength: heads.StrengthProfile,
    agreement: heads.Agreement,
    cumulative: heads.CumulativePruning,
    pruned: Path,
) -> None:
    """The numbers that the docs page quotes."""
    names = agreement.names
    clock.note(
        "heads",
        {
            "order_js": table.order("js_divergence"),
            "order_probability": table.order("probability_drop_label"),
            "order_probability_mean_ablation": mean.order("probability_drop_label"),
            "importance": table.to_pandas()[
                [
                    "block",
                    "head",
                    "probability_drop_label",
                    "probability_drop_label_std",
                    "js_divergence",
                    "flip",
                    "accuracy_drop",
                ]
            ].to_dict("records"),
            "first_order_spearman": table.metadata["first_order_spearman"],
            "importance_cost": {k: table.metadata[k] for k in ("full_forwards", "seconds", "savings")},
            "trend_correlation": strength.trend_correlation("patch_distance"),
            "trend": strength.trend().to_dict("records"),
            "agreement": {a: {b: vars(agreement.correlation(a, b)) for b in names} for a in names},
            "disagreements": agreement.disagreements().head(6).to_dict("records"),
            "areas": cumulative.area("accuracy").to_dict("records"),
            "pruned": json.loads(pruned.read_text()),
        },
    )


def draw(
    folder: Path,
    table: heads.HeadTable,
    strength: heads.StrengthProfile,
    atlas: heads.PatternAtlas,
    agreement: heads.Agreement,
    cumulative: heads.CumulativePruning,
    out: Path,
) -> None:
    """Every plot of the docs page."""
    folder.mkdir(parents=True, exist_ok=True)
    top = table.order("js_divergence")[:3]
    figures: dict[str, Callable[[str], Any]] = {
        "importance": plots.importance_matrix(table, "js_divergence", "probability_drop_label"),
        "label-drop": plots.importance_matrix(table, "probability_drop_label"),
        "first-order": plots.metric_scatter(table, "first_order", "js_divergence"),
        "cumulative": plots.cumulative_curves(cumulative, "accuracy"),
        "strength": plots.strength_curves(strength, "strength", [*strength.nearest_and_furthest(), top[0]]),
        "trend": plots.distance_trend(strength),
        "offsets": plots.offset_grid(strength),
        "prototypes": plots.prototype_grid(atlas),
        "codes": plots.code_map(atlas),
        "mix": plots.pattern_mix(atlas),
        "agreement": plots.agreement_matrix(agreement),
        "importance-pattern": plots.importance_by_pattern(table, atlas, "js_divergence"),
    }
    partial = heads.PartialPruning.load(out / "partial.parquet").to_pandas()
    figures["partial"] = plots.partial_frame_curves(partial, "probability_drop_label")
    for name, figure in figures.items():
        save_figure(figure("light"), folder / f"{name}.png", dots_per_inch=130)


class Clock:
    """Wall time and peak memory of stages, kept in a file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.figures: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}

    def run(self, name: str, work: Callable[[], Any]) -> None:
        started, cpu = time.monotonic(), time.process_time()
        print(name, "...", flush=True)
        work()
        self.note(
            name,
            {
                "seconds": round(time.monotonic() - started, 1),
                "cpu_seconds": round(time.process_time() - cpu, 1),
                "peak_memory_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
                "threads": torch.get_num_threads(),
                "load_at_end": os.getloadavg()[0],
            },
        )

    def note(self, name: str, value: Any) -> None:
        # Another process may have written its own stages meanwhile.
        known = json.loads(self.path.read_text()) if self.path.exists() else {}
        self.figures = {**known, name: value}
        self.path.write_text(json.dumps(self.figures, indent=1, default=str))


if __name__ == "__main__":
    main()
