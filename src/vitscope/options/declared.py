"""Options, declared once: the annotations of the arguments of methods and of public functions, and of records' fields.

    def rollout(trace, *, fusion: Literal["mean", "max"] = "mean", residual: Annotated[float, Range(0, 1e6)] = 1.0,
                start_block: Annotated[int, Block()] = 0, head: Annotated[int, Head()] | None = None): ...

Python, the shell and lists of methods read the same declaration: what is accepted, what a text stands for, what is
told of it. ``Range`` bounds a number, ``Block``, ``Head`` and ``Patch`` bound a whole number by the model, ``File``
takes an object or the path of its file, ``ReadLater`` leaves a value to the function; ``bool``, ``Literal``, ``None``,
lists, tuples, mappings and classes stand for themselves. A method's argument without annotation accepts what is of its
default's type.

``declared_options`` gives a method's options. A command of the shell reads one argument of the function that it calls:

    option_of(vs.heads.importance, "screen").read("0.2")        # 0.2, checked
    option_of(vs.heads.importance, "screen").accepts()          # "a number above 0 to 1 or None"
    option_of(vs.Protocol, "removal").kinds                     # its words, or the range of a number
    option_of(vs.evaluate, "batch_size").default                # 16
"""

from __future__ import annotations

import difflib
import inspect
import types
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields, is_dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from vitscope.options.annotations import annotation_of
from vitscope.options.bounds import File, Items, Parts, Place, Range, ReadLater
from vitscope.options.kinds import Choice, Instance, Kind, Nothing, Number, Refused, Switch, Text, Whole
from vitscope.options.objects import ANY_NUMBER, Anything, Fixed, Function, Named, Object, Several, accepted

NO_DEFAULT: Any = inspect.Parameter.empty
"""The default of an argument that has none."""


@dataclass(frozen=True)
class Option:
    """One option of a method, or argument of a function, or field of a record: its default and what it accepts."""

    name: str
    default: Any
    kinds: tuple[Kind, ...]

    def check(self, value: Any, anatomy: Parts | None = None) -> Any:
        """The value in its strict form (a float for a number). Raises Refused."""
        return accepted(value, self.kinds, anatomy)

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
        p.name: Option(p.name, p.default, kinds_of(hints.get(p.name, type(p.default)))) for p in parameters
    }


def option_of(owner: Callable[..., Any] | type, name: str) -> Option:
    """What a function says about one of its arguments, or a dataclass about one of its fields.

    Raises KeyError when there is none of that name.
    """
    if isinstance(owner, type) and is_dataclass(owner):
        field = {each.name: each for each in fields(owner)}[name]
        default = NO_DEFAULT if field.default is MISSING else field.default
        return Option(name, default, kinds_of(annotation_of(owner, field.type)))
    parameter = inspect.signature(owner).parameters[name]
    return Option(name, parameter.default, kinds_of(annotation_of(owner, parameter.annotation)))


def short(value: Any) -> str:
    """A value as a message shows it: one line of at most 60 letters."""
    try:
        text = repr(value)
    except Exception:  # an object's own repr, or an int of more digits than Python prints
        text = f"a value of type {type(value).__name__}"
    text = " ".join(text.split())
    return text if len(text) <= 60 else text[:57] + "..."


def kinds_of(hint: Any, marker: Any = None) -> tuple[Kind, ...]:
    """The kinds of values that an annotation stands for."""
    origin, inner = get_origin(hint), get_args(hint)
    named = getattr(origin or hint, "__value__", None)  # of ``type NDArray[T] = ...``, which newer numpy has
    if named is not None:
        return kinds_of(named, marker)
    if origin is Annotated:
        known = [each for each in inner[1:] if isinstance(each, Range | Place | File | ReadLater | Items)]
        return kinds_of(inner[0], known[0] if known else marker)
    if isinstance(marker, ReadLater):
        return (Anything(marker.what),)
    if isinstance(marker, File):
        classes = inner if origin in (Union, types.UnionType) else (hint,)
        return (Instance(tuple(get_origin(each) or each for each in classes), marker.what),)
    if origin in (Union, types.UnionType):
        return tuple(kind for part in inner for kind in kinds_of(part, marker))
    if hint is int:
        place = marker if isinstance(marker, Place) else None
        return (Whole(marker if isinstance(marker, Range) else None, place),)
    if hint is float:
        return (Number(marker if isinstance(marker, Range) else None),)
    if hint in _PLAIN:
        return (_PLAIN[hint],)
    return (_structure(hint, origin, inner, marker),)


_PLAIN: dict[Any, Kind] = {
    bool: Switch(), str: Text(), None: Nothing(), type(None): Nothing(), Any: Anything(), object: Anything(),
    inspect.Parameter.empty: Anything(), Callable: Function(), list: Several(()), dict: Named((), ()),
}  # fmt: skip


def _structure(hint: Any, origin: Any, inner: tuple[Any, ...], marker: Any) -> Kind:
    if origin is Literal:
        return Choice(inner)
    if origin is get_origin(Callable[[], None]):
        return Function()
    if not isinstance(origin or hint, type):
        return Anything()  # type variables and the like
    if origin is None:
        return Object(hint)
    if origin is tuple and Ellipsis not in inner:
        return Fixed(tuple(kinds_of(each, marker) for each in inner))
    items, each = (marker, None) if isinstance(marker, Items) else (ANY_NUMBER, marker)
    if issubclass(origin, Mapping):
        key, item = inner if len(inner) == 2 else (Any, Any)
        return Named(kinds_of(key), kinds_of(item, each), items)
    if origin in (Iterable, Collection) or issubclass(origin, Sequence):
        lazy = origin in (Iterable, Collection)
        return Several(kinds_of(inner[0], each), items, lazy=lazy, fixed=origin is tuple)
    return Object(origin)
