"""``vitscope heads agreement``: do the scores of heads agree?"""

from __future__ import annotations

from typing import Any

from vitscope.cli.commands.heads.input import open_input, resumable
from vitscope.cli.commands.heads.result import finish
from vitscope.cli.shared.head_options import ReplacementOptions
from vitscope.cli.shared.options import (
    LabelOptions,
    ModelOptions,
    OutputOptions,
    PictureOptions,
    RunOptions,
    SeedOptions,
)
from vitscope.cli.shared.progress import watching


def agreement(
    pictures: PictureOptions,
    labels: LabelOptions,
    model: ModelOptions,
    removed: ReplacementOptions,
    seed: SeedOptions,
    output: OutputOptions,
    run: RunOptions,
) -> None:
    """Do the scores of heads agree? Rank correlations of pruning, GMAR, DAAM, first-order scores and strength."""
    from vitscope import heads
    from vitscope.reports.heads.page import HeadsReport

    draw = seed.one()
    given = open_input(pictures, model, output.out, labels)
    with resumable(given) as unfinished:
        with watching() as progress:
            found = heads.agreement(
                given.vit,
                given.source,
                replacement=removed.instead(),
                seed=draw,
                batch_size=run.batch_size,
                checkpoint=unfinished,
                progress=progress,
            )
        disagreements = found.disagreements()
        story = HeadsReport(given.vit.source, found.pictures, agreement=found, commands=given.commands)
        files = story.save(output.out, "agreement")
    pairs = found.to_pandas()
    rows = [[_number(value) for value in row] for row in pairs.head(20).itertuples(index=False)]
    columns = [str(name).replace("_", " ") for name in pairs.columns]
    finish(given, run.json, files, columns, rows, pairs=pairs, disagreements=disagreements)


def _number(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
