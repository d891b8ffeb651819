"""``vitscope heads look``: what every head looks at on a picture."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from vitscope.cli.shared import console
from vitscope.cli.shared.batches import PictureParts
from vitscope.cli.shared.options import ModelOptions, OutputOptions, PictureOptions, RunOptions
from vitscope.cli.shared.session import open_vit
from vitscope.errors import PictureError


def look(
    pictures: PictureOptions,
    model: ModelOptions,
    output: OutputOptions,
    run: RunOptions,
    query: Annotated[
        str | None,
        typer.Option(
            "--query",
            help="What asks: class, distillation, mean (all tokens), or a patch as row,column from 0,0. Without it the "
            "class token, or mean in a model without one.",
        ),
    ] = None,
) -> None:
    """What every head looks at on a picture: blocks x heads as one PNG, and the numbers beside it."""
    from vitscope import heads
    from vitscope.heads.looking import read_query
    from vitscope.rendering import save_png
    from vitscope.storage.outputs import OutputNames

    source = pictures.source()
    folder = console.output_folder(output.out)
    vit = open_vit(model)
    if query is not None and vit.anatomy.layout is not None:
        read_query(query, vit.anatomy.layout)  # a wrong one is no fault of the pictures
    names = OutputNames(folder, source.keys)
    parts = PictureParts(source, 1, "looking")
    records: list[dict[str, Any]] = []
    for _, part in parts:
        try:
            seen = heads.look(vit, part, query=query)
        except PictureError:
            if len(part.skipped) == len(part):
                continue
            raise
        key = seen.pictures[0]
        with parts.writing(key):
            stem = names.stem(key)
            data = seen.save(stem.with_name(f"{stem.name}.heads.safetensors"))
            drawn = save_png(seen.draw(), stem.with_name(f"{stem.name}.heads.png"), {"query": seen.query})
            found = seen.to_pandas()
            records.append(
                {
                    "picture": key,
                    "query": seen.query,
                    "drawing": drawn,
                    "data": data,
                    "heads": found.to_dict("records"),
                }
            )
            if not run.json:
                sharp = found.sort_values("most").iloc[-1]
                console.say(
                    f"{key.rpartition('/')[2]}: {drawn} (sharpest: head {sharp['block']}.{sharp['head']}, "
                    f"{sharp['most']:.0%} on the patch {sharp['row']},{sharp['column']})"
                )
    if run.json:
        document = {"model": vit.source, "weights": vit.fingerprint}
        console.emit_json({**document, "pictures": records, "skipped": parts.skipped_records()})
    raise typer.Exit(parts.exit_code)
