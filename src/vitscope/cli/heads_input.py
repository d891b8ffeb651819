"""What the commands of ``vitscope heads`` share: their options, their input, and how they end."""

from __future__ import annotations

import re
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from vitscope.cli import console
from vitscope.cli.exit_codes import OK, PARTIAL
from vitscope.cli.session import open_vit
from vitscope.errors import PictureError, VitscopeError

if TYPE_CHECKING:
    from vitscope.heads.batches import PictureSource
    from vitscope.models.anatomy import Anatomy
    from vitscope.tracing import Vit

MODEL = "--model timm/deit_tiny_patch16_224 --weights deit.safetensors"


@dataclass(frozen=True)
class HeadsInput:
    """An open model, its pictures (bad ones are skipped while they are read) and their classes when known."""

    vit: Vit
    source: PictureSource
    labels: list[int] | None

    @property
    def commands(self) -> tuple[str, ...]:
        """The command that is running, for the report."""
        return (shlex.join(["vitscope", *sys.argv[1:]]),)


def open_input(
    pictures: list[str],
    labels: Path | None,
    limit: int | None,
    out: Path,
    model: str,
    weights: Path | None,
    image_size: str | None,
    device: str,
    precision: str,
    random_weights: bool,
    model_options: list[str] | None,
    labelled: bool = True,
    least: int = 1,
) -> HeadsInput:
    """Find the pictures, see that results can be written, open the model, and read the classes if there are any."""
    from vitscope.heads.batches import picture_source
    from vitscope.models import find_pictures

    paths = find_pictures(pictures)[:limit]
    if len(paths) < least:
        raise PictureError(
            f"expected at least {least} pictures, got {len(paths)}; patterns need held-out ones"
        )
    console.output_folder(out)
    vit = open_vit(model, weights, image_size, device, precision, random_weights, None, model_options)
    source = picture_source(list(paths), skip_bad=len(paths) > 1)
    classes: Any = None
    if labelled and vit.anatomy.classes is not None:
        classes = _classes(paths, labels, vit.anatomy.classes)
        if classes is None:
            console.note(
                "no classes are known for these pictures (--labels); metrics of the true class are left out"
            )
    return HeadsInput(vit, source, classes)


def _classes(paths: list[Path], labels: Path | None, count: int) -> list[int] | None:
    """One class for each path. A file that no list knows and that is no picture either gets class 0: it is skipped."""
    from vitscope.evaluation.truth import read_truth
    from vitscope.models import read_picture

    try:
        return _listed(read_truth(paths, labels, None, count))
    except VitscopeError:
        readable = []
        for path in paths:
            try:
                read_picture(path)
                readable.append(path)
            except PictureError:
                continue
        if len(readable) in (0, len(paths)):
            raise
        found = _listed(read_truth(readable, labels, None, count))
        known = None if found is None else dict(zip(readable, found, strict=True))
        return None if known is None else [known.get(path, 0) for path in paths]


def _listed(truth: Any) -> list[int] | None:
    return None if truth.labels is None else [int(label) for label in truth.labels]


def parse_head(text: str) -> tuple[int, int]:
    """``"3.2"`` to (3, 2): block and head, both from 0; else a usage error."""
    match = re.fullmatch(r"(\d+)\.(\d+)", text.strip())
    if match is None:
        raise typer.BadParameter(f"a head is named block.head, both from 0, such as 3.2, not {text!r}")
    return int(match[1]), int(match[2])


def parse_heads(text: str) -> list[tuple[int, int]]:
    """A comma list of heads."""
    return [parse_head(part) for part in text.split(",") if part.strip()]


def check_heads(anatomy: Anatomy, heads: list[tuple[int, int]]) -> None:
    """Raise HeadsError for a head that the model does not have, before any work is done."""
    from vitscope.heads import HeadsError

    for block, head in heads:
        if block >= len(anatomy.blocks) or head >= anatomy.blocks[block].heads:
            raise HeadsError(
                f"expected a block from 0 to {len(anatomy.blocks) - 1} and a head from 0 to {anatomy.heads - 1}, "
                f"got {block}.{head}; heads are counted from 0"
            )


def finish(
    given: HeadsInput, json: bool, files: list[Path], columns: list[str], rows: list[list[Any]], **found: Any
) -> None:
    """Print what was found and where it is, and leave: code 0, or 3 when pictures were skipped."""
    source = given.source
    skipped = [{"picture": source.names[index], "reason": why} for index, why in source.skipped.items()]
    for entry in skipped:
        console.note(f"skipped: {entry['reason']}")
    if json:
        records = {key: _records(value) for key, value in found.items()}
        document = {"model": given.vit.source, "weights": given.vit.fingerprint, "pictures": len(source)}
        console.emit_json({**document, **records, "files": files, "skipped": skipped})
    else:
        console.table(columns, rows)
        console.say()
        for file in files:
            console.say(str(file))
    raise typer.Exit(PARTIAL if skipped else OK)


def _records(value: Any) -> Any:
    """A data frame as a list of rows; anything else as it is."""
    return value.to_dict("records") if hasattr(value, "to_dict") else value
