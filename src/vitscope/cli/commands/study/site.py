"""``vitscope study site``: the app with a study as a folder of files that any web server shows."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vitscope.cli.shared import console
from vitscope.cli.shared.options import JsonOptions
from vitscope.cli.shared.progress import watching
from vitscope.cli.shared.study_options import AgreeOptions, StudyOptions
from vitscope.storage.stores.faults import in_words

if TYPE_CHECKING:
    from vitscope.studies.site_cost import SiteCost


def site(
    place: StudyOptions,
    folder: Annotated[
        Path, typer.Argument(metavar="OUT", help="A new or empty folder, or a site, which is replaced.")
    ],
    agreed: AgreeOptions,
    told: JsonOptions,
) -> None:
    """Write the app with a study as files that any web server or Pages host shows, also from below another path.

    It holds pictures, predictions, maps and merged results; what needs a model is off there, and says so. The size is
    said first, and asked about above 1 GB or what is free.
    """
    from vitscope.shown import served_by

    write = served_by("site.making", "write_site")
    study = place.open()
    if not study.status().finished:
        console.note(f"the study is not finished, so its site shows a part; vitscope study run {place.study}")
    tell = console.note if told.json else console.say
    with watching() as progress:
        made = write(study.place, folder, approve=_asking(agreed.yes, tell), progress=progress)
    for reason, count in made.left_out.items():
        console.note(f"left out: {count:,} answers: {reason}")
    if told.json:
        console.emit_json(
            {"site": str(folder), "files": made.files, "bytes": made.bytes, "left_out": made.left_out}
        )
    else:
        console.say(f"made {folder}: {made.files:,} files, {in_words(made.bytes)}")
        console.say(f"look at it with: python -m http.server --directory {folder}")


def _asking(yes: bool, tell: Callable[[str], None]) -> Callable[[SiteCost], bool]:
    """What tells the size of a site, and asks before a large one. Raises a usage error where nobody can be asked."""

    def asked(cost: SiteCost) -> bool:
        free = (
            "nobody can say how much is free there"
            if cost.free is None
            else f"{in_words(cost.free)} are free"
        )
        tell(
            f"written    about {in_words(cost.bytes)} in {cost.files:,} files, from {cost.measured:,} that were "
            f"measured; {free}"
        )
        if yes or not cost.large:
            return True
        reason = f"about {in_words(cost.bytes)}, {free}"
        if not (sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty()):
            raise typer.BadParameter(
                f"this site is large: {reason}; nothing was made, --yes agrees to it where nobody can be asked"
            )
        return typer.confirm("write it?", err=True)

    return asked
