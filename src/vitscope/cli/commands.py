"""The list of commands. A new command is one file here beside and one line in ``register``."""

from __future__ import annotations

import typer

_done: set[int] = set()


def register(application: typer.Typer) -> None:
    """Add every command to ``application``, once."""
    if id(application) in _done:
        return
    _done.add(id(application))
