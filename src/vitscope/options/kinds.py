"""Kinds of values that an option accepts: numbers, whole numbers, switches, words, None, files."""

from __future__ import annotations

import math
import numbers
import re
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

from vitscope.options.bounds import Parts, Place, Range

WHOLE = re.compile(r"[+-]?[0-9]{1,30}")
DECIMAL = re.compile(r"[+-]?([0-9]{1,30}\.?[0-9]{0,30}|\.[0-9]{1,30})([eE][+-]?[0-9]{1,4})?")


class Refused(Exception):
    """A value is not of this kind; the caller tells which option and what is accepted."""


class Kind(ABC):
    """What one option, or one of its alternatives, accepts."""

    name: str
    """The kind in one word for machines: ``number``, ``integer``, ``boolean``, ``choice``, ``none``, ``file``."""

    @abstractmethod
    def check(self, value: Any, anatomy: Parts | None) -> Any:
        """The value in its strict form. Raises Refused."""

    @abstractmethod
    def read(self, text: str) -> Any:
        """What a text from a command line stands for. Raises Refused."""

    @abstractmethod
    def describe(self, anatomy: Parts | None) -> str:
        """What is accepted, in words."""

    def record(self) -> dict[str, Any]:
        """The same for machines."""
        return {"type": self.name}

    def several(self) -> str:
        """What each item of a list is, in words."""
        return ""


@dataclass(frozen=True)
class Number(Kind):
    """A finite number, kept as a float."""

    range: Range | None = None
    name = "number"

    def check(self, value: Any, anatomy: Parts | None) -> float:
        if isinstance(value, bool) or not isinstance(value, numbers.Real):
            raise Refused
        try:
            number = float(value)
        except OverflowError:  # a whole number of more than 308 digits
            raise Refused from None
        if not math.isfinite(number) or (self.range is not None and number not in self.range):
            raise Refused
        return number

    def read(self, text: str) -> float:
        if DECIMAL.fullmatch(text) is None:
            raise Refused
        return float(text)

    def describe(self, anatomy: Parts | None) -> str:
        return f"a number {self.range}" if self.range is not None else "a finite number"

    def several(self) -> str:
        return f"numbers {self.range}" if self.range is not None else "numbers"

    def record(self) -> dict[str, Any]:
        return {"type": self.name, **_range_record(self.range)}


@dataclass(frozen=True)
class Whole(Kind):
    """A whole number, kept as an int; ``place``: bounded by the model."""

    range: Range | None = None
    place: Place | None = None
    name = "integer"

    def check(self, value: Any, anatomy: Parts | None) -> int:
        if isinstance(value, bool) or not isinstance(value, numbers.Integral):
            raise Refused
        bounds = self.range if self.place is None else self._bounds(anatomy)
        if bounds is not None and int(value) not in bounds:
            raise Refused
        return int(value)

    def _bounds(self, anatomy: Parts | None) -> Range:
        assert self.place is not None
        known = self.place.bounds(anatomy)
        return known or Range(-(2**31) if self.place.negative else 0, 2**31)

    def read(self, text: str) -> int:
        if WHOLE.fullmatch(text) is None:
            raise Refused
        return int(text)

    def describe(self, anatomy: Parts | None) -> str:
        if self.place is None:
            return f"a whole number {self.range}" if self.range is not None else "a whole number"
        known = self.place.bounds(anatomy)
        if known is not None:
            return f"{self.place.what} {known}"
        end = ", negative from the end" if self.place.negative else ""
        return f"{self.place.what}, from 0{end}"

    def several(self) -> str:
        return f"whole numbers {self.range}" if self.range is not None else "whole numbers"

    def record(self) -> dict[str, Any]:
        if self.place is None:
            return {"type": self.name, **_range_record(self.range)}
        word = type(self.place).__name__.lower()
        return {"type": self.name, "of": word, "from_end": self.place.negative}


@dataclass(frozen=True)
class Switch(Kind):
    """True or False."""

    name = "boolean"

    def check(self, value: Any, anatomy: Parts | None) -> bool:
        if not isinstance(value, bool) and type(value).__name__ not in ("bool_", "bool"):  # numpy's
            raise Refused
        return bool(value)

    def read(self, text: str) -> bool:
        known = {"true": True, "false": False}
        if text.lower() not in known:
            raise Refused
        return known[text.lower()]

    def describe(self, anatomy: Parts | None) -> str:
        return "True or False"


@dataclass(frozen=True)
class Choice(Kind):
    """One of some words."""

    words: tuple[str, ...]
    name = "choice"

    def check(self, value: Any, anatomy: Parts | None) -> str:
        if not isinstance(value, str) or value not in self.words:
            raise Refused
        return str(value)

    def read(self, text: str) -> str:
        return text

    def describe(self, anatomy: Parts | None) -> str:
        return " or ".join(f"'{word}'" for word in self.words)

    def several(self) -> str:
        return self.describe(None)

    def record(self) -> dict[str, Any]:
        return {"type": self.name, "choices": list(self.words)}


@dataclass(frozen=True)
class Nothing(Kind):
    """None."""

    name = "none"

    def check(self, value: Any, anatomy: Parts | None) -> None:
        if value is not None:
            raise Refused

    def read(self, text: str) -> None:
        if text.lower() != "none":
            raise Refused

    def describe(self, anatomy: Parts | None) -> str:
        return "None"


@dataclass(frozen=True)
class Text(Kind):
    """Any text."""

    name = "text"

    def check(self, value: Any, anatomy: Parts | None) -> str:
        if not isinstance(value, str):
            raise Refused
        return str(value)

    def read(self, text: str) -> str:
        return text

    def describe(self, anatomy: Parts | None) -> str:
        return "a text"

    def several(self) -> str:
        return "texts"


@dataclass(frozen=True)
class Instance(Kind):
    """A path, or an object that may stand in its place."""

    classes: tuple[type, ...]
    what: str
    name = "file"

    def check(self, value: Any, anatomy: Parts | None) -> Any:
        if not isinstance(value, self.classes) or (isinstance(value, str) and not value):
            raise Refused
        return value

    def read(self, text: str) -> str:
        if str not in self.classes or not text:
            raise Refused
        return text

    def describe(self, anatomy: Parts | None) -> str:
        return self.what


def _range_record(bounds: Range | None) -> dict[str, Any]:
    if bounds is None:
        return {}
    record: dict[str, Any] = {"from": bounds.low, "to": bounds.high}
    record |= {"from_itself": False} if bounds.above else {}
    record |= {"to_itself": False} if bounds.below else {}
    return record if bounds.step == 1 else {**record, "step": bounds.step}
