"""How far long work is: a bar with an estimate where a person watches, a line now and then in a log."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TypeVar

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from vitscope.cli.shared.console import err, note
from vitscope.cli.shared.terminal import escape

Item = TypeVar("Item")


def track(items: Iterable[Item], label: str, total: int) -> Iterator[Item]:
    """Yield the items with a bar and an estimate on stderr; quiet where nobody watches."""
    with Meter(label, total) as advance:
        for item in items:
            yield item
            advance(1)


class Meter:
    """A context that draws a progress bar with an estimate on stderr and yields ``advance(count)``.

    Where stderr is no terminal, a plain line appears every half minute, so that a log shows that work goes on.
    """

    def __init__(self, label: str, total: int) -> None:
        self.label, self.total, self.done, self.before = escape(label), total, 0, 0
        self.started = self.spoken = time.monotonic()
        self.bar: Progress | None = None
        self.task = TaskID(0)

    def __enter__(self) -> Callable[[int], None]:
        if sys.stderr.isatty():
            self.bar = Progress(
                TextColumn("{task.description}", markup=False),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TextColumn("left"),
                TimeRemainingColumn(),
                console=err(),
                transient=True,
            )
            self.bar.start()
            self.task = self.bar.add_task(self.label, total=self.total)
        return self.advance

    def forget(self, count: int) -> None:
        """``count`` were done before this run: they are shown as done, and no estimate is made from them."""
        self.done += count
        self.before += count

    def advance(self, count: int) -> None:
        """Say that ``count`` more are done."""
        self.done += count
        now = time.monotonic()
        if self.bar is not None:
            self.bar.update(self.task, completed=self.done, total=self.total)
        elif now - self.spoken > 30 and self.done > self.before:
            self.spoken = now
            left = (now - self.started) / (self.done - self.before) * max(0, self.total - self.done)
            note(f"{self.label}: {self.done} of {self.total}, about {left:.0f} s left")

    def __exit__(self, *_: object) -> None:
        if self.bar is not None:
            self.bar.stop()


@contextmanager
def reporter(label: str) -> Iterator[Callable[[str, int, int], None]]:
    """A callback (what is done, steps finished, steps in all) for library functions that tell how far they are."""
    with ExitStack() as stack:
        current: list[Meter] = []

        def report(what: str, done: int, total: int) -> None:
            if not current or current[0].label != escape(what or label):
                stack.close()
                current[:] = [Meter(what or label, total)]
                stack.enter_context(current[0])
            meter = current[0]
            meter.total = total
            meter.advance(done - meter.done)

        yield report
