"""A short name for a model's weights, so that a result can say which model it belongs to."""

from __future__ import annotations

import hashlib

import torch
from torch import nn

from vitscope.errors import ModelError
from vitscope.models.module_source import unwrapped


def fingerprint(module: nn.Module) -> str:
    """16 hexadecimal digits over names, dtypes, shapes and exact values of the state dict (BLAKE2b, 64 bits).

    The same on every device and for a compiled or data-parallel wrapper of the same model; another one for another
    dtype, because a model rounded to half precision is another model. Buffers that are not saved with the weights
    do not count. Reads every byte once (about a second per GB), one tensor at a time.
    """
    digest = hashlib.blake2b(digest_size=8)
    state = unwrapped(module).state_dict()
    for name in sorted(state):
        value = state[name]
        if not isinstance(value, torch.Tensor):
            continue
        if value.is_meta:
            raise ModelError(f"the weight {name} has no values yet (meta device); load the weights first")
        digest.update(f"{name}|{value.dtype}|{tuple(value.shape)}|".encode())
        raw = value.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
        digest.update(raw.numpy().data)
    return digest.hexdigest()
