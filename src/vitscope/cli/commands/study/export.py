"""``vitscope study export``: single files for other programs, and the merged results in the study's folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vitscope.cli.exit_codes import OK, PARTIAL
from vitscope.cli.shared import console
from vitscope.cli.shared.format_options import FormatOptions
from vitscope.cli.shared.options import JsonOptions
from vitscope.cli.shared.progress import watching
from vitscope.cli.shared.study_options import StudyOptions
from vitscope.errors import StoreFault


def export(
    place: StudyOptions,
    into: Annotated[
        Path,
        typer.Argument(metavar="OUT", help="A folder for the files; with --table also the file itself."),
    ],
    form: FormatOptions,
    told: JsonOptions,
    table: Annotated[
        str | None,
        typer.Option("--table", help="Only this table (scores, head_scores), or kind of array (maps)."),
    ] = None,
) -> None:
    """Write tables or arrays as single files, one for each, with the rows of all finished shards.

    Without --table, a finished study also gets its merged results anew: leaderboard, heads, strength and atlas in its
    folder results.
    """
    study = place.open()
    with watching() as progress:
        files = study.export(into, format=form.format, table=table, progress=progress)  # type: ignore[arg-type]
    code, results = OK, []
    if table is None and not study.status().finished:
        console.note(
            f"the study is not finished, so its results are not merged yet; vitscope study run {place.study}"
        )
    elif table is None:
        try:
            results = study.save_results()
        except StoreFault as error:
            console.note(f"the merged results are not in the study: {error}")
            code = PARTIAL
    if told.json:
        console.emit_json({"files": files, "results": results, "finished": study.status().finished})
    else:
        for path in [*map(str, files), *(f"{place.study}/{path}" for path in results)]:
            console.say(path)
    raise typer.Exit(code)
