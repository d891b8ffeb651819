"""Which pass a hook belongs to: a pass and all around it is one scope of one thread; its hooks serve no other.

A scope begins where nothing of ours runs on this thread, or inside a model that is running: a hook of the user's that
calls ``explain`` while its model is being explained begins a scope of its own, in which the outer one's interception
and hooks are still.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import ExitStack
from typing import ParamSpec, TypeVar

from vitscope.interruption import released
from vitscope.tracing.interception.function_modes import PassMode, function_modes, put_function_modes
from vitscope.tracing.interception.multihead import no_watcher

P = ParamSpec("P")
R = TypeVar("R")


class _Thread(threading.local):
    scope: object | None = None
    running = False


_thread = _Thread()


class one_scope:
    """Begin a scope, or go on with the one that this thread is in. To be entered with signals held."""

    def __enter__(self) -> None:
        self._before = _thread.scope, _thread.running
        self._stack = ExitStack()
        if _thread.scope is None or _thread.running:
            modes = function_modes()
            self._stack.callback(put_function_modes, modes)
            put_function_modes([mode for mode in modes if not isinstance(mode, PassMode)])
            self._stack.enter_context(no_watcher())
            _thread.scope = object()
        _thread.running = False

    def __exit__(self, *_: object) -> None:
        _thread.scope, _thread.running = self._before
        self._stack.close()


class running:
    """The model runs: signals are raised at once, and what begins meanwhile is a scope of its own."""

    def __enter__(self) -> None:
        self._before, self._released = _thread.running, released()
        _thread.running = True
        self._released.__enter__()

    def __exit__(self, *_: object) -> None:
        self._released.__exit__()
        _thread.running = self._before


def own(hook: Callable[P, R]) -> Callable[P, R | None]:
    """The hook for passes of the scope that registers it; None, which changes nothing, for any other run."""
    scope = _thread.scope

    def call(*args: P.args, **kwargs: P.kwargs) -> R | None:
        return hook(*args, **kwargs) if is_current(scope) else None

    return call


def current_scope() -> object | None:
    """A sign for the scope that this thread is in, None outside."""
    return _thread.scope


def is_current(scope: object | None) -> bool:
    """True when this thread is in that scope."""
    return _thread.scope is scope
