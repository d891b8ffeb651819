"""From dataclasses of options to the parameters of a command, so that an option is declared once for all commands.

A command is a function of a few records:

    @application.add(EXAMPLE)
    def calibrate(pictures: PictureOptions, model: ModelOptions, run: RunOptions) -> None: ...

Each field of such a record becomes one parameter; its annotation says how it is written, what it accepts and what the
help tells of it. What only one command has is a parameter of its function, or a record in its file.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from copy import copy
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from functools import reduce
from importlib import import_module
from operator import or_
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

from typer.models import ArgumentInfo, OptionInfo

from vitscope.options.bounds import Range
from vitscope.options.declared import Option, kinds_of, option_of
from vitscope.options.kinds import Choice, Number, Refused, Whole


@dataclass(frozen=True)
class DefaultOf:
    """A default that is another one in some commands: ``table`` holds it by the name of the command."""

    table: Mapping[str, Any]


@dataclass(frozen=True)
class SameAs:
    """An option accepts what an argument of a public function or method, or a field of a record, accepts.

    It is read when a value was typed, so that the help of a command imports nothing heavy.
    """

    module: str
    function: str
    argument: str

    def option(self) -> Option:
        """What the library declares."""
        found: Any = import_module(self.module)
        for name in self.function.split("."):
            found = getattr(found, name)
        return option_of(found, self.argument)


@dataclass(frozen=True)
class Parameter:
    """One parameter of a command.

    kind: its type. written: how it is written, and what the help tells of it. accepts: gives what the library accepts
    for it, None where the command itself reads a text. record: the dataclass whose field it is, None for a parameter of
    the function itself. owner: the function's parameter that holds that record.
    """

    name: str
    kind: Any
    written: OptionInfo | ArgumentInfo
    default: Any
    accepts: Callable[[], Option] | None
    record: type | None
    owner: str

    def fault(self, value: Any) -> str | None:
        """Why a value that was typed is not accepted, in words; None for one that is."""
        if self.accepts is None or value is None:
            return None
        option = self.accepts()
        typed = tuple(each for each in option.kinds if isinstance(each, (Choice, Number, Whole)))
        option = Option(self.name, self.default, typed)
        try:
            if typed:
                option.check(value)
        except Refused:
            return f"is {option.accepts()}, not {value!r}"
        return None


def parameters_of(function: Callable[..., Any], command: str = "") -> dict[str, Parameter]:
    """All parameters of a command by name, those of its records in their place.

    Args:
        function: The command.
        command: Its name, ``heads prune``: some defaults depend on it.

    Raises:
        TypeError: a name stands twice, or a parameter does not say how it is written.
    """
    found: dict[str, Parameter] = {}
    for owner, hint, default in _declared(function):
        record = hint if is_dataclass(hint) and isinstance(hint, type) else None
        each = [(owner, hint, default)] if record is None else _fields(record, command)
        for name, annotation, value in each:
            if name in found:
                raise TypeError(f"{function.__name__} has two parameters {name!r}")
            markers: list[Any] = []
            plain = _plain(annotation, markers)
            accepts = _accepts(name, plain, markers)
            written = _written(name, markers, record)
            found[name] = Parameter(name, plain, written, value, accepts, record, owner)
    return found


def flat(function: Callable[..., None], command: str) -> Callable[..., None]:
    """The command as Typer reads it: a function of all its options, which puts them back into their records."""
    known = parameters_of(function, command)
    records = {each.owner: each.record for each in known.values() if each.record is not None}

    def call(**values: Any) -> None:
        given = {name: values[name] for name, each in known.items() if each.record is None}
        for owner, record in records.items():
            given[owner] = record(
                **{name: values[name] for name, each in known.items() if each.owner == owner}
            )
        function(**given)

    for name in ("__name__", "__qualname__", "__doc__", "__module__"):
        setattr(call, name, getattr(function, name))
    hints: dict[str, Any] = {name: Annotated[each.kind, each.written] for name, each in known.items()}
    call.__annotations__ = hints
    call.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=each.default, annotation=hints[name])
            for name, each in known.items()
        ]
    )  # fmt: skip
    call.parameters = known  # type: ignore[attr-defined]
    call.unused = getattr(function, "unused", ())  # type: ignore[attr-defined]
    call.several_models = getattr(function, "several_models", False)  # type: ignore[attr-defined]
    return call


def _declared(function: Callable[..., Any]) -> list[tuple[str, Any, Any]]:
    hints = get_type_hints(function, include_extras=True)
    return [
        (name, hints[name], each.default) for name, each in inspect.signature(function).parameters.items()
    ]


def _fields(record: type, command: str) -> list[tuple[str, Any, Any]]:
    hints = get_type_hints(record, include_extras=True)
    return [
        (each.name, hints[each.name], _default(each, hints[each.name], command)) for each in fields(record)
    ]


def _default(field: Field[Any], annotation: Any, command: str) -> Any:
    for marker in get_args(annotation)[1:] if get_origin(annotation) is Annotated else ():
        if isinstance(marker, DefaultOf):
            return marker.table[command] if command else inspect.Parameter.empty
    return inspect.Parameter.empty if field.default is MISSING else field.default


def _accepts(name: str, plain: Any, markers: list[Any]) -> Callable[[], Option] | None:
    for each in markers:
        if isinstance(each, SameAs):
            return each.option
        if isinstance(each, Range):
            found = Option(name, None, kinds_of(plain, each))
            return lambda: found
    return None


def _written(name: str, markers: list[Any], record: type | None) -> OptionInfo | ArgumentInfo:
    """How a parameter is written: under the title of the record that declares it, its help with its range."""
    declared = next((each for each in markers if isinstance(each, OptionInfo | ArgumentInfo)), None)
    if declared is None:
        raise TypeError(f"{name!r} is declared by no typer.Option or typer.Argument")
    info = copy(declared)
    for each in markers:
        if isinstance(each, Range):
            info.help = f"{(info.help or '').rstrip('.')}; {each}."
    if isinstance(info, OptionInfo) and record is not None:
        declaring = next(each for each in record.__mro__ if name in vars(each).get("__annotations__", {}))
        info.rich_help_panel = getattr(declaring, "title", None)
    return info


def _plain(annotation: Any, markers: list[Any]) -> Any:
    """An annotation without what is written beside its types, which is added to ``markers``."""
    if get_origin(annotation) is Annotated:
        inner, *beside = get_args(annotation)
        markers += beside
        return _plain(inner, markers)
    if get_origin(annotation) in (Union, UnionType):
        return reduce(or_, (_plain(each, markers) for each in get_args(annotation)))
    return annotation
