"""In which form the files of a command are written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import typer

from vitscope.cli.shared.parameters import DefaultOf

FORMAT = {"flow": "gif", "study export": "parquet"}
"""The form that each command takes when ``--format`` does not say so."""


@dataclass(frozen=True, kw_only=True)
class FormatOptions:
    """In which form files are written."""

    title: ClassVar[str] = "Run"
    format: Annotated[
        str,
        DefaultOf(FORMAT),
        typer.Option(
            "--format",
            help="Of flow gif, webp or mp4 (needs the video extra); of study export parquet or csv for tables, "
            "netcdf for arrays.",
        ),
    ]
