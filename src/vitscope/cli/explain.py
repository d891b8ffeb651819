"""``vitscope explain``: maps of pictures by one or more methods, as data and as drawings."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer

from vitscope.cli import console, options
from vitscope.cli.batches import PictureBatches, output_names
from vitscope.cli.selection import choose_methods, share_options
from vitscope.cli.session import class_label, class_name, open_vit, resolve_target, top_predictions

if TYPE_CHECKING:
    from PIL import Image

    from vitscope.methods import Explanation
    from vitscope.tracing import Vit

EPILOG = (
    "Example: vitscope explain photo.jpg --model timm/deit_tiny_patch16_224 --weights deit.safetensors "
    "--method gmar,daam,rollout --target top1 --out maps. "
    "Exit code 3: some of many pictures could not be read and were skipped."
)


def explain(
    pictures: Annotated[list[str], typer.Argument(help="Pictures, folders (searched below, too) and globs.")],
    model: options.Model,
    method: Annotated[
        str | None,
        typer.Option(
            "--method", "--methods", help="Comma list of methods, or all; vitscope methods lists them."
        ),
    ] = None,
    target: options.Target = "top1",
    out: Annotated[Path, typer.Option("--out", "-O", help="Folder for the results.")] = Path("vitscope-out"),
    weights: options.Weights = None,
    option: Annotated[
        list[str] | None,
        typer.Option(
            "--option", "-o", help="option=value for every method that has it, or method.option=value."
        ),
    ] = None,
    style: Annotated[
        str, typer.Option(help="alpha, spotlight, contour, side-by-side or map (the map alone).")
    ] = "alpha",
    scaling: Annotated[
        str | None, typer.Option(help="Display scaling: minmax, percentile, sqrt, rank or signed.")
    ] = None,
    upsampling: Annotated[
        str, typer.Option(help="nearest (the model's own grid), bilinear or bicubic.")
    ] = "nearest",
    size: Annotated[int, typer.Option(help="Size of the drawings: 1, 2 or 4.")] = 1,
    draw: Annotated[bool, typer.Option("--draw/--no-draw", help="Write PNGs beside the raw maps.")] = True,
    random_weights: options.RandomWeights = False,
    class_names: options.ClassNames = None,
    image_size: options.ImageSize = None,
    batch_size: options.BatchSize = 16,
    device: options.Device = "auto",
    precision: options.Precision = "float32",
    max_pixels: options.MaxPixels = None,
    json: options.Json = False,
) -> None:
    """Explain pictures: raw maps, overlays, and a sheet that shows the methods side by side."""
    from vitscope.models import find_pictures

    drawing = Drawing(style, scaling, upsampling, size) if draw else None
    given = options.parse_assignments(option)
    paths = find_pictures(pictures)
    folder = console.output_folder(out)
    vit = open_vit(model, weights, image_size, device, precision, random_weights, class_names)
    methods = choose_methods(method or default_method(), vit.anatomy)
    shared = share_options(methods, given)
    aim = resolve_target(target, vit.class_names)
    names = output_names(paths)
    batches = PictureBatches(paths, batch_size, "explaining", max_pixels)
    records: list[dict[str, Any]] = []
    for read, opened in batches:
        results = explain_batch(vit, opened, shared, aim, batch_size)
        for index, (path, picture) in enumerate(zip(read, opened, strict=True)):
            single = {name: result[index] for name, result in results.items()}
            record = {
                "picture": str(path),
                **write_results(vit, single, picture, folder / names[path], drawing),
            }
            records.append(record)
            if not json:
                console.out().print(_line(vit, path, record), markup=False)
    if json:
        document = {"model": vit.source, "weights": vit.fingerprint, "target": target, "options": shared}
        console.emit_json({**document, "pictures": records, "skipped": batches.skipped_records()})
    else:
        _summary(folder, records, batches)
    raise typer.Exit(batches.exit_code)


class Drawing:
    """How maps are drawn; checked at once, so that a wrong name is found before any work."""

    def __init__(self, style: str, scaling: str | None, upsampling: str, size: int) -> None:
        from vitscope.rendering.overlay import check_size
        from vitscope.rendering.panel import check_style
        from vitscope.rendering.resample import check_upsampling
        from vitscope.rendering.scaling import scale

        self.style, self.upsampling, self.size = (
            check_style(style),
            check_upsampling(upsampling),
            check_size(size),
        )
        if scaling is not None:
            scale(np.zeros((1, 1)), scaling)
        self.scaling = scaling

    def scaling_of(self, method: str) -> str:
        """The chosen scaling, or the one that suits the method: zero in the middle for signed maps."""
        from vitscope.methods import get_method

        return self.scaling or ("signed" if get_method(method).signed else "minmax")


def default_method() -> str:
    """What is used when no method is named: DART where it is there, else DAAM."""
    from vitscope.methods import methods

    names = [info.name for info in methods()]
    return "dart" if "dart" in names else "daam"


def explain_batch(
    vit: Vit, pictures: list[Image.Image], shared: dict[str, dict[str, Any]], target: Any, batch_size: int
) -> dict[str, Explanation]:
    """Every method on one batch, from as few forward and backward passes as they need."""
    import vitscope as vs

    return vs.explain(vit, pictures, method=shared, target=target, batch_size=batch_size, keep_pictures=False)


def write_results(
    vit: Vit, single: dict[str, Explanation], picture: Image.Image, stem: Path, drawing: Drawing | None
) -> dict[str, Any]:
    """Write one picture's maps, overlays and sheet; returns their record for ``--json``."""
    from vitscope.rendering import method_sheet, overlay, save_png

    first = next(iter(single.values()))
    chosen = None if first.classes is None else int(first.classes[0])
    shown = vit.preprocessor.display(picture) if vit.preprocessor is not None else picture
    label = class_label(vit, chosen)
    record: dict[str, Any] = {
        "class": chosen,
        "class_name": class_name(vit, chosen),
        "score": float(first.scores[0]),
    }
    if first.logits is not None:
        record["predictions"] = top_predictions(vit, first.logits[0])
    record["maps"] = {}
    for name, explanation in single.items():
        values = np.asarray(explanation.maps[0], dtype=np.float32)
        data = explanation.save(stem.with_name(f"{stem.name}.{name}.safetensors"))
        entry: dict[str, Any] = {
            "data": str(data),
            "grid": list(values.shape),
            "low": float(values.min()),
            "high": float(values.max()),
            "finite": bool(np.isfinite(values).all()),
        }
        if drawing is not None:
            drawn = overlay(
                values,
                shown,
                style=drawing.style,
                scaling=drawing.scaling_of(name),
                upsampling=drawing.upsampling,
                size=drawing.size,
                title=f"{name}: {label}",
            )
            made = {
                "model": vit.source,
                "weights": vit.fingerprint,
                "method": name,
                "options": explanation.options,
            }
            entry["overlay"] = str(save_png(drawn, stem.with_name(f"{stem.name}.{name}.png"), made))
        record["maps"][name] = entry
    if drawing is not None and len(single) > 1:
        sheet = method_sheet(
            {name: np.asarray(e.maps, dtype=np.float32) for name, e in single.items()},
            [shown],
            [label],
            style=drawing.style,
            scaling={name: drawing.scaling_of(name) for name in single},
            upsampling=drawing.upsampling,
            size=drawing.size,
            title=f"{stem.name}: {label}",
            caption=f"{vit.source}, weights {vit.fingerprint}",
        )
        record["sheet"] = str(save_png(sheet, stem.with_name(f"{stem.name}.sheet.png")))
    return record


def _line(vit: Vit, path: Path, record: dict[str, Any]) -> str:
    predicted = record.get("predictions")
    best = f", predicted {predicted[0]['name'] or predicted[0]['class']}" if predicted else ""
    sure = f" ({predicted[0]['probability']:.0%})" if predicted else ""
    return f"{path.name}: {class_label(vit, record['class'])}, score {record['score']:.3f}{best}{sure}"


def _summary(folder: Path, records: list[dict[str, Any]], batches: PictureBatches) -> None:
    skipped = f", {len(batches.skipped)} skipped" if batches.skipped else ""
    console.out().print(f"{len(records)} explained{skipped}; results in {folder}", markup=False)
