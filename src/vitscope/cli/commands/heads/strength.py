"""``vitscope heads strength``: how far every head looks."""

from __future__ import annotations

from vitscope.cli.commands.heads.input import open_input, resumable
from vitscope.cli.commands.heads.result import finish
from vitscope.cli.shared.head_options import DistanceOptions
from vitscope.cli.shared.options import ModelOptions, OutputOptions, PictureOptions, RunOptions
from vitscope.cli.shared.progress import watching


def strength(
    pictures: PictureOptions,
    model: ModelOptions,
    output: OutputOptions,
    run: RunOptions,
    counted: DistanceOptions,
) -> None:
    """How far every head looks: mass and strength by distance, entropy, offsets, class-token mass."""
    from vitscope import heads
    from vitscope.reports.heads.page import HeadsReport

    hops = counted.hops()
    given = open_input(pictures, model, output.out)
    with resumable(given) as unfinished:
        with watching() as progress:
            found = heads.strength(
                given.vit, given.source, distance=hops, batch_size=run.batch_size, checkpoint=unfinished,
                progress=progress,
            )  # fmt: skip
        story = HeadsReport(given.vit.source, found.count, strength=found, commands=given.commands)
        files = story.save(output.out, "strength")
    summary = found.summary()
    rows = [
        [f"{row['block']}.{row['head']}", f"{row['expected_distance']:.3g}", f"{row['entropy']:.3g}"]
        for row in summary.to_dict("records")
    ]
    finish(given, run.json, files, ["head", "expected hops", "entropy"], rows, heads=summary)
