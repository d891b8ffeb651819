"""``vitscope evaluate``: can these maps be trusted? Methods against metrics, controls and planted evidence."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from vitscope.cli.commands.evaluate import output as output_of
from vitscope.cli.commands.evaluate.input import (
    STEPPED,
    Job,
    Request,
    Truth,
    metrics_of,
    needs_of,
    protocols,
    read_jobs,
)
from vitscope.cli.commands.evaluate.models import compare_job, open_models
from vitscope.cli.commands.evaluate.options import (
    EvaluatedModel,
    EvaluatedPictures,
    EvaluatedProtocol,
)
from vitscope.cli.commands.evaluate.run import UNFINISHED, evaluate_job
from vitscope.cli.exit_codes import OK, PARTIAL
from vitscope.cli.shared import console
from vitscope.cli.shared.further_models import further_models, several_models
from vitscope.cli.shared.judging_options import MetricOptions, ObjectOptions, read_aim
from vitscope.cli.shared.options import LabelOptions, MethodOptions, OutputOptions, RunOptions, SeedOptions
from vitscope.cli.shared.usage import Values, unused
from vitscope.cli.shared.values import parse_list, parse_texts
from vitscope.storage.parts import remove_parts

EXAMPLE = (
    "vitscope evaluate photos --model timm/deit_tiny_patch16_224 --weights deit.safetensors "
    "--methods dart,gmar,daam,rollout,gae --metrics srg,deletion-patch --out board. "
    "Without pictures of your own: vitscope evaluate --world shapes. "
    "Labels and boxes are found as labels.csv and boxes.csv beside the pictures. "
    "A run that was interrupted goes on when the same command is given again"
)
KNOWN = {"labels": {"labels", "mosaics"}, "boxes": {"boxes", "masks"}, "masks": {"boxes", "masks"}}
"""What each kind of truth is good for, in the words of the metrics' needs."""
WHERE_WORLD = "a world knows its own classes and evidence"


def _needless(kind: str) -> Callable[[Values], bool]:
    """Whether neither the metrics nor the target ask for a kind of truth."""
    return lambda given: not KNOWN[kind] & needs_of(given)


@several_models
@unused(
    but=("json", "list_metrics"),
    when=lambda given: given["list_metrics"],
    why="--list-metrics lists the metrics and stops",
)
@unused("labels", "boxes", "masks", when=lambda given: given["world"], why=WHERE_WORLD)
@unused("labels", when=_needless("labels"), why="no metric here and no --target label asks for classes")
@unused("boxes", when=_needless("boxes"), why="no metric here asks where the object is")
@unused("masks", when=_needless("masks"), why="no metric here asks where the object is")
@unused("mosaic", when=lambda given: "mosaics" not in needs_of(given), why="no metric here makes mosaics")
@unused(
    "steps",
    when=lambda given: not any(info.family in STEPPED for info in metrics_of(given)),
    why="no metric here takes patches away in steps",
)
@unused(
    "mean_colour",
    when=lambda given: not {"mean", "mask", "drop"} & {part.strip() for part in given["removal"].split(",")},
    why="this --removal has another colour",
)
def evaluate(
    pictures: EvaluatedPictures,
    labels: LabelOptions,
    objects: ObjectOptions,
    model: EvaluatedModel,
    methods: MethodOptions,
    judged: MetricOptions,
    protocol: EvaluatedProtocol,
    seed: SeedOptions,
    output: OutputOptions,
    run: RunOptions,
    world: Annotated[
        str | None,
        typer.Option("--world", help="Planted-evidence worlds instead of pictures: a comma list, or all."),
    ] = None,
    list_metrics: Annotated[bool, typer.Option("--list-metrics", help="List the metrics and stop.")] = False,
) -> None:
    """Score methods on pictures, with the controls, 95 % intervals, paired tests, wall time and memory beside them.

    With --model A --model B the models are compared on the same pictures; what opens a model follows its --model.

    Several removals, scores or seeds, in a comma list, are compared: does the winner survive?
    """
    if list_metrics:
        output_of.list_metrics(run.json)
        return
    if bool(pictures.pictures) == bool(world):
        raise typer.BadParameter(
            "give pictures or a folder with --model, or --world; vitscope evaluate --help"
        )
    rows = parse_list(methods.method, "--methods") if methods.method else None
    given = parse_texts(methods.option)
    settings = {**protocol.settings(in_world=bool(world)), "target": read_aim(methods.target)}
    request = Request(
        pictures=pictures,
        model=model,
        world=world,
        metrics=judged.metrics,
        truth=Truth(labels.labels, objects.boxes, objects.masks),
        protocols=protocols(protocol.removal, protocol.score, seed.seed, settings),
        mean_colour=protocol.mean_colour,
        target=methods.target,
    )
    others = further_models(EvaluatedModel)
    folder = console.output_folder(output.out)
    jobs, skipped = read_jobs(request)
    if others:
        (job,) = _one_job(jobs)
        vits = open_models(job.vit, [model, *others])
        document = compare_job(job, vits, rows, given, run.batch_size, folder, quiet=run.json)
        skipped += [(Path(key), reason) for key, reason in job.data.skipped.items()]
        if run.json:
            console.emit_json(
                {"out": str(folder), "comparisons": document, "skipped": [[str(p), r] for p, r in skipped]}
            )
        raise typer.Exit(PARTIAL if skipped else OK)
    documents = []
    for job in jobs:
        place = folder / job.name if len(jobs) > 1 else folder
        boards = evaluate_job(job, rows, given, run.batch_size, place, quiet=run.json)
        documents += [output_of.document(board, job.name, key) for key, board in boards.items()]
        for key, reason in job.data.skipped.items():
            skipped.append((Path(key), reason))
            console.note(f"skipped: {reason}")
    for (
        job
    ) in jobs:  # all is done and written: what was kept for the case of an interruption is needed no more
        for key in job.protocols:
            place = folder / job.name if len(jobs) > 1 else folder
            remove_parts(job.where(place, key) / UNFINISHED)
    if run.json:
        console.emit_json(
            {"out": str(folder), "boards": documents, "skipped": [[str(p), r] for p, r in skipped]}
        )
    raise typer.Exit(PARTIAL if skipped else OK)


def _one_job(jobs: list[Job]) -> list[Job]:
    if len(jobs) > 1:
        raise typer.BadParameter(
            "models are compared on pictures or in one --world, not in several; name one"
        )
    return jobs
