"""``vitscope bank build``: the memory bank that self-supervised DAAM recognises pictures by."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vitscope.cli import console, options
from vitscope.cli.batches import PictureBatches
from vitscope.cli.session import open_vit

if TYPE_CHECKING:
    from PIL import Image

EPILOG = (
    "Example: vitscope bank build photos --model timm/vit_small_patch14_dinov2 --out bank.safetensors, then "
    "vitscope explain photo.jpg --model timm/vit_small_patch14_dinov2 --method daam-self -o bank=bank.safetensors. "
    "Exit code 3: some pictures could not be read and were skipped."
)

application = typer.Typer(name="bank", no_args_is_help=True, help="Memory banks of picture features.")


@application.command(epilog=EPILOG)
def build(
    pictures: Annotated[list[str], typer.Argument(help="Pictures, folders (searched below, too) and globs.")],
    model: options.Model,
    out: Annotated[Path, typer.Option("--out", "-O", help="The bank's file.")] = Path("bank.safetensors"),
    labels: Annotated[
        bool,
        typer.Option(
            "--labels/--no-labels",
            help="Take labels from the folder's labels.csv, or from the names of its class folders.",
        ),
    ] = True,
    weights: options.Weights = None,
    random_weights: options.RandomWeights = False,
    model_option: options.ModelOptions = None,
    image_size: options.ImageSize = None,
    batch_size: options.BatchSize = 32,
    device: options.Device = "auto",
    precision: options.Precision = "float32",
    max_pixels: options.MaxPixels = None,
    json: options.Json = False,
) -> None:
    """Build a memory bank: one feature for every picture, labels where the folder is sorted into classes."""
    import torch

    from vitscope.methods.memory_bank import build_bank
    from vitscope.models import find_pictures

    listed = labels_file(pictures) if labels else {}
    paths = list(listed) or find_pictures(pictures)
    console.output_folder(out.absolute().parent)
    vit = open_vit(model, weights, image_size, device, precision, random_weights, None, model_option)
    batches = PictureBatches(paths, batch_size, "reading", max_pixels)
    read: list[Path] = []

    def opened() -> Iterator[list[Image.Image]]:
        for some, found in batches:
            read.extend(some)
            yield found

    bank = build_bank(vit, opened())
    if labels:
        numbers, names = listed_labels(read, listed) if listed else folder_labels(read)
        if names:
            bank = replace(bank, labels=torch.tensor(numbers), label_names=tuple(names))
    file = bank.save(out)
    record = {
        "bank": file,
        "pictures": len(bank),
        "width": int(bank.features.shape[1]),
        "labels": list(bank.label_names),
        "model": bank.model,
        "weights": bank.fingerprint,
        "skipped": batches.skipped_records(),
    }
    if json:
        console.emit_json(record)
    else:
        known = f"{len(bank.label_names)} labels" if bank.label_names else "no labels"
        line = f"{file}: {len(bank)} pictures, features of width {bank.features.shape[1]}, {known}"
        console.out().print(line, markup=False)
    raise typer.Exit(batches.exit_code)


def labels_file(pictures: list[str]) -> dict[Path, str]:
    """The pictures of one folder's labels.csv and what each is called; empty where there is no such file."""
    from vitscope.data.folders import read_folder

    if len(pictures) != 1 or not (Path(pictures[0]).expanduser() / "labels.csv").is_file():
        return {}
    return {record.path: record.name or f"class {record.label}" for record in read_folder(pictures[0])}


def listed_labels(paths: list[Path], listed: dict[Path, str]) -> tuple[list[int], list[str]]:
    """The labels of a labels.csv, numbered anew in the order of their names."""
    names = sorted({listed[path] for path in paths})
    return [names.index(listed[path]) for path in paths], names


def folder_labels(paths: list[Path]) -> tuple[list[int], list[str]]:
    """Each picture's folder as a label; nothing when all lie in one folder, which says nothing about them."""
    names = sorted({path.parent.name for path in paths})
    if len(names) < 2:
        return [], []
    return [names.index(path.parent.name) for path in paths], names
