"""One job of ``vitscope evaluate``: its boards under each protocol, saved and printed as they are finished."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vitscope.cli.commands.evaluate import output
from vitscope.cli.commands.evaluate.input import Job
from vitscope.cli.shared import console
from vitscope.cli.shared.progress import watching
from vitscope.cli.shared.selection import choose_rows, share_options
from vitscope.storage.parts import NOTE

if TYPE_CHECKING:
    from vitscope.evaluation import Leaderboard, Protocol


UNFINISHED = "unfinished"
"""Folder beside the results in which finished parts of a run are kept until all is written."""


def evaluate_job(
    job: Job, rows: list[str] | None, given: dict[str, Any], batch_size: int, place: Path, quiet: bool
) -> dict[str, Leaderboard]:
    """The leaderboard under each protocol; tables and pages are below ``place``."""
    from vitscope.evaluation.running.subjects import default_methods

    chosen = default_methods(job.vit.anatomy) if rows is None else choose_rows(rows, job.vit)
    shared = share_options(chosen, given)
    used = {name: chosen for name, chosen in shared.items() if chosen}
    boards: dict[str, Leaderboard] = {}
    for key, protocol in job.protocols.items():
        where = job.where(place, key)
        title = " ".join(part for part in (job.name, key) if part)
        boards[key] = _evaluate(job, chosen, used, protocol, batch_size, where / UNFINISHED, title)
        boards[key].save(where)
        boards[key].to_html(where / "index.html", shlex.join(["vitscope", *sys.argv[1:]]))
        if not quiet:
            output.print_board(boards[key], title, where)
    if len(boards) > 1:
        output.compare(boards, place, quiet)
    return boards


def _evaluate(
    job: Job,
    methods: list[str],
    given: dict[str, dict[str, Any]],
    protocol: Protocol,
    batch_size: int,
    unfinished: Path,
    title: str,
) -> Leaderboard:
    import vitscope as vs

    with watching(title) as progress:
        try:
            return vs.evaluate(
                job.vit,
                job.data,
                None,
                methods,
                job.metrics,
                protocol,
                options=given,
                batch_size=batch_size,
                checkpoint=unfinished,
                progress=progress,
            )
        except KeyboardInterrupt:
            progress.close()
            if any(unfinished.glob(f"*/*/{NOTE}")):
                console.note(
                    f"interrupted; {unfinished} keeps what was finished, the same command goes on from there"
                )
            else:
                console.note("interrupted before there was anything to keep")
            raise
