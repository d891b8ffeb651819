"""``vitscope evaluate``: can these maps be trusted? Methods against metrics, controls and planted evidence."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from vitscope.cli import console, evaluate_output, options
from vitscope.cli.application import OK, PARTIAL
from vitscope.cli.evaluate_input import Job, parse_colour, protocols, read_jobs
from vitscope.cli.evaluate_run import evaluate_job

EPILOG = (
    "Example: vitscope evaluate photos --model timm/deit_tiny_patch16_224 --weights deit.safetensors "
    "--methods dart,gmar,daam,rollout,gae --metrics srg,deletion-patch --out board. "
    "Without pictures of your own: vitscope evaluate --world shapes. "
    "Labels and boxes are found as labels.csv and boxes.csv beside the pictures. "
    "A run that was interrupted goes on when the same command is given again. "
    "Exit code 3: some of many pictures could not be read and were skipped."
)


def evaluate(
    pictures: Annotated[list[str] | None, typer.Argument(help="Pictures, folders and globs.")] = None,
    model: Annotated[
        str | None,
        typer.Option("--model", "-m", help="Which model, as in vitscope explain.", show_default=False),
    ] = None,
    methods: Annotated[
        str,
        typer.Option(
            "--methods", "--method", help="Comma list of methods, or all. With options: gmar:norm=l1;alpha=2."
        ),
    ] = "dart,gmar,daam,rollout,gae",
    metrics: Annotated[
        str | None,
        typer.Option("--metrics", "--metric", help="Comma list of metrics; --list-metrics lists them."),
    ] = None,
    out: Annotated[Path, typer.Option("--out", "-O", help="Folder for tables and page.")] = Path(
        "vitscope-evaluation"
    ),
    world: Annotated[
        str | None,
        typer.Option("--world", help="Planted-evidence worlds instead of pictures: a comma list, or all."),
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option("--labels", help="CSV with file and class_index; else labels.csv, or class folders."),
    ] = None,
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
        int | None, typer.Option(min=1, help="Steps of a removal curve: 20, in a world 12.", show_default=False)
    ] = None,
    seed: Annotated[str, typer.Option(help="Seed of every random draw; or several.")] = "0",
    random_draws: Annotated[int, typer.Option(min=1, help="Seeds of the random control.")] = 10,
    mosaic: Annotated[int, typer.Option(min=2, help="Cells along a side of grid pointing's mosaics.")] = 2,
    mean_colour: Annotated[
        str | None, typer.Option(help="RGB for --removal mean, 0.5,0.4,0.3, or data; else ImageNet's.")
    ] = None,
    limit: Annotated[
        int | None, typer.Option("--limit", "-n", min=1, help="Most pictures to evaluate on.")
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option(
            "--option", "-o", help="option=value for every method that has it, or method.option=value."
        ),
    ] = None,
    list_metrics: Annotated[bool, typer.Option("--list-metrics", help="List the metrics and stop.")] = False,
    weights: options.Weights = None,
    random_weights: options.RandomWeights = False,
    class_names: options.ClassNames = None,
    image_size: options.ImageSize = None,
    batch_size: options.BatchSize = 16,
    device: options.Device = "auto",
    precision: options.Precision = "float32",
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
    aim: str | int = int(target) if target.isdigit() else target
    settings = {
        "target": aim,
        "steps": steps or (12 if world else 20),
        "random_draws": random_draws,
        "mosaic": mosaic,
        "mean_colour": parse_colour(mean_colour),
    }
    variants = protocols(removal, score, seed, settings)
    given = options.parse_texts(option)
    folder = console.output_folder(out)

    def opened(name: str) -> Any:
        from vitscope.cli.session import open_vit

        return open_vit(name, weights, image_size, device, precision, random_weights, class_names)

    jobs, skipped = read_jobs(
        opened, model, pictures, world, limit, metrics, labels, boxes, masks, variants, mean_colour == "data"
    )
    rows = options.parse_list(methods)
    documents = []
    for job in jobs:
        place = folder / job.name if len(jobs) > 1 else folder
        boards = evaluate_job(job, rows, given, batch_size, place, quiet=json)
        documents += [evaluate_output.document(board, job.name, key) for key, board in boards.items()]
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
