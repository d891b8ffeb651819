"""``vitscope heads report``: all analyses of heads on one page."""

from __future__ import annotations

from typing import Any

from vitscope.cli.commands.heads.input import open_input, resumable
from vitscope.cli.commands.heads.orders import STEPS, orders
from vitscope.cli.commands.heads.result import finish
from vitscope.cli.shared.head_options import ReplacementOptions, TrainingOptions
from vitscope.cli.shared.options import (
    LabelOptions,
    ModelOptions,
    OutputOptions,
    PictureOptions,
    RunOptions,
    SeedOptions,
)
from vitscope.cli.shared.progress import watching


def report(
    pictures: PictureOptions,
    labels: LabelOptions,
    model: ModelOptions,
    removed: ReplacementOptions,
    training: TrainingOptions,
    seed: SeedOptions,
    output: OutputOptions,
    run: RunOptions,
) -> None:
    """All analyses on one page: which heads matter, how far they look, what pattern they have, and why."""
    from vitscope import heads
    from vitscope.reports.heads.page import HeadsReport, main_metric

    draw = seed.one()
    given = open_input(pictures, model, output.out, labels, least=2)
    vit, source = given.vit, given.source
    with resumable(given) as unfinished:
        with watching() as progress:
            shared: dict[str, Any] = {
                "batch_size": run.batch_size,
                "checkpoint": unfinished,
                "progress": progress,
            }
            table = heads.importance(vit, source, replacement=removed.instead(), **shared)
            table.save(output.out / "heads-per-picture.parquet")  # the long part is kept whatever comes after
            profile = heads.strength(vit, source, **shared)
            found = heads.agreement(vit, source, table=table, seed=draw, **shared)
            metric = main_metric(table)
            many = heads.cumulative_pruning(
                vit, source, orders(table, metric), replacement=removed.instead(), steps=STEPS, **shared
            )
            atlas = heads.patterns(
            vit, source, options=heads.AutoencoderOptions(epochs=training.epochs, seed=draw), seed=draw,
            **shared,
        )  # fmt: skip
        story = HeadsReport(
        vit.source, len(table.pictures), table, profile, atlas, agreement=found, cumulative=many,
        commands=given.commands,
      )  # fmt: skip
        files = story.save(output.out)
    rows = [[f"{b}.{h}", f"{table.mean(metric)[b, h]:.4g}"] for b, h in table.order(metric)[:5]]
    finish(given, run.json, files, ["head", metric.replace("_", " ")], rows, heads=table.to_pandas())
