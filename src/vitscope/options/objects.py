"""Kinds of values that hold others or do something: lists, tuples, mappings, functions, objects of a class."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vitscope.options.bounds import Items, Parts
from vitscope.options.kinds import Choice, Kind, Refused

ANY_NUMBER = Items()
LONGEST = 1000
"""Items of a list that are looked at; lists of pictures are long, and a wrong one is wrong from the start."""


def accepted(value: Any, kinds: tuple[Kind, ...], anatomy: Parts | None = None) -> Any:
    """The value in the strict form of the first kind that takes it. Raises Refused when none does."""
    for kind in kinds:
        try:
            return kind.check(value, anatomy)
        except Refused:
            continue
    raise Refused


def in_words(kinds: tuple[Kind, ...], anatomy: Parts | None = None) -> str:
    """What one of the kinds accepts: ``a, b or c``."""
    words: dict[str, None] = {}
    for kind in kinds:
        words |= dict.fromkeys(
            map(repr, kind.words) if isinstance(kind, Choice) else [kind.describe(anatomy)]
        )
    *others, last = words
    return f"{', '.join(others)} or {last}" if others else last


class Structure(Kind):
    """What no text of a command line stands for."""

    def read(self, text: str) -> Any:
        raise Refused


@dataclass(frozen=True)
class Several(Structure):
    """A list, a tuple or an array of items; ``lazy``: anything that can be gone through; ``fixed``: kept as a tuple."""

    item: tuple[Kind, ...]
    items: Items = ANY_NUMBER
    lazy: bool = False
    fixed: bool = False
    name = "list"

    def check(self, value: Any, anatomy: Parts | None) -> Any:
        if isinstance(value, str | bytes | Mapping) or not hasattr(value, "__iter__"):
            raise Refused
        if self.lazy:
            return value
        if not hasattr(value, "__len__") or not hasattr(value, "__getitem__"):
            raise Refused
        if hasattr(value, "dtype"):  # an array or a tensor
            if not getattr(value, "ndim", 0):
                raise Refused
            if not any(isinstance(kind, Anything) for kind in self.item):
                value = value.tolist()
        if len(value) < self.items.least:
            raise Refused
        if not isinstance(value, list | tuple):
            return value
        strict = [accepted(each, self.item, anatomy) for each in value[:LONGEST]]
        if self.items.distinct and any(each in strict[:place] for place, each in enumerate(strict)):
            raise Refused
        return (*strict, *value[LONGEST:]) if self.fixed else value

    def describe(self, anatomy: Parts | None) -> str:
        of = " or ".join(dict.fromkeys(filter(None, (kind.several() for kind in self.item))))
        least = {0: [], 1: ["at least one"]}
        ends = least.get(self.items.least, [f"at least {self.items.least}"])
        return ", ".join(
            [f"a list of {of}" if of else "a list", *ends, *(["each once"] if self.items.distinct else [])]
        )

    def several(self) -> str:
        return "lists"


@dataclass(frozen=True)
class Fixed(Structure):
    """So many values, each of its own kind, as a tuple."""

    items: tuple[tuple[Kind, ...], ...]
    name = "values"

    def check(self, value: Any, anatomy: Parts | None) -> tuple[Any, ...]:
        if isinstance(value, str | bytes | Mapping) or not hasattr(value, "__getitem__"):
            raise Refused
        if hasattr(value, "dtype"):  # an array's rows
            if getattr(value, "ndim", 0) != 1:
                raise Refused
            value = value.tolist()
        if not hasattr(value, "__len__") or len(value) != len(self.items):
            raise Refused
        return tuple(accepted(each, kinds, anatomy) for each, kinds in zip(value, self.items, strict=True))

    def describe(self, anatomy: Parts | None) -> str:
        return f"{len(self.items)} values ({', '.join(in_words(kinds, anatomy) for kinds in self.items)})"


@dataclass(frozen=True)
class Named(Structure):
    """A mapping."""

    key: tuple[Kind, ...]
    item: tuple[Kind, ...]
    items: Items = ANY_NUMBER
    name = "mapping"

    def check(self, value: Any, anatomy: Parts | None) -> Any:
        if not isinstance(value, Mapping) or len(value) < self.items.least:
            raise Refused
        for key, each in list(value.items())[:LONGEST]:
            accepted(key, self.key, anatomy)
            accepted(each, self.item, anatomy)
        return value

    def describe(self, anatomy: Parts | None) -> str:
        of = " or ".join(
            dict.fromkeys(filter(None, (kind.several() for kind in self.item if isinstance(kind, Object))))
        )
        return (
            f"a mapping{f' of names to {of}' if of else ''}{', not an empty one' if self.items.least else ''}"
        )


@dataclass(frozen=True)
class Function(Structure):
    """Something that can be called."""

    name = "callable"

    def check(self, value: Any, anatomy: Parts | None) -> Any:
        if not callable(value):
            raise Refused
        return value

    def describe(self, anatomy: Parts | None) -> str:
        return "a function"


@dataclass(frozen=True)
class Object(Structure):
    """An object of a class, or one that has what a Protocol class asks for. A class may name in ``made_by`` which
    function of the public interface gives such objects."""

    of: type
    name = "object"

    def check(self, value: Any, anatomy: Parts | None) -> Any:
        asked = asked_of(self.of)
        if isinstance(value, self.of) if asked is None else all(hasattr(value, each) for each in asked):
            return value
        raise Refused

    def read(self, text: str) -> Any:
        if self.of not in (Path, os.PathLike) or not text:
            raise Refused
        return Path(text)

    def describe(self, anatomy: Parts | None) -> str:
        word = self.of.__name__
        made = getattr(self.of, "made_by", None)
        article = "an" if word[:1] in "AEIOU" else "a"
        return f"{article} {word} ({made})" if isinstance(made, str) else f"{article} {word}"

    def several(self) -> str:
        made = getattr(self.of, "made_by", None)
        return f"{self.of.__name__} objects ({made})" if isinstance(made, str) else ""


@dataclass(frozen=True)
class Anything(Structure):
    """What the function itself reads, or what nothing is said about."""

    what: str = "anything"
    name = "anything"

    def check(self, value: Any, anatomy: Parts | None) -> Any:
        return value

    def describe(self, anatomy: Parts | None) -> str:
        return self.what


def asked_of(protocol: type) -> list[str] | None:
    """The names that a Protocol class asks of an object, None for any other class."""
    if not getattr(protocol, "_is_protocol", False):
        return None
    found: dict[str, None] = {}
    for owner in protocol.__mro__:
        if getattr(owner, "_is_protocol", False):
            found |= dict.fromkeys(getattr(owner, "__annotations__", {}))
            found |= dict.fromkeys(
                each for each in vars(owner) if each == "__call__" or not each.startswith("_")
            )
    return list(found)
