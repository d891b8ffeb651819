"""How many pictures go forward and backward through a model, counted where the passes are."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass
class PassCount:
    """Pictures that went forward, and back. A changed copy of a picture counts as one."""

    forwards: int = 0
    backwards: int = 0


_COUNT: ContextVar[PassCount | None] = ContextVar("passes", default=None)


@contextmanager
def counted_passes() -> Iterator[PassCount]:
    """Count the passes of the block, in this thread.

    Example:
        >>> import vitscope as vs
        >>> vit = vs.open_model("bundled/shapes")
        >>> images = vit.images(vs.worlds.world("shapes").sample(2, seed=1).images())
        >>> _ = vit.trace(images)
        >>> with counted_passes() as count:
        ...     _ = vit.trace(images)
        >>> count
        PassCount(forwards=2, backwards=2)
    """
    count = PassCount()
    token = _COUNT.set(count)
    try:
        yield count
    finally:
        _COUNT.reset(token)


def count_forward(pictures: int) -> None:
    """So many pictures went forward."""
    count = _COUNT.get()
    if count is not None:
        count.forwards += pictures


def count_backward(pictures: int) -> None:
    """So many pictures went back."""
    count = _COUNT.get()
    if count is not None:
        count.backwards += pictures


@contextmanager
def counted_as(pictures: int) -> Iterator[None]:
    """Count so many forwards for the block, whatever it runs: a changed copy is one, though its first blocks are known
    and its last one is run together with others'."""
    count_forward(pictures)
    token = _COUNT.set(None)
    try:
        yield
    finally:
        _COUNT.reset(token)
