"""What a command line may hold: an option that would not be used is refused, before a model is opened.

Four faults are told for every command alike: an option that may be given once and is given twice, an empty value, a
number that is none, and a value that its declaration does not accept. What goes with what is declared beside each
command, with `unused`.
"""

from __future__ import annotations

import inspect
import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import typer
from typer.core import TyperCommand

from vitscope.cli.exit_codes import WORDS
from vitscope.cli.shared.console import quiet
from vitscope.cli.shared.further_models import split, told_of
from vitscope.cli.shared.parameters import flat, parameters_of

PROGRAM = "vitscope"
FURTHER = "vitscope.further_models"
"""Where a context keeps the values of further models."""
Values = Mapping[str, Any]
Function = TypeVar("Function", bound=Callable[..., Any])


class Interrupted(Exception):
    """Ctrl-C during a command. Typer would make an exit code of it and say nothing."""


@dataclass(frozen=True)
class Unused:
    """Options that a command does not use beside others. ``when`` sees all values by the names of the parameters."""

    options: tuple[str, ...]
    when: Callable[[Values], object]
    why: str


def unused(
    *options: str, when: Callable[[Values], object], why: str, but: tuple[str, ...] = ()
) -> Callable[[Function], Function]:
    """Declare that a command does not use ``options`` where ``when`` holds; ``why`` ends the line that says so.

    Args:
        options: Names of the command's parameters; none stands for all but ``but``.
        when: Told all values by name; anything true means that the options would be dropped.
        why: What makes them useless and what mends it: ``"with --no-draw nothing is drawn"``.
        but: The parameters that are used all the same.
    """

    def declare(function: Function) -> Function:
        known = parameters_of(function)
        missing = [name for name in (*options, *but) if name not in known]
        if missing:
            raise TypeError(f"{function.__name__} has no parameter {missing[0]!r}")
        # Decorators are applied from below; rules are tried in the order in which they are read.
        names = options or tuple(name for name in known if name not in but)
        rules = (Unused(names, when, why), *getattr(function, "unused", ()))
        function.unused = rules  # type: ignore[attr-defined]
        return function

    return declare


class Command(TyperCommand):
    """A command that refuses what it would not use, and reports an interruption."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Refuse repeated and empty values in the words that were typed, then parse as usual."""
        further: list[list[str]] = []
        if getattr(self._function, "several_models", False):
            args, further = split(args, self.params)
        try:
            if not ctx.resilient_parsing:
                words, _, order = self.make_parser(ctx).parse_args(args=list(args))
                _refuse_repeated(order)
                for parameter in order:
                    _refuse_empty(parameter, words.get(parameter.name))
            rest: list[str] = super().parse_args(ctx, args)
            if not ctx.resilient_parsing:
                typed = {each.name: each for each in self.params if _was_typed(ctx, each.name)}
                for name, parameter in typed.items():
                    _refuse_endless(parameter, ctx.params[name])
                    self._refuse_foreign(parameter, ctx.params[name])
                self._refuse_unused(typed, ctx.params)
            ctx.meta[FURTHER] = [self.make_context(ctx.info_name, words).params for words in further]
            return rest
        except typer.BadParameter as error:
            error.ctx = error.ctx or ctx
            raise

    def invoke(self, ctx: Any) -> Any:
        """Run the command; Ctrl-C becomes `Interrupted`."""
        try:
            with told_of(ctx.meta.get(FURTHER, ())), quiet(bool(ctx.params.get("quiet"))):
                return super().invoke(ctx)
        except KeyboardInterrupt:
            raise Interrupted from None

    def _refuse_foreign(self, parameter: Any, value: Any) -> None:
        declared = getattr(self._function, "parameters", {}).get(parameter.name)
        fault = None if declared is None else declared.fault(value)
        if fault is not None:
            raise typer.BadParameter(f"{_spelled(parameter)} {fault}")

    @property
    def _function(self) -> Any:
        return inspect.unwrap(self.callback) if self.callback else None

    def _refuse_unused(self, typed: Mapping[str, Any], values: Values) -> None:
        for rule in getattr(self._function, "unused", ()):
            for name in rule.options:
                if name in typed and rule.when(values):
                    raise typer.BadParameter(
                        f"{_spelled(typed[name])} would not be used: {rule.why}; leave it out"
                    )


class Commands(typer.Typer):
    """A group of commands: each is a `Command`, and its help ends with what the exit codes say."""

    def add(self, example: str) -> Callable[[Function], Function]:
        """Add the decorated function of records of options; ``example`` is a command line that can be tried."""
        group = self.info.name if isinstance(self.info.name, str) else ""
        group = "" if group == PROGRAM else group

        def register(function: Function) -> Function:
            command = flat(function, f"{group} {function.__name__}".strip())
            self.command(epilog=f"Example: {example.rstrip('. ')}. {WORDS}", cls=Command)(command)
            return function

        return register


def _was_typed(ctx: Any, name: str) -> bool:
    source = ctx.get_parameter_source(name)
    return source is not None and source.name in ("COMMANDLINE", "ENVIRONMENT")


def _refuse_repeated(order: list[Any]) -> None:
    """``order``: the parameters as they were met, once for each time."""
    counts = Counter(each.name for each in order if not each.multiple and each.nargs == 1)
    for each in order:
        if counts[each.name] > 1 and each.param_type_name == "option":
            raise typer.BadParameter(f"{_spelled(each)} is given {counts[each.name]} times; give it once")


def _refuse_empty(parameter: Any, words: Any) -> None:
    """An empty word is no value; as a path it would be the folder that one stands in."""
    for each in words if isinstance(words, list | tuple) else [words]:
        if isinstance(each, str) and not each.strip():
            raise typer.BadParameter(f"{_spelled(parameter)} is empty; give it a value or leave it out")


def _refuse_endless(parameter: Any, value: Any) -> None:
    if isinstance(value, float) and not math.isfinite(value):
        raise typer.BadParameter(f"{_spelled(parameter)} is a finite number, not {value}")


def _spelled(parameter: Any) -> str:
    """An option as it is written, ``--no-draw`` where a switch has only that side; an argument by its name."""
    if parameter.param_type_name != "option":
        return str(parameter.name).upper()
    spelled: str = max(parameter.opts, key=lambda text: text.startswith("--"))
    return spelled
