"""The list of commands. A new command is one file beside this one and one line in ``COMMANDS`` or ``GROUPS``.

A command's file is imported when that command is asked for; for the list of all of them, the words here are enough.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Sequence
from typing import Any

from vitscope.cli.shared.usage import Commands

COMMANDS = {
    "demo": (
        "Explain bundled pictures with a bundled trained ViT and write one report; needs no network and "
        "no picture."
    ),
    "inspect": (
        "Print a model's anatomy (blocks, heads, tokens), and what each method reads out or why it does "
        "not apply."
    ),
    "methods": (
        "List the methods: family, class-specific or not, signed or not, cost in forward and backward "
        "passes, paper."
    ),
    "explain": "Explain pictures: raw maps, overlays, and a sheet that shows the methods side by side.",
    "flow": "Animate how a map accumulates over the blocks.",
    "calibrate": (
        "Find the kappa of DART and GMAR+ at which relevance adds up to the score on these pictures; 16 "
        "are enough."
    ),
    "evaluate": (
        "Score methods on pictures, with the controls, 95 % intervals, paired tests, wall time and "
        "memory beside them."
    ),
    "serve": (
        "Show a study, or pictures that are dropped, in a browser. With nothing else: the bundled model "
        "and pictures."
    ),
    "doctor": (
        "Look at this installation: versions, devices, optional parts, caches, and the command that adds "
        "what is missing."
    ),
}
"""The first paragraph of each command's help: what the list of all commands shows."""
GROUPS = {
    "heads": "What the heads of a model do.",
    "bank": "Memory banks of picture features.",
    "study": "Analyses of any number of pictures, on disk, resumable.",
}
"""Commands that have commands of their own."""


def register(application: Commands, names: Sequence[str] | None = None) -> None:
    """Add the named commands to ``application``; None adds every one."""
    for name in (*COMMANDS, *GROUPS) if names is None else names:
        home: Any = importlib.import_module(f"vitscope.cli.commands.{name}")
        if name in GROUPS:
            application.add_typer(home.application)
        else:
            application.add(home.EXAMPLE)(getattr(home, name))


def register_names(application: Commands) -> None:
    """Add every command as its name and its words, for a list of them: nothing of them can be run."""

    def only_named() -> None:
        raise AssertionError("a command that is run is registered by its own name")

    for name, words in {**COMMANDS, **GROUPS}.items():
        application.command(name, help=words)(only_named)


def register_asked(application: Commands, arguments: Sequence[str]) -> None:
    """Add what a command line asks for: one command, or the names of all where it names none."""
    asked = next((word for word in arguments if not word.startswith("-")), None)
    if asked in COMMANDS or asked in GROUPS:
        register(application, [str(asked)])
    elif any(name.endswith("_COMPLETE") and name.startswith("_") for name in os.environ):
        register(application)  # the shell completes options, too
    else:
        register_names(application)
