"""``vitscope heads patterns``: the patterns of attention maps, learned from pictures or placed in an atlas."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar

import typer

from vitscope.cli.commands.heads.input import HeadsInput, open_input, resumable
from vitscope.cli.commands.heads.result import finish
from vitscope.cli.shared import console
from vitscope.cli.shared.head_options import LearnedOptions, TrainingOptions
from vitscope.cli.shared.options import (
    ModelOptions,
    OutputOptions,
    PictureOptions,
    RunOptions,
    SeedOptions,
)
from vitscope.cli.shared.progress import watching
from vitscope.cli.shared.usage import unused


@dataclass(frozen=True, kw_only=True)
class PatternOptions(LearnedOptions):
    """How patterns are learned, or which are known already."""

    title: ClassVar[str] = "Patterns"
    atlas: Annotated[
        Path | None,
        typer.Option("--atlas", help="Place the pictures in this atlas instead of making a new one."),
    ] = None
    null: Annotated[bool, typer.Option("--null", help="Also place maps of shuffled weights.")] = False

    def choices(self, training: TrainingOptions, seed: int) -> dict[str, Any]:
        """The same as arguments of ``heads.patterns``."""
        return {
            "form": self.form,
            "coder": self.coder,
            "k": self.clusters,
            "repeats": self.repeats,
            "null": self.null,
            "options": self.coding(training, seed),
        }


@unused(
    "form",
    "coder",
    "clusters",
    "epochs",
    "latent",
    "repeats",
    "null",
    when=lambda given: given["atlas"],
    why="--atlas has its patterns already",
)
@unused("epochs", when=lambda given: given["coder"] == "pca", why="--coder pca is not trained")
def patterns(
    pictures: PictureOptions,
    model: ModelOptions,
    learned: PatternOptions,
    training: TrainingOptions,
    seed: SeedOptions,
    output: OutputOptions,
    run: RunOptions,
) -> None:
    """Learn the patterns of attention maps: autoencoder beside PCA, clusters with names, the mix of every head."""
    from vitscope import heads
    from vitscope.reports.heads.page import HeadsReport

    draw = seed.one()
    known = None if learned.atlas is None else heads.PatternAtlas.load(learned.atlas)
    given = open_input(pictures, model, output.out, least=1 if known else 2)
    refuse_too_many(learned, given)
    placed = None
    with resumable(given) as unfinished:
        with watching() as progress:
            shared: dict[str, Any] = {
                "per_head": learned.per_head, "batch_size": run.batch_size, "seed": draw, "checkpoint": unfinished,
                "progress": progress,
            }  # fmt: skip
            if known is not None:
                made = known
                placed = known.map_pictures(given.vit, given.source, **shared)
            else:
                made = heads.patterns(
                    given.vit,
                    given.source,
                    **shared,
                    **learned.choices(training, draw),
                )
        mixes = made.heads if placed is None else placed.heads
        story = HeadsReport(
            given.vit.source, len(given.source), atlas=made, placed=placed, commands=given.commands
        )
        files = story.save(output.out, "patterns")
    if not run.json:
        console.say(made.verdict)
    rows = [[f"{int(row['block'])}.{int(row['head'])}", row["pattern"]] for row in mixes.to_dict("records")]
    finish(
        given, run.json, files, ["head", "pattern"], rows, heads=mixes, verdict=made.verdict, names=made.names
    )


def refuse_too_many(learned: PatternOptions, given: HeadsInput) -> None:
    """Raise HeadsError for more patterns than there can be maps, before the first one is computed."""
    from vitscope.heads import HeadsError

    total = sum(block.heads for block in given.vit.anatomy.blocks)
    most = total * min(learned.per_head, len(given.source))
    if learned.clusters is not None and learned.clusters > most:
        raise HeadsError(
            f"expected at most {most:,} clusters, as many as {total} heads have maps of these pictures, got "
            f"{learned.clusters:,}; change -k"
        )
