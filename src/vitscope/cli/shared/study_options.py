"""Options of studies that several of their commands have."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

import typer

if TYPE_CHECKING:
    from vitscope.studies import Study

STUDY = typer.Argument(metavar="DIR", help="The study's folder, or a URL that fsspec knows.")


@dataclass(frozen=True, kw_only=True)
class StudyOptions:
    """Which study."""

    title: ClassVar[str] = "Study"
    study: Annotated[str, STUDY]
    alone: Annotated[
        bool,
        typer.Option(
            "--i-am-alone",
            help="No other run works there: for places that cannot keep two runs apart.",
        ),
    ] = False

    def open(self) -> Study:
        """The study that lies there."""
        import vitscope as vs

        return vs.Study.open(self.study, alone=self.alone)


@dataclass(frozen=True, kw_only=True)
class AgreeOptions:
    """Whether what is large is agreed to."""

    title: ClassVar[str] = "Study"
    yes: Annotated[
        bool,
        typer.Option(
            "--yes", "-y", help="Agree to what is large (the size is said first) without being asked."
        ),
    ] = False
