"""How a command of ``vitscope heads`` ends: its table or its JSON document, its files, its exit code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer

from vitscope.cli.commands.heads.input import HeadsInput
from vitscope.cli.exit_codes import OK, PARTIAL
from vitscope.cli.shared import console


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
