"""Ctrl-C waits while something is set up or put back, and is raised as soon as that is done.

Python raises KeyboardInterrupt between any two steps of the main thread, so also in the middle of an undo. Inside
``held`` signals that may raise are noted and raised when the block ends; inside ``released``, where the long work
is, they are raised at once. Together they make an undo that nothing can cut short::

    with held():
        change()
        try:
            with released():
                work()
        finally:
            put_back()

Signals reach the main thread only; on other threads both do nothing.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import FrameType

HELD = tuple(
    getattr(signal, name)
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGALRM", "SIGUSR1", "SIGUSR2")
    if hasattr(signal, name)
)
"""Signals whose handlers are known to raise: Ctrl-C, a request to end, and the usual clocks for a time limit."""

Handler = Callable[[int, FrameType | None], object]


@dataclass
class _Desk:
    """What the main thread holds at the moment. ``handlers`` is empty when nothing is held."""

    shut: bool = False
    waiting: list[int] = field(default_factory=list)
    handlers: dict[int, Handler] = field(default_factory=dict)

    def take(self, number: int, frame: FrameType | None) -> None:
        """Stands in for every handler that is held."""
        if self.shut:
            if number not in self.waiting:
                self.waiting.append(number)
            return
        # whatever the handler raises is now on its way through the undoing, which a second signal must not cut short
        self.shut = True
        self.handlers[number](number, frame)
        self.shut = False

    def deliver(self) -> None:
        """Let everything that waits happen, one after the other."""
        if self.waiting:
            number = self.waiting.pop(0)
            try:
                signal.raise_signal(number)
            finally:
                self.deliver()


_desk = _Desk()


def _on_main_thread() -> bool:
    return threading.get_ident() == threading.main_thread().ident


class held:
    """Signals that may raise wait until the block ends, or until a ``released`` inside it."""

    def __enter__(self) -> None:
        self._here = _on_main_thread()
        if not self._here:
            return
        self._outermost = not _desk.handlers
        self._shut = _desk.shut
        _desk.shut = True
        if self._outermost:
            _desk.waiting.clear()
            try:
                for number in HELD:
                    handler = signal.getsignal(number)
                    if callable(handler):  # not the system's own way, and not ignored
                        _desk.handlers[number] = handler
                        signal.signal(number, _desk.take)
            except BaseException:
                self._give_back()
                raise

    def __exit__(self, *_: object) -> None:
        if not self._here:
            return
        if self._outermost:
            self._give_back()
            _desk.shut = False
            _desk.deliver()
        else:
            _desk.shut = self._shut
            if not _desk.shut:
                _desk.deliver()

    @classmethod
    def _give_back(cls) -> None:
        """Every handler where it was; a signal that comes in between meets either its own handler or ours."""
        try:
            while _desk.handlers:
                number, handler = next(reversed(_desk.handlers.items()))
                signal.signal(number, handler)
                del _desk.handlers[number]
        except BaseException:  # a signal whose handler was back already
            cls._give_back()
            raise


class released:
    """Inside ``held``: signals are raised at once, those that waited first."""

    def __enter__(self) -> None:
        self._here = _on_main_thread() and bool(_desk.handlers)
        if self._here:
            self._shut = _desk.shut
            _desk.shut = False
            _desk.deliver()

    def __exit__(self, *_: object) -> None:
        if self._here:
            _desk.shut = self._shut


@contextlib.contextmanager
def ended_gently() -> Iterator[None]:
    """A request to end the process (SIGTERM) is answered as Ctrl-C is while the block runs: what was begun is undone.

    Somebody else's answer to it stays; so does everything on other threads.
    """
    if not _on_main_thread() or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def raise_waiting() -> None:
    """Raise what waits, from inside ``held``: for a place that may have to wait long and has changed nothing yet."""
    if _on_main_thread() and _desk.handlers and _desk.waiting:
        with released():
            pass
