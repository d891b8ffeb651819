"""How far long work is: the library's bar, on the stream of notes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

from vitscope.cli.shared.console import err
from vitscope.progress import Bar, bar

Item = TypeVar("Item")


def watching(title: str = "") -> Bar:
    """The bar of a command, to be used in a ``with`` block and passed to the library as ``progress``."""
    return bar(title, console=err())


def track(items: Iterable[Item], label: str, total: int) -> Iterator[Item]:
    """Yield the items with a bar and an estimate on stderr; quiet where nobody watches."""
    with watching() as progress:
        progress.stage(label, total)
        for item in items:
            yield item
            progress.advance()
