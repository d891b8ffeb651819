"""The function modes of this thread, and ours among them: entered for one pass, gone after it to the last one."""

from __future__ import annotations

from typing import Self

from torch.overrides import TorchFunctionMode, _get_current_function_mode_stack, _pop_mode, _push_mode


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
