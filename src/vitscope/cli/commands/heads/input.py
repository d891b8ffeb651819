"""What the commands of ``vitscope heads`` work on: an open model, pictures with classes, parts of a stopped run."""

from __future__ import annotations

import contextlib
import shlex
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from vitscope.cli.shared import console
from vitscope.cli.shared.classes import with_classes
from vitscope.cli.shared.options import LabelOptions, ModelOptions, PictureOptions
from vitscope.cli.shared.paths import require_there
from vitscope.cli.shared.session import open_vit
from vitscope.errors import PictureError

if TYPE_CHECKING:
    from vitscope.pictures import PictureSource
    from vitscope.tracing import Vit

UNFINISHED = "unfinished"
"""Folder beside the results in which finished parts of a run are kept until the results are written."""


@contextlib.contextmanager
def resumable(given: HeadsInput) -> Iterator[Path]:
    """The folder for parts of this run: kept, and told of, when the run stops; removed when its results are written."""
    from vitscope.storage.parts import NOTE, remove_parts

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
    remove_parts(given.unfinished)


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
    pictures: PictureOptions,
    model: ModelOptions,
    folder: Path,
    labels: LabelOptions | None = None,
    least: int = 1,
) -> HeadsInput:
    """Find the pictures, see that results can be written, open the model, and read the classes if there are any.

    Args:
        pictures: Which; at least ``least`` of them.
        model: Which, and how it is opened.
        folder: Where the results go.
        labels: Where the classes are told; None where the command asks for none.
        least: How many pictures the command needs.
    """
    source = pictures.source()
    if len(source) < least:
        raise PictureError(
            f"expected at least {least} pictures, got {len(source)}; patterns need held-out ones"
        )
    if labels is not None:
        require_there(labels.labels)
    console.output_folder(folder)
    vit = open_vit(model)
    if labels is not None and labels.labels is not None and vit.anatomy.classes is None:
        raise typer.BadParameter(f"--labels would not be used: {vit.source} has no classes; leave it out")
    if labels is not None and vit.anatomy.classes is not None:
        source = with_classes(source, labels.labels, vit)
        if source.labels is None:
            console.note(
                "no classes are known for these pictures (--labels); metrics of the true class are left out"
            )
    return HeadsInput(vit, source, folder / UNFINISHED)
