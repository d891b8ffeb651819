"""What bounds an option's value: written into the annotations of arguments and fields (see ``declared``)."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, Protocol


class Site(Protocol):
    """What a bound asks of an attention site."""

    @property
    def kind(self) -> str: ...


class Layout(Protocol):
    """What a bound asks of a token layout."""

    @property
    def patches(self) -> int: ...


class Parts(Protocol):
    """What a bound asks of a model: how many blocks, heads and patches it has. An ``Anatomy`` is one."""

    @property
    def blocks(self) -> Sequence[object]: ...
    @property
    def block_sites(self) -> Sequence[Site]: ...
    @property
    def heads(self) -> int | None: ...
    @property
    def layout(self) -> Layout | None: ...


@dataclass(frozen=True)
class Range:
    """A number from ``low`` to ``high``; ``above``: low itself is left out; ``below``: high itself is; ``step``: only
    every so many."""

    low: float
    high: float
    above: bool = False
    below: bool = False
    step: int = 1

    def __contains__(self, value: float) -> bool:
        over = value > self.low if self.above else value >= self.low
        under = value < self.high if self.below else value <= self.high
        return bool(over and under and (self.step == 1 or (value - self.low) % self.step == 0))

    def __str__(self) -> str:
        low = f"above {plain(self.low)}" if self.above else f"from {plain(self.low)}"
        high = f"below {plain(self.high)}" if self.below else plain(self.high)
        return f"{low} to {high}" if self.step == 1 else f"{low} to {high} in steps of {self.step}"


class Place(ABC):
    """A whole number that is bounded by what the model has."""

    what: str

    @abstractmethod
    def count(self, anatomy: Parts) -> int | None:
        """How many there are, None where the model does not tell."""

    @property
    def negative(self) -> bool:
        """True where negative numbers count from the end."""
        return False

    def bounds(self, anatomy: Parts | None) -> Range | None:
        """What is accepted on this model."""
        count = None if anatomy is None else self.count(anatomy)
        return None if not count else Range(-count if self.negative else 0, count - 1)


@dataclass(frozen=True)
class Block(Place):
    """A block, counted from 0. ``attending``: among those whose attention has token rows, which is all of them in
    most models. ``from_end``: negative numbers count from the end."""

    attending: bool = True
    from_end: bool = False
    what = "a block of the model"

    @property
    def negative(self) -> bool:
        return self.from_end

    def count(self, anatomy: Parts) -> int | None:
        if not self.attending:
            return len(anatomy.blocks)
        return sum(site.kind in ("self", "class") for site in anatomy.block_sites)


@dataclass(frozen=True)
class Head(Place):
    """A head, counted from 0."""

    what = "a head of the model"

    def count(self, anatomy: Parts) -> int | None:
        return anatomy.heads


@dataclass(frozen=True)
class Patch(Place):
    """A patch, counted from 0 row by row."""

    what = "a patch of the picture, row by row"

    def count(self, anatomy: Parts) -> int | None:
        return None if anatomy.layout is None else anatomy.layout.patches


@dataclass(frozen=True)
class File:
    """A path or a name, or an object of the annotated class in its place; an empty text is none."""

    what: str


@dataclass(frozen=True)
class Items:
    """A list of at least so many items; ``distinct``: none of them twice."""

    least: int = 0
    distinct: bool = False


@dataclass(frozen=True)
class ReadLater:
    """Many forms are accepted and told apart where they are read, which refuses a wrong one in better words."""

    what: str


Seed = Annotated[int, Range(0, 2**32 - 1)]
"""The seed of random draws."""
Weight = Annotated[float, Range(0, 1_000_000)]
"""The weight of a residual connection and the like: larger ones leave nothing of the rest in float32."""
Share = Annotated[float, Range(0, 1, below=True)]
"""A share that is never the whole."""
PositiveShare = Annotated[float, Range(0, 1, above=True)]
"""A share that is never nothing."""
StartBlock = Annotated[int, Block()]
"""The first block of a chain."""
BatchSize = Annotated[int, Range(1, 65_536)]
"""Pictures, or changed copies of them, that a model sees at once."""
Count = Annotated[int, Range(1, 1_000_000)]
"""Of repetitions, maps, epochs, orders: more is a slip of the finger, and the run would not end."""
Folder = Annotated[str | os.PathLike[str], File("the path of a folder")]
"""Where something is kept between runs."""
FilePath = Annotated[str | os.PathLike[str], File("the path of a file")]
"""Where something is written to or read from."""
Names = Annotated[Sequence[str], Items(1, distinct=True)]
"""Some of what has a name, each once."""
Precision = Literal["float32", "bf16", "fp16"]
"""In which numbers a pass runs."""


def plain(number: float) -> str:
    """A bound as a message shows it: ``1,000,000`` or ``0.5``."""
    return f"{number:,}" if isinstance(number, int) else f"{number:g}"
