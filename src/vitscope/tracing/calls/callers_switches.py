"""Keep the caller's torch switches out of a call: autocast, no_grad and defaults change no result.

Autocast, inference mode, ``no_grad``, a default dtype, a default device and leave to round float32 change what torch
computes without any argument saying so. Inside they are as in a fresh process, and afterwards as the caller had them.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import ParamSpec, TypeVar

import torch
from torch.utils._device import DeviceContext

from vitscope.interruption import held, released
from vitscope.tracing.calls.while_running import PutBack, WhileRunning
from vitscope.tracing.calls.whole_float32 import WholeFloat32, is_whole
from vitscope.tracing.interception.function_modes import function_modes, put_function_modes

P = ParamSpec("P")
R = TypeVar("R")

AUTOCAST_DEVICES = ("cpu", "cuda", "mps", "xpu")


class _DefaultDtype(WhileRunning):
    """The process's default dtype: float32 as long as any call of ours runs, on whichever thread."""

    def __init__(self) -> None:
        super().__init__(self._to_float32)
        self._before = torch.float32

    def _to_float32(self) -> list[PutBack]:
        self._before = torch.get_default_dtype()
        torch.set_default_dtype(torch.float32)
        return [functools.partial(torch.set_default_dtype, self._before)]

    def callers(self) -> torch.dtype:
        """What it was before."""
        return self._before if self._running else torch.get_default_dtype()


_default_dtype = _DefaultDtype()
_whole_float32 = WholeFloat32()


def unaffected(function: Callable[P, R]) -> Callable[P, R]:
    """A function whose result does not depend on the caller's switches, and which leaves them as they are.

    Also when it is interrupted: torch's own ``no_grad`` may be left on then, and is put back here."""

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        if _thread.inside and _is_fresh():
            return function(*args, **kwargs)
        with held(), callers_switches_aside(), released():
            return function(*args, **kwargs)

    return call


class _Thread(threading.local):
    inside = False


_thread = _Thread()


@contextmanager
def callers_switches_aside() -> Iterator[None]:
    """As in a fresh process, until the block ends. To be entered with signals held."""
    with ExitStack() as stack:
        stack.callback(setattr, _thread, "inside", _thread.inside)
        _thread.inside = True
        stack.enter_context(_default_dtype)
        stack.enter_context(_whole_float32)
        modes = function_modes()
        stack.callback(put_function_modes, modes)
        if any(isinstance(mode, DeviceContext) for mode in modes):
            put_function_modes([mode for mode in modes if not isinstance(mode, DeviceContext)])
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.set_grad_enabled(True))
        for device in _autocasting():
            stack.enter_context(torch.autocast(device, enabled=False))
        yield


@contextmanager
def models_default_dtype(dtype: torch.dtype) -> Iterator[None]:
    """While the model itself runs: the caller's default dtype where it is the model's own, else float32.

    A model that was made under float64 may count on it for the tensors that its forward makes."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype if dtype == _default_dtype.callers() else torch.float32)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def _autocasting() -> list[str]:
    return [device for device in AUTOCAST_DEVICES if torch.is_autocast_enabled(device)]


def _is_fresh() -> bool:
    return (
        _default_dtype.callers() is torch.float32
        and torch.is_grad_enabled()
        and not torch.is_inference_mode_enabled()
        and not any(isinstance(mode, DeviceContext) for mode in function_modes())
        and not _autocasting()
        and is_whole()
    )
