"""The methods and their options, as the registry declares them."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel


class OptionKind(BaseModel):
    """One kind of values that an option accepts: ``number``, ``integer``, ``boolean``, ``choice``, ``file`` ...;
    ``of``: what of the model a whole number names."""

    kind: str
    low: float | None
    high: float | None
    low_excluded: bool
    high_excluded: bool
    step: float | None
    choices: list[Any] | None
    of: str | None


class OptionAbout(BaseModel):
    """An option. ``kind``, ``low``, ``high`` and ``choices`` are those of the first of its ``kinds``; ``optional``:
    null is accepted; ``settable``: whether a page may set it."""

    name: str
    default: Any
    accepts: str
    optional: bool
    settable: bool
    kinds: list[OptionKind]
    kind: str
    low: float | None
    high: float | None
    step: float | None
    choices: list[Any] | None


class MethodAbout(BaseModel):
    """A method. ``forwards`` and ``backwards``: passes over one picture, in proportion to the option ``passes_by``
    where there is one, of which they hold at ``passes_at``; ``reason``: why it does not apply."""

    name: str
    title: str
    family: str
    summary: str
    formula: str
    citation: str
    signed: bool
    class_specific: bool
    has_flow: bool
    accumulates: bool
    forwards: float
    backwards: float
    passes_by: str | None
    passes_at: int | None
    applies: bool
    reason: str | None
    options: list[OptionAbout]


class Methods(BaseModel):
    """All of them, and the one that is used where none is named."""

    default: str
    methods: list[MethodAbout]


class Estimate(BaseModel):
    """What a map will cost; ``seconds`` from passes measured here, 0 where the answer is kept."""

    method: str
    forwards: float
    backwards: float
    seconds: float
    kept: bool
