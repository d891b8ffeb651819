"""One thread at a time over the same modules: who works on which, and who waits for whom.

A pass changes flags and hooks of every module and parameter it runs through, so two passes keep apart when they share
any of them: one Vit used by two threads, a backbone under two heads, a model and a wrapper around it, tied weights.
Passes over models that share nothing run side by side. Everything that a pass needs is taken at once; a pass inside
another one (a hook that explains) may wait for a thread that waits for this one, which is refused.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn

from vitscope.errors import TraceError
from vitscope.interruption import held, raise_waiting

_LOOK_AGAIN = 0.1
"""Seconds after which a waiting thread looks whether Ctrl-C was pressed meanwhile."""

_changed = threading.Condition()
_working: list[tuple[int, frozenset[int]]] = []
_waiting: dict[int, frozenset[int]] = {}


@contextmanager
def sole_use(modules: list[nn.Module]) -> Iterator[None]:
    """Wait until no other thread works on any of these modules or their parameters, and keep others off them."""
    parts = frozenset(
        id(part) for module in modules for part in (module, *module._parameters.values()) if part is not None
    )
    me = threading.get_ident()
    entry = (me, parts)
    with held():
        _begin(entry)
        try:
            yield
        finally:
            with _changed:
                _working.remove(entry)
                _changed.notify_all()


def _begin(entry: tuple[int, frozenset[int]]) -> None:
    me, parts = entry
    try:
        while True:
            with _changed:
                if not _in_the_way(me, parts):
                    _working.append(entry)
                    return
                _waiting[me] = parts
                if _waits_for_itself(me):
                    raise TraceError(
                        "two threads wait for each other's models: each runs a pass inside a pass of its own; "
                        "run the inner ones outside of hooks"
                    )
                _changed.wait(_LOOK_AGAIN)
            raise_waiting()
    finally:
        _waiting.pop(me, None)


def _in_the_way(thread: int, parts: frozenset[int]) -> set[int]:
    """The other threads that work on any of these parts."""
    return {other for other, taken in _working if other != thread and not taken.isdisjoint(parts)}


def _waits_for_itself(thread: int) -> bool:
    seen: set[int] = set()
    ahead = _in_the_way(thread, _waiting[thread])
    while ahead:
        other = ahead.pop()
        if other == thread:
            return True
        if other not in seen and other in _waiting:
            seen.add(other)
            ahead |= _in_the_way(other, _waiting[other])
    return False
