"""What the server and the model's process tell each other."""

from __future__ import annotations

from dataclasses import dataclass

from vitscope.app.model.answer import Answer
from vitscope.app.model.asked import Asked
from vitscope.app.model.facts import Facts


@dataclass(frozen=True)
class Order:
    """To the model's process: answer this."""

    job: int
    asked: Asked


@dataclass(frozen=True)
class Stop:
    """To the model's process: end this job wherever it is; nothing happens where it is over."""

    job: int


@dataclass(frozen=True)
class End:
    """To the model's process: nobody waits for anything any more."""


@dataclass(frozen=True)
class Refused:
    """From it, once, in the place of ``Facts``: the model cannot be opened."""

    message: str


@dataclass(frozen=True)
class Advanced:
    """From it: how far a job is."""

    job: int
    stage: str
    done: int
    total: int


@dataclass(frozen=True)
class Done:
    """From it: the answer. seconds: what it took."""

    job: int
    answer: Answer
    seconds: float


@dataclass(frozen=True)
class Failed:
    """From it: why there is none. kind: ``cancelled``, ``input`` (what was asked cannot be done), ``extra`` (a package
    is missing), ``memory`` or ``bug``."""

    job: int
    kind: str
    message: str


Message = Facts | Refused | Advanced | Done | Failed
