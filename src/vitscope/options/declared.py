"""Options of methods, declared once: the annotations of a method's keyword arguments.

    def rollout(trace, *, fusion: Literal["mean", "max"] = "mean", residual: Annotated[float, Range(0, 1e6)] = 1.0,
                start_block: Annotated[int, Block()] = 0, head: Annotated[int, Head()] | None = None): ...

Python, the shell and lists of methods read the same declaration: what is accepted, what a text stands for, what is
told of it. ``Range`` bounds a number, ``Block``, ``Head`` and ``Patch`` bound a whole number by the model, ``File``
takes an object or the path of its file; ``bool``, ``Literal`` and ``None`` stand for themselves. An argument without
annotation accepts what is of its default's type.
"""

from __future__ import annotations

import difflib
import inspect
import types
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from vitscope.options.bounds import File, Parts, Place, Range
from vitscope.options.kinds import Choice, Instance, Kind, Nothing, Number, Refused, Switch, Whole


@dataclass(frozen=True)
class Option:
    """One option of a method: its default and what it accepts."""

    name: str
    default: Any
    kinds: tuple[Kind, ...]

    def check(self, value: Any, anatomy: Parts | None = None) -> Any:
        """The value in its strict form (a float for a number). Raises Refused."""
        for kind in self.kinds:
            try:
                return kind.check(value, anatomy)
            except Refused:
                continue
        raise Refused

    def read(self, text: str) -> Any:
        """The value that a text from a command line stands for; a text that stands for none is handed on as it is,
        so that ``check`` refuses it in the same words as in Python."""
        for kind in self.kinds:
            try:
                return self.check(kind.read(text.strip()))
            except Refused:
                continue
        for kind in self.kinds:  # out of range: the number is named as a number
            try:
                return kind.read(text.strip())
            except Refused:
                continue
        return text

    def accepts(self, anatomy: Parts | None = None) -> str:
        """What is accepted, in words."""
        return " or ".join(kind.describe(anatomy) for kind in self.kinds)

    def nearest(self, value: Any) -> str | None:
        """The known word that a wrong one was meant for, None where none is like it."""
        words = [word for kind in self.kinds if isinstance(kind, Choice) for word in kind.words]
        if not isinstance(value, str) or len(value) > 80:
            return None
        return next(iter(difflib.get_close_matches(value.lower(), words, n=1, cutoff=0.5)), None)

    def record(self) -> dict[str, Any]:
        """Default and what is accepted, for machines."""
        first, *others = (kind.record() for kind in self.kinds)
        record: dict[str, Any] = {"default": self.default, "accepts": self.accepts(), **first}
        return {**record, "or": others} if others else record


def declared_options(function: Callable[..., Any]) -> dict[str, Option]:
    """The options that a method's keyword arguments declare, in their order."""
    try:
        hints = get_type_hints(function, include_extras=True)
    except NameError:  # annotations that name what only their own file knows
        hints = {}
    parameters = list(inspect.signature(function).parameters.values())[1:]
    return {
        p.name: Option(p.name, p.default, tuple(_kinds(hints.get(p.name, type(p.default)))))
        for p in parameters
    }


def short(value: Any) -> str:
    """A value as a message shows it: one line of at most 60 letters."""
    try:
        text = repr(value)
    except Exception:  # an object's own repr, or an int of more digits than Python prints
        text = f"a value of type {type(value).__name__}"
    text = " ".join(text.split())
    return text if len(text) <= 60 else text[:57] + "..."


def _kinds(hint: Any, marker: Any = None) -> list[Kind]:
    origin = get_origin(hint)
    if origin is Annotated:
        inner, *markers = get_args(hint)
        known = [m for m in markers if isinstance(m, (Range, Place, File))]
        return _kinds(inner, known[0] if known else marker)
    if isinstance(marker, File):
        classes = get_args(hint) if origin in (Union, types.UnionType) else (hint,)
        return [Instance(tuple(get_origin(c) or c for c in classes), marker.what)]
    if origin in (Union, types.UnionType):
        return [kind for part in get_args(hint) for kind in _kinds(part, marker)]
    if origin is Literal:
        return [Choice(tuple(get_args(hint)))]
    if hint is type(None):
        return [Nothing()]
    if hint is bool:
        return [Switch()]
    if hint is int:
        place = marker if isinstance(marker, Place) else None
        return [Whole(marker if isinstance(marker, Range) else None, place)]
    if hint is float:
        return [Number(marker if isinstance(marker, Range) else None)]
    if hint is str:
        return [Instance((str,), "a text")]
    return [Instance((object,), "anything")]
