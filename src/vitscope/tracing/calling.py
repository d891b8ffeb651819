"""Call the user's model: with tensors of its own, which it may write into."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from vitscope.tracing.scope import running

Inputs = Tensor | Mapping[str, Tensor]


def batch_of(inputs: Inputs) -> int:
    """Number of pictures (or texts) in the inputs."""
    tensor = inputs if isinstance(inputs, Tensor) else next(iter(inputs.values()))
    return int(tensor.shape[0])


def call_model(model: nn.Module, inputs: Inputs) -> Any:
    """Tensors go in by position, mappings by name; always copies, with the strides of what was given.

    A model that normalises its input in place would change the caller's tensor, and every later pass over it."""
    if isinstance(inputs, Tensor):
        own = inputs.clone()
        with running():
            return model(own)
    named = {name: value.clone() for name, value in inputs.items()}
    with running():
        return model(**named)
