"""``vitscope bank build``: the memory bank that self-supervised DAAM recognises pictures by."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from vitscope.cli.shared import console
from vitscope.cli.shared.batches import PictureParts
from vitscope.cli.shared.options import LabelOptions, ModelOptions, OutputOptions, PictureOptions, RunOptions
from vitscope.cli.shared.progress import watching
from vitscope.cli.shared.session import open_vit
from vitscope.cli.shared.usage import Commands, unused
from vitscope.storage.paths import typed_path

EXAMPLE = (
    "vitscope bank build photos --model timm/vit_small_patch14_dinov2 --out bank.safetensors, then "
    "vitscope explain photo.jpg --model timm/vit_small_patch14_dinov2 --method daam-self -o bank=bank.safetensors"
)

application = Commands(name="bank", no_args_is_help=True, help="Memory banks of picture features.")


@application.add(EXAMPLE)
@unused("labels", when=lambda given: given["no_labels"], why="--no-labels keeps none")
def build(
    pictures: PictureOptions,
    labels: LabelOptions,
    model: ModelOptions,
    output: OutputOptions,
    run: RunOptions,
    no_labels: Annotated[
        bool, typer.Option("--no-labels", help="Keep no labels, also where some are found.")
    ] = False,
) -> None:
    """Build a memory bank: one feature for every picture, labels where the folder is sorted into classes."""
    import torch

    from vitscope.methods.memory_bank import build_bank

    listed: dict[Path, str] = {}
    if labels.labels is None and not no_labels:
        listed = labels_file(pictures.pictures)
    source = (replace(pictures, pictures=[str(path) for path in listed]) if listed else pictures).source()
    if labels.labels is not None:
        listed = named_by(labels.labels, list(source.items))
    console.output_folder(output.out.absolute().parent)
    vit = open_vit(model)
    with watching() as progress:
        bank = build_bank(vit, source, batch_size=run.batch_size, progress=progress)
    parts = PictureParts.read(source)
    places = dict(zip(source.keys, source.items, strict=True))
    read = [places[key] for key in bank.keys]
    bank = replace(bank, labels=None, label_names=())
    if not no_labels:
        numbers, names = listed_labels(read, listed) if listed else folder_labels(read)
        if names:
            bank = replace(bank, labels=torch.tensor(numbers), label_names=tuple(names))
    file = bank.save(output.out)
    record = {
        "bank": file,
        "pictures": len(bank),
        "width": int(bank.features.shape[1]),
        "labels": list(bank.label_names),
        "model": bank.model,
        "weights": bank.fingerprint,
        "skipped": parts.skipped_records(),
    }
    if run.json:
        console.emit_json(record)
    else:
        known = f"{len(bank.label_names)} labels" if bank.label_names else "no labels"
        line = f"{file}: {len(bank)} pictures, features of width {bank.features.shape[1]}, {known}"
        console.say(line)
    raise typer.Exit(parts.exit_code)


def labels_file(pictures: list[str]) -> dict[Path, str]:
    """The pictures of one folder's labels.csv and what each is called; empty where there is no such file."""
    from vitscope.pictures.annotations import read_folder

    if len(pictures) != 1 or not (typed_path(pictures[0]) / "labels.csv").is_file():
        return {}
    return {record.path: record.name or f"class {record.label}" for record in read_folder(pictures[0])}


def named_by(file: Path, paths: list[Path]) -> dict[Path, str]:
    """What a label file calls each picture, found by its name. Raises DataError where it says nothing about one."""
    from vitscope.errors import DataError
    from vitscope.pictures.annotations import read_labels

    names = {record.path.name: record.name or f"class {record.label}" for record in read_labels(file)}
    missing = [path.name for path in paths if path.name not in names]
    if missing:
        raise DataError(f"{file} says nothing about {missing[0]}; add a line for each picture")
    return {path: names[path.name] for path in paths}


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
