"""What every form here has in common: a model in any form, ready tensors, maps at the size of the pictures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vitscope.adapters.errors import AdapterError
from vitscope.methods import Explanation, get_method
from vitscope.models.preparing.cells import Cells
from vitscope.tracing import Vit, open_model


def opened(model: Any) -> Vit:
    """The opened model; a plain module is opened here. Raises AdapterError for what is no model."""
    if isinstance(model, Vit):
        return model
    if isinstance(model, nn.Module):
        return open_model(model)
    raise AdapterError(
        f"expected a model, an nn.Module or what vs.open_model gives, got {type(model).__name__}"
    )


def checked_options(method: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a method, refused before any picture is seen. Raises MethodError."""
    return dict(get_method(method).check_options(dict(options)))


def ready(inputs: Any, name: str) -> Tensor:
    """A batch as the model takes it, (B, C, H, W) float. Raises AdapterError."""
    tensor = (
        torch.as_tensor(inputs) if isinstance(inputs, np.ndarray) and inputs.dtype.kind == "f" else inputs
    )
    if (
        not isinstance(tensor, Tensor)
        or tensor.dim() != 4
        or not tensor.is_floating_point()
        or not len(tensor)
    ):
        shape = getattr(inputs, "shape", None)
        got = type(inputs).__name__ if shape is None else f"{inputs.dtype} of shape {tuple(shape)}"
        raise AdapterError(
            f"expected {name} as floats (B, C, H, W), normalised for the model, got {got}; for pictures that are "
            "not prepared yet take vs.explain"
        )
    return tensor.detach()


def at_size(maps: Tensor, explanation: Explanation, size: tuple[int, int], mode: str) -> Tensor:
    """Maps (B, h, w) on the pixels of the input, (B, H, W): ``nearest`` gives each pixel the value of its patch."""
    if maps.dim() != 3:
        raise AdapterError(f"expected one map for each picture, got maps of shape {tuple(maps.shape)}")
    height, width = int(maps.shape[1]), int(maps.shape[2])
    layout = explanation.layout
    fits = layout is not None and tuple(layout.grid) == (height, width)
    cells = layout.cells_at(size) if fits and layout is not None else Cells.even((height, width), size)
    return cells.spread(maps, mode)
