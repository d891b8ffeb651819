"""The door of the public functions: what a caller passes is what the signature says, or one line tells what it is.

The annotations are the only declaration. Numbers may come from numpy, a list may be a tuple; a text is never taken for
a list of letters, nor True for 1. What an annotation leaves open (``Any``) is the function's own to check.
"""

from __future__ import annotations

import functools
import inspect
import numbers
import os
import sys
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, ParamSpec, TypeVar, Union, get_args, get_origin

from vitscope.errors import VitscopeError

P = ParamSpec("P")
R = TypeVar("R")

_WORDS: dict[Any, str] = {
    int: "a whole number", float: "a number", str: "a text", bool: "True or False", None: "None", type(None): "None",
    os.PathLike: "a path",
}  # fmt: skip
_MANY: dict[Any, str] = {int: "whole numbers", float: "numbers", str: "texts"}
_LONGEST = 1000
"""Items of a list that are looked at; lists of pictures are long, and a wrong one is wrong from the start."""


def checked(
    problem: type[VitscopeError], *, but: Sequence[str] = ()
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Check the arguments of the decorated function against its annotations, at each call.

    Args:
        problem: The class of the error that is raised for an argument of another type.
        but: Names of arguments that the function checks itself, with better words.

    Example:
        >>> @checked(VitscopeError)
        ... def double(number: int) -> int:
        ...     return 2 * number
        >>> double("three")
        Traceback (most recent call last):
        ...
        vitscope.errors.VitscopeError: double() expected number as a whole number, got 'three' (str)
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        signature = inspect.signature(function)
        kinds: dict[str, Any] = {}
        several = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)

        @functools.wraps(function)
        def door(*positional: P.args, **named: P.kwargs) -> R:
            given = signature.bind(*positional, **named).arguments
            for name, value in given.items():
                parameter = signature.parameters[name]
                if name in but or parameter.kind in several or value is parameter.default:
                    continue
                if name not in kinds:
                    kinds[name] = _resolved(function, parameter.annotation)
                check(value, kinds[name], name, f"{function.__name__}()", problem)
            return function(*positional, **named)

        return door

    return decorate


def check_fields(record: Any, problem: type[VitscopeError]) -> None:
    """Check the fields of a record against their annotations; for ``__post_init__``. Raises ``problem``."""
    for each in record.__dataclass_fields__.values():
        kind = _resolved(type(record), each.type)
        check(getattr(record, each.name), kind, each.name, type(record).__name__, problem)


def check(value: Any, kind: Any, name: str, where: str, problem: type[VitscopeError]) -> None:
    """Raise ``problem`` in one line unless ``value`` is of that kind."""
    if not fits(value, kind):
        raise problem(f"{where} expected {name} as {describe(kind)}, got {_shown(value)}")


def fits(value: Any, kind: Any) -> bool:
    """Whether a value is of the kind that an annotation names; True for what an annotation leaves open."""
    if kind is Any or kind is inspect.Parameter.empty or isinstance(kind, TypeVar):
        return True
    if kind is None or kind is type(None):
        return value is None
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return any(fits(value, each) for each in inner)
    if origin is Literal:
        return any(type(value) is type(each) and value == each for each in inner)
    if kind in (int, float, bool, str):
        return _is_plain(value, kind)
    if origin is Callable or origin is typing.get_origin(Callable[[], None]):
        return callable(value)
    if origin is not None and isinstance(origin, type):
        return _is_several(value, origin, inner)
    if isinstance(kind, type):
        return getattr(kind, "_is_protocol", False) or isinstance(value, kind)
    return True


def describe(kind: Any) -> str:
    """A kind in words."""
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        words = list(dict.fromkeys(describe(each) for each in inner))
        return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"
    if origin is Literal:
        return " or ".join(map(repr, inner))
    if kind in _WORDS or origin in _WORDS:
        return _WORDS[kind if kind in _WORDS else origin]
    if origin is not None and isinstance(origin, type):
        if origin is tuple and Ellipsis not in inner:
            return f"{len(inner)} values ({', '.join(describe(each) for each in inner)})"
        if issubclass(origin, Mapping):
            return "a mapping"
        if origin is typing.get_origin(Callable[[], None]):
            return "a callable"
        return f"a list of {_MANY[inner[0]]}" if inner and inner[0] in _MANY else "a list"
    return f"a {getattr(kind, '__name__', str(kind))}"


def _is_plain(value: Any, kind: type) -> bool:
    truth = isinstance(value, bool) or type(value).__name__ == "bool_" or type(value).__name__ == "bool"
    if kind is bool:
        return truth
    if kind is str:
        return isinstance(value, str)
    return not truth and isinstance(value, numbers.Integral if kind is int else numbers.Real)


def _is_several(value: Any, origin: type, inner: tuple[Any, ...]) -> bool:
    """Lists, tuples, mappings and other generic classes; arrays serve as lists."""
    if issubclass(origin, Mapping):
        if not isinstance(value, Mapping):
            return False
        return len(inner) != 2 or all(
            fits(key, inner[0]) and fits(each, inner[1]) for key, each in list(value.items())[:_LONGEST]
        )
    if origin in (list, tuple, Sequence, Iterable) or issubclass(origin, Sequence):
        if isinstance(value, str | bytes | Mapping) or not hasattr(value, "__iter__"):
            return False
        if origin is Iterable:
            return True
        if not hasattr(value, "__len__") or not hasattr(value, "__getitem__"):
            return False
        if hasattr(value, "dtype"):
            texts = inner[:1] == (str,)  # an array of numbers is no list of names
            return bool(getattr(value, "ndim", 0) > 0) and texts == (getattr(value.dtype, "kind", "f") == "U")
        if origin is tuple and Ellipsis not in inner:
            return len(value) == len(inner) and all(map(fits, value, inner))
        return (
            not inner
            or not isinstance(value, list | tuple)
            or all(fits(e, inner[0]) for e in value[:_LONGEST])
        )
    return isinstance(value, origin)


def _shown(value: Any) -> str:
    """A value and its type, short enough for a line."""
    name = type(value).__name__
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        return f"{name} {value.dtype} {tuple(value.shape)}"
    text = repr(value)
    return f"{text if len(text) <= 60 else text[:57] + '...'} ({name})"


def _resolved(owner: Any, annotation: Any) -> Any:
    """An annotation as an object; one that can only be read by type checkers leaves everything open."""
    if not isinstance(annotation, str):
        return annotation
    names = vars(sys.modules[owner.__module__])
    try:
        return eval(annotation, dict(names))
    except (NameError, TypeError, AttributeError, SyntaxError):
        return Any
