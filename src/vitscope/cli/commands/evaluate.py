"""``vitscope evaluate``: can these maps be trusted? Methods against metrics, controls and planted evidence."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from vitscope.cli.exit_codes import OK, PARTIAL
from vitscope.cli.shared import console, evaluate_output, options
from vitscope.cli.shared.evaluate_input import (
    STEPPED,
    Job,
    Truth,
    metrics_of,
    needs_of,
    parse_colour,
    protocols,
    read_jobs,
)
from vitscope.cli.shared.evaluate_run import evaluate_job
from vitscope.cli.shared.usage import Values, unused
from vitscope.cli.shared.values import parse_list, parse_texts, whole_number

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
BESIDE_LIST = (
    "pictures", "model", "methods", "metrics", "out", "world", "labels", "boxes", "masks", "removal", "score", "target",
    "steps", "seed", "random_draws", "mosaic", "mean_colour", "limit", "option", "weights", "random_weights",
    "class_names", "model_option", "image_size", "batch_size", "device", "precision", "max_pixels",
)  # fmt: skip


def _needless(kind: str) -> Callable[[Values], bool]:
    """Whether neither the metrics nor the target ask for a kind of truth."""
    return lambda given: not KNOWN[kind] & needs_of(given)


@unused(
    *BESIDE_LIST, when=lambda given: given["list_metrics"], why="--list-metrics lists the metrics and stops"
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
    pictures: options.SomePictures = None,
    model: options.SomeModel = None,
    methods: Annotated[
        str | None,
        typer.Option(
            "--methods", "--method", help="Comma list of methods, or all. With options: gmar:norm=l1;alpha=2."
        ),
    ] = None,
    metrics: Annotated[
        str | None,
        typer.Option("--metrics", "--metric", help="Comma list of metrics; --list-metrics lists them."),
    ] = None,
    out: options.Out = Path("vitscope-evaluation"),
    world: Annotated[
        str | None,
        typer.Option("--world", help="Planted-evidence worlds instead of pictures: a comma list, or all."),
    ] = None,
    labels: options.Labels = None,
    boxes: Annotated[
        Path | None,
        typer.Option("--boxes", help="CSV, COCO JSON or folder of VOC XML files; else boxes.csv."),
    ] = None,
    masks: Annotated[
        Path | None,
        typer.Option("--masks", help="Folder of masks, named like the pictures; not 0 is the object."),
    ] = None,
    removal: Annotated[str, typer.Option(help="mask, drop, mean, blur, zero, black; or several.")] = "mask",
    score: Annotated[str, typer.Option(help="logit, probability, log_probability; or several.")] = "logit",
    target: Annotated[str, typer.Option("--target", "-t", help="top1, label or a class number.")] = "top1",
    steps: Annotated[
        int | None,
        typer.Option(min=1, help="Steps of a removal curve: 20, in a world 12.", show_default=False),
    ] = None,
    seed: Annotated[str, typer.Option(help="Seed of every random draw; or several.")] = "0",
    random_draws: Annotated[int, typer.Option(min=1, help="Seeds of the random control.")] = 10,
    mosaic: Annotated[
        int | None, typer.Option(min=2, max=16, help="Cells along a side of grid pointing's mosaics: 2.")
    ] = None,
    mean_colour: Annotated[
        str | None, typer.Option(help="RGB for --removal mean, 0.5,0.4,0.3, or data; else ImageNet's.")
    ] = None,
    limit: options.Limit = None,
    option: options.MethodOptions = None,
    list_metrics: Annotated[bool, typer.Option("--list-metrics", help="List the metrics and stop.")] = False,
    weights: options.Weights = None,
    random_weights: options.RandomWeights = False,
    class_names: options.ClassNames = None,
    model_option: options.ModelOptions = None,
    image_size: options.ImageSize = None,
    batch_size: options.BatchSize = options.BATCH_SIZE,
    device: options.Device = "auto",
    precision: options.Precision = "float32",
    max_pixels: options.MaxPixels = None,
    json: options.Json = False,
) -> None:
    """Score methods on pictures, with the controls, 95 % intervals, paired tests, wall time and memory beside them.

    Several removals, scores or seeds, in a comma list, are compared: does the winner survive?
    """
    if list_metrics:
        evaluate_output.list_metrics(json)
        return
    if bool(pictures) == bool(world):
        raise typer.BadParameter(
            "give pictures or a folder with --model, or --world; vitscope evaluate --help"
        )
    aim: str | int = (
        target if target in ("top1", "label") else whole_number(target, "--target, if not top1 or label,")
    )
    settings = {
        "target": aim,
        "steps": steps or (12 if world else 20),
        "random_draws": random_draws,
        "mosaic": mosaic or 2,
        "mean_colour": parse_colour(mean_colour),
    }
    variants = protocols(removal, score, seed, settings)
    given = parse_texts(option)
    folder = console.output_folder(out)

    def opened(name: str) -> Any:
        from vitscope.cli.shared.session import open_vit

        return open_vit(
            name, weights, image_size, device, precision, random_weights, class_names, model_option
        )

    jobs, skipped = read_jobs(
        opened, model, pictures, world, limit, metrics, Truth(labels, boxes, masks), variants, mean_colour, max_pixels
    )  # fmt: skip
    rows = parse_list(methods, "--methods") if methods else None
    documents = []
    for job in jobs:
        place = folder / job.name if len(jobs) > 1 else folder
        boards = evaluate_job(job, rows, given, batch_size, place, quiet=json)
        documents += [evaluate_output.document(board, job.name, key) for key, board in boards.items()]
        for key, reason in job.data.skipped.items():
            skipped.append((Path(key), reason))
            console.note(f"skipped: {reason}")
    for job in jobs:
        _forget(folder / job.name if len(jobs) > 1 else folder, job)
    if json:
        console.emit_json(
            {"out": str(folder), "boards": documents, "skipped": [[str(p), r] for p, r in skipped]}
        )
    raise typer.Exit(PARTIAL if skipped else OK)


def _forget(place: Path, job: Job) -> None:
    """Remove what was kept for the case of an interruption: all is done and written."""
    import shutil

    for key in job.protocols:
        shutil.rmtree(job.where(place, key) / "unfinished", ignore_errors=True)
