"""The plain model inside what it is wrapped in, and wrappings that it cannot be seen through."""

from __future__ import annotations

import torch
from torch import nn

from vitscope.errors import ModelError


def unwrapped(module: nn.Module) -> nn.Module:
    """The plain model inside torch.compile's, DataParallel's and DistributedDataParallel's wrappers."""
    while True:
        inner = getattr(module, "_orig_mod", None)
        if inner is None and type(module).__name__ in ("DataParallel", "DistributedDataParallel"):
            inner = getattr(module, "module", None)
        if not isinstance(inner, nn.Module):
            return module
        module = inner


def refuse_unseeable(module: nn.Module) -> None:
    """Raise ``ModelError`` for scripted modules, whose inner calls Python never makes, and for weights without values.

    Parts compiled by torch.compile may stay: they run eagerly while they are looked at.
    """
    for name, part in module.named_modules():
        where = f"its part {name!r}" if name else "the model"
        if isinstance(part, torch.jit.ScriptModule):
            raise ModelError(
                f"{where} is a TorchScript module, whose attention cannot be seen; "
                "pass the Python model it was made from"
            )
    empty = next((name for name, weight in module.named_parameters() if weight.is_meta), None)
    if empty is not None:
        raise ModelError(
            f"the weights have no values yet (meta device), such as {empty!r}; load them first, with "
            "model.to_empty(device='cpu') and load_state_dict"
        )
