"""Set a model and the process up for one observed pass, and put everything back afterwards.

Ctrl-C waits from the first change to the last undo, but for the time in which the model itself runs (``running``).
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
from torch import nn

from vitscope.errors import TraceError
from vitscope.interruption import held
from vitscope.tracing.calls.callers_switches import callers_switches_aside, models_default_dtype
from vitscope.tracing.calls.exclusion import sole_use
from vitscope.tracing.calls.recomputing import stop_recomputing
from vitscope.tracing.calls.scope import one_scope
from vitscope.tracing.calls.while_running import PutBack, WhileRunning
from vitscope.tracing.interception.function_modes import serve_without_interruption

AUTOCAST: dict[str, torch.dtype] = {"bf16": torch.bfloat16, "fp16": torch.float16}


def _turn_switches() -> list[PutBack]:
    """No fast path of attention, nothing recomputed, nothing compiled."""
    fast_path = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    put_back: list[PutBack] = [
        partial(torch.backends.mha.set_fastpath_enabled, fast_path),
        stop_recomputing(),
        serve_without_interruption(),
    ]
    if "torch._dynamo" in sys.modules:  # else nothing is compiled; its import takes seconds
        stance: Any = torch.compiler.set_stance("force_eager")
        stance.__enter__()
        put_back.append(partial(stance.__exit__, None, None, None))
    return put_back


_switches = WhileRunning(_turn_switches)


@contextmanager
def exclusive(model: nn.Module) -> Iterator[list[nn.Module]]:
    """One pass at a time over one model, and over all that share parts with it: flags and hooks are the pass's own.

    Gives the model's modules. Signals that may raise are held inside; put long work under ``released``."""
    with held():
        modules = _modules_of(model)
        with sole_use(modules), one_scope():
            yield modules


def _modules_of(model: nn.Module) -> list[nn.Module]:
    """``list(model.modules())`` without its generators inside generators: every pass of a short run waits for it."""
    found: dict[int, nn.Module] = {}
    waiting = [model]
    while waiting:
        module = waiting.pop()
        if id(module) not in found:
            found[id(module)] = module
            waiting += [each for each in reversed(list(module._modules.values())) if each is not None]
    return list(found.values())


@contextmanager
def quiet(model: nn.Module, *, gradient: bool, precision: str = "float32") -> Iterator[None]:
    """Evaluation mode, frozen parameters, no MHA fast path, compiled parts run eagerly, nothing recomputed on the way
    back, none of the caller's switches; all restored on exit.

    Frozen parameters halve the cost of a backward: only the way to the activations is differentiated. Signals are
    held inside; let the model run under ``running``."""
    with exclusive(model) as modules, _switches, callers_switches_aside(), ExitStack() as stack:
        parameters = {
            id(p): p for module in modules for p in module._parameters.values() if p is not None
        }.values()
        if gradient and any(p.is_inference() for p in parameters):
            raise TraceError(
                "the model's parameters were made under torch.inference_mode, so no gradient can pass them; "
                "create or load the model outside torch.inference_mode"
            )
        training = [module for module in modules if module.training]
        frozen = [p for p in parameters if p.requires_grad and not p.is_inference()]
        floating = next((p.dtype for p in parameters if p.is_floating_point()), torch.float32)
        try:
            for module in training:
                module.training = False
            for parameter in frozen:
                parameter.requires_grad_(False)
            stack.enter_context(torch.set_grad_enabled(gradient))
            stack.enter_context(models_default_dtype(floating))
            if precision != "float32":
                device = next((p.device.type for p in parameters), "cpu")
                stack.enter_context(torch.autocast(device, dtype=AUTOCAST[precision]))
            yield
        finally:
            for parameter in frozen:
                parameter.requires_grad_(True)
            for module in training:
                module.training = True
