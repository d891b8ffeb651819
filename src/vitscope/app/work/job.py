"""One question that is being answered, and everybody who waits for it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Literal

from vitscope.app.model.answer import Answer
from vitscope.app.model.asked import Asked

State = Literal["waiting", "running", "done", "failed", "cancelled"]
LIVE: tuple[State, ...] = ("waiting", "running")


class JobFailed(Exception):
    """There is no answer. kind: as of ``messages.Failed``, or ``died`` where the process ended. message: one line."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


@dataclass(eq=False)
class Job:
    """A question on its way. number: counted from 1. tag: equal for equal questions. waiting: how many wait for it.
    stage, done, total: how far it is. seconds: what it took."""

    number: int
    tag: str
    asked: Asked
    expected: float
    answer: asyncio.Future[Answer]
    state: State = "waiting"
    stage: str = ""
    done: int = 0
    total: int = 0
    message: str = ""
    seconds: float | None = None
    waiting: int = 0
    stopping: bool = field(default=False)

    @property
    def live(self) -> bool:
        """Whether it is not over."""
        return self.state in LIVE
