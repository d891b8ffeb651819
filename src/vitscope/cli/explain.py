"""``vitscope explain``: maps of pictures by one or more methods, as data and as drawings."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vitscope.cli import console, options
from vitscope.cli.batches import PictureBatches, output_names
from vitscope.cli.drawing import Drawing, write_results
from vitscope.cli.reporting import report_metadata, report_methods, report_picture
from vitscope.cli.selection import choose_methods, share_options
from vitscope.cli.session import open_vit, resolve_target
from vitscope.cli.usage import unused
from vitscope.cli.values import parse_texts

if TYPE_CHECKING:
    from PIL import Image

    from vitscope.methods import Explanation
    from vitscope.models import Anatomy
    from vitscope.rendering import ReportPicture
    from vitscope.tracing import Vit

EXAMPLE = (
    "vitscope explain photo.jpg --model timm/deit_tiny_patch16_224 --weights deit.safetensors "
    "--method gmar,daam,rollout --target top1 --out maps"
)

MOST_CARDS = 100
"""Pictures on one report: a page with more is too large for a browser; the files hold them all."""


@unused(
    "style",
    "scaling",
    "upsampling",
    "size",
    when=lambda given: not given["draw"],
    why="with --no-draw nothing is drawn",
)
def explain(
    pictures: options.Pictures,
    model: options.Model,
    method: Annotated[
        str | None,
        typer.Option(
            "--method", "--methods", help="Comma list of methods, or all; vitscope methods lists them."
        ),
    ] = None,
    target: options.Target = "top1",
    out: options.Out = Path("vitscope-out"),
    weights: options.Weights = None,
    option: options.MethodOptions = None,
    style: options.Style = "alpha",
    scaling: options.Scaling = None,
    upsampling: options.Upsampling = "nearest",
    size: options.Size = 1,
    draw: Annotated[bool, typer.Option("--draw/--no-draw", help="Write PNGs beside the raw maps.")] = True,
    clean: Annotated[
        bool, typer.Option("--clean", help="Give high-norm outlier patches the median of their neighbours.")
    ] = False,
    report: Annotated[
        bool, typer.Option("--report", help="Also write report.html, one page with up to 100 pictures.")
    ] = False,
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
    """Explain pictures: raw maps, overlays, and a sheet that shows the methods side by side."""
    from vitscope.models import find_pictures

    drawing = Drawing(style, scaling, upsampling, size) if draw else None
    given = parse_texts(option)
    paths = find_pictures(pictures)
    folder = console.output_folder(out)
    vit = open_vit(model, weights, image_size, device, precision, random_weights, class_names, model_option)
    methods = choose_methods(method or default_method(vit.anatomy), vit.anatomy)
    shared = share_options(methods, given)
    aim = resolve_target(target, vit.class_names)
    names = output_names(paths)
    batches = PictureBatches(paths, batch_size, "explaining", max_pixels)
    records: list[dict[str, Any]] = []
    cards: list[ReportPicture] = []
    explained = batches.answered(lambda some: explain_batch(vit, some, shared, aim, batch_size, clean))
    for read, opened, results in explained:
        for index, (path, picture) in enumerate(zip(read, opened, strict=True)):
            single = {name: result[index] for name, result in results.items()}
            record = {
                "picture": str(path),
                **write_results(vit, single, picture, folder / names[path], drawing),
            }
            records.append(record)
            if report and len(cards) < MOST_CARDS:
                cards.append(report_picture(vit, single, picture, str(names[path])))
            if not json:
                console.say(_line(path, record))
    page = write_report(vit, cards, methods, folder) if report else None
    if json:
        document: dict[str, Any] = {"model": vit.source, "weights": vit.fingerprint, "target": target}
        document |= {"options": shared, "report": page}
        console.emit_json({**document, "pictures": records, "skipped": batches.skipped_records()})
    else:
        _summary(page or folder, records, batches)
    raise typer.Exit(batches.exit_code)


def default_method(anatomy: Anatomy) -> str:
    """What is used when no method is named: DART where it applies, else DAAM (which has a form for CNNs, too)."""
    from vitscope.methods import get_method

    return "dart" if get_method("dart").why_not(anatomy) is None else "daam"


def explain_batch(
    vit: Vit,
    pictures: list[Image.Image],
    shared: dict[str, dict[str, Any]],
    target: Any,
    batch_size: int,
    clean: bool = False,
) -> dict[str, Explanation]:
    """Every method on one batch, from as few forward and backward passes as they need."""
    import vitscope as vs

    return vs.explain(
        vit, pictures, method=shared, target=target, batch_size=batch_size, keep_pictures=False, clean=clean
    )


def write_report(vit: Vit, cards: list[ReportPicture], methods: list[str], folder: Path) -> Path:
    """One self-contained page with every picture, its maps, flows and head weights."""
    from vitscope.rendering import Report

    command = shlex.join(["vitscope", *sys.argv[1:]])
    page = Report(
        title=f"{len(cards)} picture{'s' if len(cards) != 1 else ''} explained",
        subtitle=f"by {', '.join(methods)}",
        pictures=cards,
        methods=report_methods(methods),
        commands=[(command, "")],
        metadata=report_metadata(vit),
    )
    return page.write(folder / "report.html")


def _line(path: Path, record: dict[str, Any]) -> str:
    predicted = record.get("predictions")
    best = f", predicted {predicted[0]['name'] or predicted[0]['class']}" if predicted else ""
    sure = f" ({predicted[0]['probability']:.0%})" if predicted else ""
    return f"{path.name}: {record['target']}, score {record['score']:.3f}{best}{sure}"


def _summary(where: Path, records: list[dict[str, Any]], batches: PictureBatches) -> None:
    skipped = f", {len(batches.skipped)} skipped" if batches.skipped else ""
    console.say(f"{len(records)} explained{skipped}; results in {where}")
