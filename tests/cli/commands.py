"""Every command of the program as Typer holds it, so that tests meet a new one by themselves."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from functools import cache
from typing import Any, get_type_hints

import typer

from vitscope.cli import commands
from vitscope.cli.application import new_application


@cache
def every_command() -> dict[str, Any]:
    """The commands by their names, ``bank build`` with its group."""
    application = new_application()
    commands.register(application)
    return dict(_below(typer.main.get_command(application), ""))


def _below(group: Any, before: str) -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _below(command, f"{before}{name} ")
        else:
            yield f"{before}{name}", command


def parsed(name: str, *arguments: str) -> dict[str, Any]:
    """The values of a command's parameters, without running it. Raises what the command line raises."""
    context = every_command()[name].make_context(name, list(arguments))
    values: dict[str, Any] = context.params
    return values


def needed(command: Any) -> list[str]:
    """Words that a command cannot do without."""
    words: list[str] = []
    for parameter in command.params:
        if parameter.required:
            words += [parameter.opts[0]] if parameter.param_type_name == "option" else []
            words.append("bundled/shapes" if parameter.name == "model" else "photo.png")
    return words


def spelled(parameter: Any) -> str:
    """An option as it is written."""
    word: str = max(parameter.opts, key=lambda text: text.startswith("--"))
    return word


def type_of(command: Any, parameter: Any) -> str:
    """What a parameter is declared as, without ``None``: ``int``, ``float``, ``str``, ``Path``, ``bool`` ..."""
    hints = get_type_hints(inspect.unwrap(command.callback))
    words = str(getattr(hints[parameter.name], "__name__", hints[parameter.name]))
    return words.replace(" | None", "").replace("pathlib.", "").replace("_local.", "")
