"""Set a model and the process up for one observed pass, and put everything back afterwards."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import nn

from vitscope.errors import TraceError

AUTOCAST: dict[str, torch.dtype] = {"bf16": torch.bfloat16, "fp16": torch.float16}


class _Switches:
    """Process-wide switches, turned while any pass of any thread runs and turned back when the last one ends."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running = 0
        self._fast_path = True
        self._stance: Any = None

    def __enter__(self) -> None:
        with self._lock:
            if self._running == 0:
                self._fast_path = torch.backends.mha.get_fastpath_enabled()
                torch.backends.mha.set_fastpath_enabled(False)
                if "torch._dynamo" in sys.modules:  # else nothing is compiled; its import takes seconds
                    self._stance = torch.compiler.set_stance("force_eager")
                    self._stance.__enter__()
            self._running += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._running -= 1
            if self._running == 0:
                torch.backends.mha.set_fastpath_enabled(self._fast_path)
                if self._stance is not None:
                    self._stance.__exit__(None, None, None)
                    self._stance = None


_switches = _Switches()
_locks: WeakKeyDictionary[nn.Module, threading.RLock] = WeakKeyDictionary()
_locks_lock = threading.Lock()


@contextmanager
def exclusive(model: nn.Module) -> Iterator[None]:
    """One pass at a time over one model: its flags and hooks are the pass's own meanwhile."""
    with _locks_lock:
        lock = _locks.setdefault(model, threading.RLock())
    with lock:
        yield


@contextmanager
def quiet(model: nn.Module, *, gradient: bool, precision: str = "float32") -> Iterator[None]:
    """Evaluation mode, frozen parameters, no MHA fast path, compiled parts run eagerly; all restored on exit.

    Frozen parameters halve the cost of a backward: only the way to the activations is differentiated. A caller's
    ``torch.inference_mode`` is left for the length of the pass, since nothing can be differentiated inside it."""
    if gradient and any(p.is_inference() for p in model.parameters()):
        raise TraceError(
            "the model's parameters were made under torch.inference_mode, so no gradient can pass them; "
            "create or load the model outside torch.inference_mode"
        )
    with exclusive(model), _switches, ExitStack() as stack:
        training = [module for module in model.modules() if module.training]
        frozen = [p for p in model.parameters() if p.requires_grad and not p.is_inference()]
        try:
            for module in training:
                module.training = False
            for parameter in frozen:
                parameter.requires_grad_(False)
            stack.enter_context(torch.inference_mode(False))
            stack.enter_context(torch.set_grad_enabled(gradient))
            if precision != "float32":
                device = next((p.device.type for p in model.parameters()), "cpu")
                stack.enter_context(torch.autocast(device, dtype=AUTOCAST[precision]))
            yield
        finally:
            for parameter in frozen:
                parameter.requires_grad_(True)
            for module in training:
                module.training = True
