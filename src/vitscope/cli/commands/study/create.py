"""``vitscope study create``: list pictures, measure what analyses of them will cost, and make the study."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import typer

from vitscope.cli.commands.study.choices import AnalysisOptions, lacks
from vitscope.cli.commands.study.cost import asking
from vitscope.cli.shared import console
from vitscope.cli.shared.judging_options import ObjectOptions
from vitscope.cli.shared.options import (
    BatchOptions,
    JsonOptions,
    LabelOptions,
    ModelOptions,
    PixelOptions,
    SeedOptions,
)
from vitscope.cli.shared.parameters import SameAs
from vitscope.cli.shared.paths import require_there
from vitscope.cli.shared.session import opening
from vitscope.cli.shared.study_options import AgreeOptions, StudyOptions
from vitscope.cli.shared.usage import unused


@dataclass(frozen=True, kw_only=True)
class ListedPictures(LabelOptions, ObjectOptions, PixelOptions):
    """Which pictures, and what is known about them."""

    title: ClassVar[str] = "Pictures"
    images: Annotated[
        list[str],
        typer.Option(
            "--images",
            "-i",
            help="A folder, a pattern in quotes, files, a .csv or .parquet list, tars, or a .parquet table of "
            "pictures; here or at a URL. May be given several times.",
            show_default=False,
        ),
    ]
    root: Annotated[
        str | None,
        typer.Option(
            "--root", help="Folder or URL that the pictures' keys are relative to; else the one named."
        ),
    ] = None


@dataclass(frozen=True, kw_only=True)
class SizeOptions(SeedOptions, BatchOptions):
    """How the study is cut and kept."""

    title: ClassVar[str] = "Study"
    shard_size: Annotated[
        int | None,
        SameAs("vitscope.studies", "Sizes", "shard_size"),
        typer.Option("--shard-size", help="Pictures of a shard; without it about two minutes of work."),
    ] = None
    threads: Annotated[
        int | None,
        SameAs("vitscope.studies", "Sizes", "threads"),
        typer.Option("--threads", help="Threads of the CPU; frozen, for equal bits everywhere."),
    ] = None
    arrays_precision: Annotated[
        str,
        SameAs("vitscope.studies", "Sizes", "array_precision"),
        typer.Option(
            "--arrays-precision", help="standard (float16 for the large arrays) or float32 for all."
        ),
    ] = "standard"

    def sizes(self, max_pixels: int | None) -> Any:
        """The same as the library's record."""
        from vitscope.studies import Sizes

        return Sizes(
            self.shard_size,
            self.batch_size,
            self.threads,
            self.one(),
            max_pixels,
            self.arrays_precision,  # type: ignore[arg-type]  # the record checks its words
        )


@unused(
    "method",
    "option",
    "target",
    when=lacks("explain", "evaluate"),
    why="--analyses has neither explain nor evaluate",
)
@unused("option", when=lambda given: given["method"] is None, why="no --methods names whom it is for")
@unused("clean", when=lacks("explain"), why="--analyses has no explain")
@unused(
    "metrics",
    "removal",
    "score",
    "steps",
    "random_draws",
    "mean_colour",
    "boxes",
    "masks",
    when=lacks("evaluate"),
    why="--analyses has no evaluate",
)
@unused("replacement", "exact", when=lacks("importance"), why="--analyses has no importance")
@unused(
    "replacement",
    when=lambda given: not given["exact"],
    why="--first-order puts nothing in the place of a head",
)
@unused("distance", when=lacks("strength"), why="--analyses has no strength")
@unused(
    "form",
    "coder",
    "clusters",
    "per_head",
    "latent",
    "repeats",
    "epochs",
    when=lacks("patterns"),
    why="--analyses has no patterns",
)
@unused("epochs", when=lambda given: given["coder"] == "pca", why="--coder pca is not trained")
def create(
    place: StudyOptions,
    pictures: ListedPictures,
    model: ModelOptions,
    analyses: AnalysisOptions,
    sizes: SizeOptions,
    agreed: AgreeOptions,
    told: JsonOptions,
) -> None:  # fmt: skip
    """List pictures, measure what their analyses will cost, ask before anything large, and make the study.

    Nothing is computed yet but a short calibration: vitscope study run does the work.
    """
    import vitscope as vs

    if model.random_weights:
        raise typer.BadParameter(
            "--random-weights is not for studies: each run opens the model again, and they would be others then"
        )
    chosen = analyses.choices(sizes.one())
    arguments = opening(model)
    require_there(pictures.labels, pictures.boxes, pictures.masks)
    tell = console.note if told.json else console.say
    study = vs.Study.create(
        place.study,
        model=model.model,
        images=pictures.images if len(pictures.images) > 1 else pictures.images[0],
        analyses=chosen,
        arrays=analyses.kept(),
        labels=pictures.labels,
        boxes=pictures.boxes,
        masks=pictures.masks,
        root=pictures.root,
        sizes=sizes.sizes(pictures.max_pixels),
        approve=asking(agreed.yes, tell),
        alone=place.alone,
        **arguments,
    )
    manifest = study.manifest
    for left, reason in manifest.input.left_out.items():
        console.note(f"left out: {left}: {reason}")
    if told.json:
        console.emit_json(
            {
                "study": place.study,
                "id": manifest.study,
                "shard_size": manifest.shard_size,
                "estimate": manifest.estimate,
                "stages": [stage.name for stage in manifest.stages],
                "arrays": {path: dict(each) for path, each in manifest.arrays.items()},
                "tables": manifest.tables,
                "known": manifest.input.known,
                "left_out": dict(manifest.input.left_out),
            }
        )
    else:
        known = ", ".join(manifest.input.known) or "neither labels nor boxes nor masks"
        console.say(f"known      {known}")
        console.say(f"made {place.study}; compute it with: vitscope study run {place.study}")
