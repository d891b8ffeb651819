"""Imports without torch's compiler, which is half of what a first map would wait for.

Two lines of others import ``torch._dynamo``, and sympy with it, long before anything is compiled: torchvision takes one
function of ``torch._dynamo.utils``, which it asks before it pools regions, and timm marks one function as not to be
compiled, by ``torch.compiler.disable``. Here the question is put when torchvision asks it, and the mark is that of
``torch._compile``, with which torch marks its own: it imports the compiler when the function is called.
"""

from __future__ import annotations

import importlib
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import torch
from torch._compile import _disable_dynamo

COMPILER, ASKED = "torch._dynamo", "torch._dynamo.utils"
_one_at_a_time = threading.RLock()


class _Deferred(ModuleType):
    """Stands for ``torch._dynamo.utils``; whatever but the one question is asked of it is the real module's answer."""

    @staticmethod
    def is_compile_supported(device_type: str) -> bool:
        """The real one's answer, when it is asked for."""
        return bool(_real().is_compile_supported(device_type))

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # what the import system asks of any module
            raise AttributeError(name)
        return getattr(_real(), name)


@contextmanager
def without_compiler() -> Iterator[None]:
    """What is imported inside does not import torch's compiler, unless it needs it at once.

    Nothing is changed where the compiler is there already, and everything is as before afterwards.

    Example:
        >>> with without_compiler():
        ...     import timm
    """
    with _one_at_a_time:
        if COMPILER in sys.modules or isinstance(sys.modules.get(ASKED), _Deferred):
            yield
            return
        marking = torch.compiler.disable
        sys.modules[ASKED] = _Deferred(ASKED)
        torch.compiler.disable = _marked
        try:
            yield
        finally:
            torch.compiler.disable = marking
            _remove()


def _marked(
    fn: Callable[..., Any] | None = None, recursive: bool = True, *, reason: str | None = None
) -> Any:
    """``torch.compiler.disable`` as torch uses it for its own functions. The reason is for the compiler's log alone."""
    return _disable_dynamo(fn, recursive)


def _remove() -> None:
    if isinstance(sys.modules.get(ASKED), _Deferred):
        del sys.modules[ASKED]


def _real() -> Any:
    _remove()
    return importlib.import_module(ASKED)
