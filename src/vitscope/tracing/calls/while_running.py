"""Process-wide switches: turned when the first of ours begins, on whichever thread, and back when the last one ends."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

PutBack = Callable[[], None]


class WhileRunning:
    """A block that any number of threads may be in at once. To be entered with signals held.

    Args:
        turn: Turns the switches; gives what puts them back, in that order.
    """

    def __init__(self, turn: Callable[[], Sequence[PutBack]]) -> None:
        self._turn = turn
        self._lock = threading.Lock()
        self._running = 0
        self._put_back: Sequence[PutBack] = ()

    def __enter__(self) -> None:
        with self._lock:
            if self._running == 0:
                self._put_back = self._turn()
            self._running += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._running -= 1
            if self._running == 0:
                for put_back in self._put_back:
                    put_back()
