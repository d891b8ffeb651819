"""Set a model and the process up for one observed pass, and put everything back afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import nn

from vitscope.errors import TraceError

AUTOCAST: dict[str, torch.dtype] = {"bf16": torch.bfloat16, "fp16": torch.float16}


@contextmanager
def quiet(model: nn.Module, *, gradient: bool, precision: str = "float32") -> Iterator[None]:
    """Evaluation mode, frozen parameters, no MHA fast path, compiled parts run eagerly; all restored on exit.

    Frozen parameters halve the cost of a backward: only the way to the activations is differentiated. A caller's
    ``torch.inference_mode`` is left for the length of the pass, since nothing can be differentiated inside it."""
    training = [module for module in model.modules() if module.training]
    frozen = [parameter for parameter in model.parameters() if parameter.requires_grad]
    fast_path = torch.backends.mha.get_fastpath_enabled()
    if gradient and any(p.is_inference() for p in model.parameters()):
        raise TraceError(
            "the model's parameters were made under torch.inference_mode, so no gradient can pass them; "
            "create or load the model outside torch.inference_mode"
        )
    with ExitStack() as stack:
        try:
            for module in training:
                module.training = False
            for parameter in frozen:
                parameter.requires_grad_(False)
            torch.backends.mha.set_fastpath_enabled(False)
            stack.enter_context(torch.compiler.set_stance("force_eager"))
            stack.enter_context(torch.inference_mode(False))
            stack.enter_context(torch.set_grad_enabled(gradient))
            if precision != "float32":
                device = next((p.device.type for p in model.parameters()), "cpu")
                stack.enter_context(torch.autocast(device, dtype=AUTOCAST[precision]))
            yield
        finally:
            torch.backends.mha.set_fastpath_enabled(fast_path)
            for parameter in frozen:
                parameter.requires_grad_(True)
            for module in training:
                module.training = True


def unwrap(model: nn.Module) -> nn.Module:
    """The eager model behind ``torch.compile`` or ``DataParallel``; scripted models are refused."""
    while True:
        if isinstance(model, torch.jit.ScriptModule):
            raise TraceError(
                f"'{type(model).__name__}' is a scripted model, whose attention cannot be seen; "
                "pass the eager nn.Module it was made from"
            )
        inner = getattr(model, "_orig_mod", None)
        if inner is None and isinstance(model, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
            inner = model.module
        if not isinstance(inner, nn.Module):
            return model
        model = inner
