"""The door of the public functions: what a caller passes is what the signature says, or one line tells what it is.

The annotations are the only declaration; ``declared`` reads them, ranges and words included. Numbers may come from
numpy, a list may be a tuple; a text is never taken for a list of letters, nor True for 1. What an annotation leaves
open (``Any``, ``ReadLater``) is the function's own to check.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Hashable
from dataclasses import fields, is_dataclass
from typing import Any, ParamSpec, TypeVar

from vitscope.errors import VitscopeError
from vitscope.options.annotations import annotation_of
from vitscope.options.bounds import Parts
from vitscope.options.declared import Option, kinds_of, option_of, short
from vitscope.options.kinds import Choice, Number, Refused, Whole
from vitscope.options.objects import in_words

P = ParamSpec("P")
R = TypeVar("R")
VAR_KEYWORD, VAR_POSITIONAL = inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL


def checked(problem: type[VitscopeError]) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Check the arguments of the decorated function against its annotations, at each call.

    The function gets them in their strict form: numpy's numbers as Python's, a list that stands for a tuple as one.
    Blocks, heads and patches are bounded by the model of the argument ``vit`` or ``self``.

    Args:
        problem: The class of the error that is raised for an argument that the signature does not accept.

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
        known: dict[str, Option] = {}
        where = f"{function.__name__}()"

        @functools.wraps(function)
        def door(*positional: P.args, **named: P.kwargs) -> R:
            try:
                bound = signature.bind(*positional, **named)
            except TypeError:  # Python itself says best what is wrong with such a call
                return function(*positional, **named)
            for name, value in bound.arguments.items():
                parameter = signature.parameters[name]
                if name in ("self", "cls") or parameter.kind is VAR_KEYWORD or value is parameter.default:
                    continue
                if name not in known:
                    kinds = kinds_of(annotation_of(function, parameter.annotation))
                    known[name] = Option(name, parameter.default, kinds)
                anatomy = _anatomy(bound.arguments) if _asks_the_model(known[name]) else None
                if parameter.kind is VAR_POSITIONAL:
                    strict = tuple(_strict(each, known[name], where, problem, anatomy) for each in value)
                    bound.arguments[name] = strict
                    continue
                bound.arguments[name] = _strict(value, known[name], where, problem, anatomy)
            return function(*bound.args, **bound.kwargs)

        return door

    return decorate


def check_fields(record: Any, problem: type[VitscopeError]) -> None:
    """Check the fields of a record against their annotations, and give them their strict form; for ``__post_init__``.

    Raises ``problem``.
    """
    owner: type = type(record)
    for name, option in _fields(owner).items():
        value = getattr(record, name)
        strict = _strict(value, option, owner.__name__, problem)
        if strict is not value:
            object.__setattr__(record, name, strict)


def check(value: Any, kind: Any, name: str, where: str, problem: type[VitscopeError]) -> Any:
    """The value in its strict form. Raises ``problem`` in one line unless it is what the annotation ``kind`` says."""
    return _strict(value, Option(name, inspect.Parameter.empty, kinds_of(kind)), where, problem)


def check_argument(
    function: Callable[..., Any], name: str, value: Any, problem: type[VitscopeError] = VitscopeError
) -> Any:
    """One argument as the door of ``function`` (or a dataclass) would take it, before it is called.

    Raises ``problem``.
    """
    where = function.__name__ if isinstance(function, type) else f"{function.__name__}()"
    return _strict(value, option_of(function, name), where, problem)


def fits(value: Any, kind: Any) -> bool:
    """Whether a value is what an annotation says; True for what the annotation leaves open."""
    try:
        Option("", None, kinds_of(kind)).check(value)
    except Refused:
        return False
    return True


def describe(kind: Any) -> str:
    """What an annotation accepts, in words."""
    return in_words(kinds_of(kind))


@functools.cache
def _fields(owner: Hashable) -> dict[str, Option]:
    assert isinstance(owner, type) and is_dataclass(owner)
    return {each.name: option_of(owner, each.name) for each in fields(owner)}


def _strict(
    value: Any, option: Option, where: str, problem: type[VitscopeError], anatomy: Parts | None = None
) -> Any:
    try:
        return option.check(value, anatomy)
    except Refused:
        pass
    near = option.nearest(value)
    hint = f"; nearest: '{near}'" if near else _remedy(option)
    raise problem(
        f"{where} expected {option.name} as {in_words(option.kinds, anatomy)}, got {_shown(value)}{hint}"
    )


def _remedy(option: Option) -> str:
    if any(isinstance(kind, Choice) for kind in option.kinds):
        return "; choose one of them"
    ranged = any(isinstance(kind, Number | Whole) and kind.range is not None for kind in option.kinds)
    return "; choose one in between" if ranged else ""


def _asks_the_model(option: Option) -> bool:
    return any(isinstance(kind, Whole) and kind.place is not None for kind in option.kinds)


def _anatomy(arguments: dict[str, Any]) -> Parts | None:
    vit = arguments.get("vit", arguments.get("self"))
    return getattr(vit, "anatomy", None)


def _shown(value: Any) -> str:
    """A value and its type, short enough for a line."""
    name = type(value).__name__
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        return f"{name} {value.dtype} {tuple(value.shape)}"
    return "None" if value is None else f"{short(value)} ({name})"
