"""``vitscope flow``: how a map forms block by block, as an animation and a strip."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any

import typer

from vitscope.cli.commands.explain.finished import run_recipe
from vitscope.cli.shared import console
from vitscope.cli.shared.batches import PictureParts
from vitscope.cli.shared.drawing import DrawingOptions
from vitscope.cli.shared.explaining import explain_part, target_of
from vitscope.cli.shared.format_options import FormatOptions
from vitscope.cli.shared.options import (
    CleanOptions,
    MethodOptions,
    ModelOptions,
    OutputOptions,
    PictureOptions,
    RunOptions,
)
from vitscope.cli.shared.results import INDEX, TABLE, row, update_index, with_target
from vitscope.cli.shared.selection import choose_methods, share_options
from vitscope.cli.shared.session import open_vit
from vitscope.cli.shared.values import parse_list, parse_texts
from vitscope.options.bounds import Range

EXAMPLE = (
    "vitscope flow photo.jpg --model timm/deit_tiny_patch16_224 --weights deit.safetensors --format webp"
)


def flow(
    pictures: PictureOptions,
    model: ModelOptions,
    methods: MethodOptions,
    cleaning: CleanOptions,
    drawing: DrawingOptions,
    output: OutputOptions,
    run: RunOptions,
    form: FormatOptions,
    seconds: Annotated[
        float, Range(0.02, 60), typer.Option("--seconds", help="How long each block is shown.")
    ] = 0.5,
    strip: Annotated[
        bool, typer.Option("--strip/--no-strip", help="Also write all blocks as one PNG.")
    ] = True,
) -> None:
    """Animate how a map accumulates over the blocks."""
    from vitscope import reports
    from vitscope.methods import default_method
    from vitscope.reports import words
    from vitscope.storage.outputs import OutputNames

    suffix = f".{form.format.lower().lstrip('.')}"
    if suffix not in (".gif", ".webp", ".mp4"):
        raise typer.BadParameter(f"--format is gif, webp or mp4, not {form.format!r}")
    looks = drawing.looks()
    if drawing.style == "side-by-side":
        raise typer.BadParameter(
            "--style side-by-side has no room in a strip; take alpha, contour, spotlight or map"
        )
    given = parse_texts(methods.option)
    if methods.method is not None:
        _refuse_several(parse_list(methods.method, "--method"))
    source = pictures.source()
    folder = console.output_folder(output.out)
    vit = open_vit(model)
    [name] = choose_methods(methods.method or default_method(vit.anatomy), vit.anatomy)
    shared = share_options([name], given)
    aim = target_of(methods.target, vit, source)
    names = OutputNames(folder, source.keys, reserved=(INDEX, TABLE))
    recipe = replace(
        run_recipe(vit, shared, aim, methods.target, {"drawing": vars(looks), "clean": cleaning.clean}),
        analysis="flow",
    )
    rows: list[dict[str, Any]] = []
    parts = PictureParts(source, run.batch_size, "drawing")
    records: list[dict[str, Any]] = []
    for start, part in parts:
        for picture in explain_part(vit, part, start, len(source), aim, shared, cleaning.clean):
            explanation = picture.single[name]
            stem = with_target(names.stem(picture.key), methods.target, explanation)
            with parts.writing(picture.key):
                files = reports.write_flow(
                    explanation, stem, picture=picture.shown, looks=looks, suffix=suffix,
                    seconds_per_frame=seconds, strip=strip,
                )  # fmt: skip
                number = words.class_of(explanation)
                named = words.class_name(explanation, number)
                record = {"picture": picture.place, "class": number, "class_name": named}
                records.append({**record, **files})
                told: dict[str, Any] = {
                    **record,
                    "target": words.explained(explanation),
                    "score": float(explanation.scores[0]),
                }
                told["predictions"] = words.predictions(explanation)
                written = [str(files[kind]) for kind in ("animation", "strip") if kind in files]
                rows.append(row(told, picture.key, name, written, recipe))
                if not run.json:
                    last, label = picture.key.rpartition("/")[2], words.explained(explanation)
                    console.say(f"{last}: {label}, {files['blocks']} blocks, {files['animation']}")
    if rows:
        lost = update_index(folder, rows, recipe)
        if lost:
            console.note(f"{len(lost)} results of another recipe in {folder} were overwritten")
    if run.json:
        document = {"model": vit.source, "weights": vit.fingerprint, "target": methods.target, "method": name}
        console.emit_json({**document, "pictures": records, "skipped": parts.skipped_records()})
    raise typer.Exit(parts.exit_code)


def _refuse_several(names: list[str]) -> None:
    """A flow is of one method: told before the model is opened."""
    if len(names) != 1 or names == ["all"]:
        raise typer.BadParameter(f"--method takes one method here, such as daam, not {', '.join(names)}")
