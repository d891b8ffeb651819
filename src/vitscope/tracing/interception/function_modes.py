"""The function modes of this thread, and ours among them: entered for one pass, gone after it to the last one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

from torch import overrides
from torch.overrides import TorchFunctionMode, _get_current_function_mode_stack, _pop_mode, _push_mode

from vitscope.interruption import held


def function_modes() -> list[TorchFunctionMode]:
    """The function modes of this thread, the outermost first."""
    modes: list[TorchFunctionMode] = _get_current_function_mode_stack()
    return modes


def put_function_modes(modes: list[TorchFunctionMode]) -> None:
    """Make these the function modes of this thread, whatever is there now."""
    for _ in function_modes():
        _pop_mode()
    for mode in modes:
        _push_mode(mode)


def serve_without_interruption() -> Callable[[], None]:
    """Let torch's Python functions hold signals while a mode serves them; returns what puts torch's own way back.

    Torch takes the mode off in a generator and puts it on again when that is closed. Interrupted in between, this
    may be long after the pass, when the error's traceback goes: the mode would then stay on for ever."""
    before = getattr(overrides, "_pop_mode_temporarily", None)
    if before is None:
        return lambda: None
    setattr(overrides, "_pop_mode_temporarily", _off_for_one_call)  # noqa: B010 - of another type

    def put_back() -> None:
        setattr(overrides, "_pop_mode_temporarily", before)  # noqa: B010

    return put_back


class _off_for_one_call:
    def __enter__(self) -> Any:
        self._held = held()
        self._held.__enter__()
        self._mode = _pop_mode()
        return self._mode

    def __exit__(self, *_: object) -> None:
        _push_mode(self._mode)
        self._held.__exit__()


class PassMode(TorchFunctionMode):
    """A function mode of one pass. To be entered with signals held.

    Python takes a mode off and puts it on again around each function that it serves. Interrupted in between, the
    stack is one short; so what was there is put back, and not merely popped."""

    def __init__(self) -> None:
        super().__init__()
        self._around: list[TorchFunctionMode] = []

    def __enter__(self) -> Self:
        self._around = function_modes()
        _push_mode(self)
        return self

    def __exit__(self, *_: object) -> None:
        put_function_modes(self._around)
