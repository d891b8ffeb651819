"""Where words go: results on stdout, everything said on the way (progress, skipped pictures) on stderr."""

from __future__ import annotations

import io
import math
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from vitscope.cli.shared.terminal import escape, json_text
from vitscope.storage.files import make_folder as output_folder

__all__ = ["busy", "emit_json", "err", "note", "out", "output_folder", "plain", "quiet", "say", "table"]


_QUIET: ContextVar[bool] = ContextVar("quiet", default=False)


@contextmanager
def quiet(wanted: bool) -> Iterator[None]:
    """With ``wanted`` nothing is said meanwhile, on either stream; JSON documents and errors are."""
    token = _QUIET.set(wanted)
    try:
        yield
    finally:
        _QUIET.reset(token)


def out() -> Console:
    """The console of results; made anew so that a redirected stdout is respected."""
    if _QUIET.get():
        return Console(file=io.StringIO())
    return Console(
        file=sys.stdout, highlight=False, markup=False, emoji=False, soft_wrap=not sys.stdout.isatty()
    )


def err() -> Console:
    """The console of progress and notes."""
    if _QUIET.get():
        return Console(file=io.StringIO())
    return Console(file=sys.stderr, highlight=False, markup=False, emoji=False, soft_wrap=True)


def say(line: str = "") -> None:
    """One line on stdout; names of files and classes in it cannot steer the terminal, nor start a line of their own."""
    out().print(escape(line))


def note(line: str) -> None:
    """One line on stderr, as safe as on stdout."""
    err().print(escape(line))


@contextmanager
def busy(words: str) -> Iterator[None]:
    """A progress note on stderr while something takes long; nothing without a terminal."""
    with err().status(Text(escape(words))):
        yield


def emit_json(document: Any) -> None:
    """Write one JSON document on stdout; numbers that JSON does not have become null."""
    sys.stdout.write(json_text(plain(document)) + "\n")


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
    heading = None if title is None else Text(escape(title))
    drawn = Table(title=heading, title_justify="left", header_style="bold", box=None, pad_edge=False)
    for index, column in enumerate(columns):
        drawn.add_column(Text(escape(column)), no_wrap=index == 0, overflow="fold")
    for row in rows:
        drawn.add_row(*(Text(escape(str(cell))) for cell in row))
    console.print(drawn)
