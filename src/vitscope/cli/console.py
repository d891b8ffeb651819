"""Where words go: results on stdout, everything said on the way (progress, skipped pictures) on stderr."""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from vitscope.storage.files import make_folder as output_folder

__all__ = [
    "Meter", "emit_json", "err", "note", "out", "output_folder", "plain", "reporter", "table", "track",
]  # fmt: skip

Item = TypeVar("Item")


def out() -> Console:
    """The console of results; made anew so that a redirected stdout is respected."""
    return Console(file=sys.stdout, highlight=False, soft_wrap=not sys.stdout.isatty())


def err() -> Console:
    """The console of progress and notes."""
    return Console(file=sys.stderr, highlight=False, soft_wrap=True)


def note(message: str) -> None:
    """One line on stderr."""
    err().print(message, markup=False)


def emit_json(document: Any) -> None:
    """Write one JSON document on stdout; numbers that JSON does not have become null."""
    sys.stdout.write(json.dumps(plain(document), indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def plain(value: Any) -> Any:
    """Records, arrays, tensors and paths as what JSON knows."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    if isinstance(value, bool | str) or value is None:
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    return str(value)


def table(columns: Iterable[str], rows: Iterable[Iterable[Any]], title: str | None = None) -> None:
    """Print a table on stdout, as wide as its terminal, or as wide as it likes where there is none."""
    console = out()
    if not sys.stdout.isatty():
        console.width = 200
    drawn = Table(title=title, title_justify="left", header_style="bold", box=None, pad_edge=False)
    for index, column in enumerate(columns):
        drawn.add_column(column, no_wrap=index == 0, overflow="fold")
    for row in rows:
        drawn.add_row(*(str(cell) for cell in row))
    console.print(drawn, markup=False)


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
        self.label, self.total, self.done, self.before = label, total, 0, 0
        self.started = self.spoken = time.monotonic()
        self.bar: Progress | None = None
        self.task: Any = None

    def __enter__(self) -> Callable[[int], None]:
        if sys.stderr.isatty():
            self.bar = Progress(
                TextColumn("{task.description}"),
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
        current: list[Any] = ["", None]

        def report(what: str, done: int, total: int) -> None:
            if current[0] != what or current[1] is None:
                stack.close()
                current[:] = [what, Meter(what or label, total)]
                stack.enter_context(current[1])
            meter: Meter = current[1]
            meter.total = total
            meter.advance(done - meter.done)

        yield report
