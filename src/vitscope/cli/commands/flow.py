"""``vitscope flow``: how a map forms block by block, as an animation and a strip."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from vitscope.cli.shared import console, options
from vitscope.cli.shared.batches import PictureParts, pictures_of
from vitscope.cli.shared.explaining import explain_part, target_of
from vitscope.cli.shared.selection import choose_methods, share_options
from vitscope.cli.shared.session import open_vit
from vitscope.cli.shared.values import parse_texts

EXAMPLE = (
    "vitscope flow photo.jpg --model timm/deit_tiny_patch16_224 --weights deit.safetensors --format webp"
)


def flow(
    pictures: options.Pictures,
    model: options.Model,
    method: Annotated[
        str | None, typer.Option("--method", help="A method with a flow: daam, dart, rollout ...")
    ] = None,
    target: options.Target = "top1",
    out: options.Out = Path("vitscope-out"),
    weights: options.Weights = None,
    format: Annotated[
        str, typer.Option("--format", help="gif, webp or mp4 (needs the video extra).")
    ] = "gif",
    seconds: Annotated[
        float, typer.Option("--seconds", min=0.02, max=60, help="How long each block is shown.")
    ] = 0.5,
    option: options.MethodOptions = None,
    style: options.Style = "alpha",
    scaling: options.Scaling = None,
    upsampling: options.Upsampling = "nearest",
    size: options.Size = 1,
    strip: Annotated[
        bool, typer.Option("--strip/--no-strip", help="Also write all blocks as one PNG.")
    ] = True,
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
    """Animate how a map accumulates over the blocks."""
    from vitscope import reports
    from vitscope.methods import default_method
    from vitscope.reports import words
    from vitscope.storage.outputs import OutputNames

    suffix = f".{format.lower().lstrip('.')}"
    if suffix not in (".gif", ".webp", ".mp4"):
        raise typer.BadParameter(f"--format is gif, webp or mp4, not {format!r}")
    looks = reports.Looks(style, scaling, upsampling, size)
    if style == "side-by-side":
        raise typer.BadParameter(
            "--style side-by-side has no room in a strip; take alpha, contour, spotlight or map"
        )
    given = parse_texts(option)
    source = pictures_of(pictures, max_pixels)
    folder = console.output_folder(out)
    vit = open_vit(model, weights, image_size, device, precision, random_weights, class_names, model_option)
    [name] = _one_method(choose_methods(method or default_method(vit.anatomy), vit.anatomy))
    shared = share_options([name], given)
    aim = target_of(target, vit, source)
    names = OutputNames(folder, source.keys)
    parts = PictureParts(source, batch_size, "drawing")
    records: list[dict[str, Any]] = []
    for start, part in parts:
        for picture in explain_part(vit, part, start, len(source), aim, shared):
            explanation = picture.single[name]
            with parts.writing(picture.key):
                files = reports.write_flow(
                    explanation, names.stem(picture.key), picture=picture.shown, looks=looks, suffix=suffix,
                    seconds_per_frame=seconds, strip=strip,
                )  # fmt: skip
                number = words.class_of(explanation)
                named = words.class_name(explanation, number)
                record = {"picture": picture.place, "class": number, "class_name": named}
                records.append({**record, **files})
                if not json:
                    last, label = picture.key.rpartition("/")[2], words.explained(explanation)
                    console.say(f"{last}: {label}, {files['blocks']} blocks, {files['animation']}")
    if json:
        document = {"model": vit.source, "weights": vit.fingerprint, "target": target, "method": name}
        console.emit_json({**document, "pictures": records, "skipped": parts.skipped_records()})
    raise typer.Exit(parts.exit_code)


def _one_method(names: list[str]) -> list[str]:
    if len(names) != 1:
        raise typer.BadParameter(f"--method takes one method here, not {', '.join(names)}")
    return names
