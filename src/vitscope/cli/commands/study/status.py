"""``vitscope study status``: how far a study is, and whether its files are as they were written."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from vitscope.cli.commands.study.cost import time_in_words
from vitscope.cli.exit_codes import OK, PARTIAL
from vitscope.cli.shared import console
from vitscope.cli.shared.options import JsonOptions
from vitscope.cli.shared.progress import watching
from vitscope.cli.shared.study_options import StudyOptions
from vitscope.cli.shared.terminal import escape
from vitscope.cli.shared.usage import unused

if TYPE_CHECKING:
    from vitscope.studies import StudyStatus

SECONDS = 2.0
"""Between two looks of ``--watch``."""
COLUMNS = ("stage", "shards", "done", "failed", "pictures", "ok", "skipped")


@unused(
    "verify", when=lambda given: given["watch"], why="--watch only looks at what is finished; verify once"
)
@unused(
    "json", when=lambda given: given["watch"], why="--watch draws for people; study run --json tells events"
)
def status(
    place: StudyOptions,
    told: JsonOptions,
    verify: Annotated[
        bool,
        typer.Option(
            "--verify",
            help="Read every file and compare its checksum; shards that differ are done again by study run.",
        ),
    ] = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="Look again every two seconds, until it is finished.")
    ] = False,
) -> None:  # fmt: skip
    """How far a study is: stages, failed shards with the reason, rate and time left, damaged files."""
    study = place.open()
    if watch:
        with Live(auto_refresh=False, console=console.out(), transient=False) as live:
            while True:
                found = study.status()
                live.update(
                    Group(_table(found), *(Text(escape(line)) for line in notes(found))), refresh=True
                )
                if found.finished:
                    return
                time.sleep(SECONDS)
    with watching() as progress:
        found = study.status(verified=verify, progress=progress)
    if told.json:
        console.emit_json({**asdict(found), "finished": found.finished})
    else:
        console.table(COLUMNS, rows(found))
        for line in notes(found):
            console.say(line)
        if verify and not found.faults:
            console.say("every file is as it was written")
    raise typer.Exit(PARTIAL if found.faults else OK)


def rows(found: StudyStatus) -> list[list[Any]]:
    """A row for each stage."""
    return [
        [f"{cell:,}" if isinstance(cell, int) else cell for cell in row]
        for row in found.to_pandas().to_numpy().tolist()
    ]


def _table(found: StudyStatus) -> Table:
    drawn = Table(header_style="bold", box=None, pad_edge=False)
    for name in COLUMNS:
        drawn.add_column(name)
    for row in rows(found):
        drawn.add_row(*(Text(escape(str(cell))) for cell in row))
    return drawn


def notes(found: StudyStatus) -> Iterator[str]:
    """What is to be said beside the table, with what mends it."""
    for stage in found.stages:
        for shard, reason in sorted(stage.failed.items()):
            yield f"given up: shard {shard} of stage {stage.name}: {reason}"
    if any(stage.failed for stage in found.stages):
        yield f"to try them again: vitscope study run {found.place} --retry-failed"
    died = [f"{stage.name} {shard}" for stage in found.stages for shard in stage.died]
    if died:
        yield f"begun and not finished, now or by a run that died: {', '.join(died)}"
    for fault in found.faults:
        what = f"{fault.path}: {fault.what}" if fault.path else fault.what
        yield f"shard {fault.shard} of stage {fault.stage} has to be made again: {what}"
    if found.faults:
        yield f"make them again with: vitscope study run {found.place}"
    if len(found.kinds) > 1:
        yield (
            f"computed on several kinds of device, whose numbers differ in their last digits: {', '.join(found.kinds)}"
        )
    if found.finished:
        yield "finished"
        return
    if found.rate is not None:
        left = "" if found.seconds_left is None else f", {time_in_words(found.seconds_left)} left"
        yield f"{found.rate:,.3g} pictures a second of one worker, {found.workers} seen{left}"
