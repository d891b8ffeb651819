"""What the commands of ``vitscope heads`` share: their options, their input, and how they end."""

from __future__ import annotations

import contextlib
import re
import shlex
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from vitscope.cli.exit_codes import OK, PARTIAL
from vitscope.cli.shared import console
from vitscope.cli.shared.session import open_vit
from vitscope.errors import PictureError, VitscopeError

if TYPE_CHECKING:
    from vitscope.models.anatomy import Anatomy
    from vitscope.pictures import PictureSource
    from vitscope.tracing import Vit

UNFINISHED = "unfinished"
"""Folder beside the results in which finished parts of a run are kept until the results are written."""
MODEL = "--model timm/deit_tiny_patch16_224 --weights deit.safetensors"


@contextlib.contextmanager
def resumable(given: HeadsInput) -> Iterator[Path]:
    """The folder for parts of this run: kept, and told of, when the run stops; removed when its results are written."""
    from vitscope.storage.parts import NOTE

    try:
        yield given.unfinished
    except (Exception, KeyboardInterrupt):
        kept = any(given.unfinished.glob(f"*/{NOTE}"))
        with contextlib.suppress(OSError):
            given.unfinished.rmdir()
        if kept:
            console.note(
                f"stopped; {given.unfinished} keeps what was finished, the same command goes on from there"
            )
        raise
    shutil.rmtree(given.unfinished, ignore_errors=True)


@dataclass(frozen=True)
class HeadsInput:
    """An open model, and its pictures with their classes when known (bad ones are skipped while they are read).

    unfinished: the folder that keeps what a stopped run had done.
    """

    vit: Vit
    source: PictureSource
    unfinished: Path

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
    from vitscope.pictures import picture_source

    source = picture_source(pictures if len(pictures) > 1 else pictures[0], skip=True)
    if limit is not None and limit < len(source):
        source = source.part(0, limit)
    if len(source) < least:
        raise PictureError(
            f"expected at least {least} pictures, got {len(source)}; patterns need held-out ones"
        )
    console.output_folder(out)
    vit = open_vit(model, weights, image_size, device, precision, random_weights, None, model_options)
    if labels is not None and vit.anatomy.classes is None:
        raise typer.BadParameter(f"--labels would not be used: {vit.source} has no classes; leave it out")
    if labelled and vit.anatomy.classes is not None:
        source = _with_classes(source, labels, vit)
        if source.labels is None:
            console.note(
                "no classes are known for these pictures (--labels); metrics of the true class are left out"
            )
    return HeadsInput(vit, source, out / UNFINISHED)


def _with_classes(source: PictureSource, labels: Path | None, vit: Vit) -> PictureSource:
    """The pictures with their classes. A file that no list knows and that is no picture gets class 0: it is skipped."""
    from vitscope.models.opening.class_names import imagenet_wnids
    from vitscope.pictures import picture_source
    from vitscope.pictures.annotations.matching import read_known

    classes = vit.anatomy.classes

    def known(pictures: PictureSource) -> PictureSource:
        return read_known(
            pictures, labels, None, classes, class_names=vit.class_names,
            wordnet_ids=imagenet_wnids() if classes == 1000 else None, needs=("labels",),
        )  # fmt: skip

    try:
        found = known(source)
    except VitscopeError:
        readable = [picture.position for picture in source.read()]
        if len(readable) in (0, len(source)):
            raise
        some = picture_source([source.items[place] for place in readable], skip=True)
        few = known(some).labels
        if few is None:
            return source
        numbers = dict(zip(readable, few, strict=True))
        found = picture_source(source, labels=[numbers.get(place, 0) for place in range(len(source))])
    # Masks and boxes that were found beside the pictures are no business of heads.
    return source if found.labels is None else picture_source(source, labels=found.labels)


def parse_head(text: str) -> tuple[int, int]:
    """``"3.2"`` to (3, 2): block and head, both from 0; else a usage error."""
    match = re.fullmatch(r"([0-9]{1,9})\.([0-9]{1,9})", text.strip())
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
    skipped = [{"picture": key, "reason": why} for key, why in source.skipped.items()]
    for entry in skipped:
        console.note(f"skipped: {entry['reason']}")
    if json:
        records = {key: _records(value) for key, value in found.items()}
        document = {
            "model": given.vit.source,
            "weights": given.vit.fingerprint,
            "pictures": len(source) - len(set(source.keys).intersection(source.skipped)),
        }
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
