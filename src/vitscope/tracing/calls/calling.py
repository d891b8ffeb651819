"""Call the user's model: with tensors of its own, which it may write into."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, overload

import torch
from torch import Tensor, nn

from vitscope.tracing.calls.counting import count_forward
from vitscope.tracing.calls.scope import running

Inputs = Tensor | Mapping[str, Any]
"""What a model is given: its pictures, or a mapping of arguments by name: tensors with the batch first (pictures,
texts, masks, other data of each picture), and flags that are handed on as they are."""


def batch_of(inputs: Inputs) -> int:
    """Number of pictures (or texts) in the inputs."""
    pictures = pictures_of(inputs)
    if pictures is not None:
        return int(pictures.shape[0])
    tensors = (
        [inputs] if isinstance(inputs, Tensor) else [v for v in inputs.values() if isinstance(v, Tensor)]
    )
    return int(tensors[0].shape[0])


def pictures_of(inputs: Inputs) -> Tensor | None:
    """The pictures (B, C, H, W) or films (B, T, C, H, W) among the inputs.

    None for a text model, and where there are several tensors of pictures: then no grid belongs to all of them."""
    if isinstance(inputs, Tensor):
        return inputs if _is_picture(inputs) else None
    found = [value for value in inputs.values() if _is_picture(value)]
    return found[0] if len(found) == 1 else None


def with_pictures(inputs: Inputs, pictures: Tensor, rows: Tensor | None = None) -> Inputs:
    """The same inputs with other pictures; ``rows`` (M,) says to which of the old ones each new picture belongs."""
    if isinstance(inputs, Tensor):
        return pictures
    own = pictures_of(inputs)
    chosen = select(
        {name: value for name, value in inputs.items() if value is not own}, rows, batch_of(inputs)
    )
    return {name: pictures if value is own else chosen[name] for name, value in inputs.items()}


@overload
def select(inputs: Tensor, index: Tensor | None, batch: int | None = ...) -> Tensor: ...
@overload
def select(inputs: Mapping[str, Any], index: Tensor | None, batch: int | None = ...) -> Mapping[str, Any]: ...
@overload
def select(inputs: Inputs, index: Tensor | None, batch: int | None = ...) -> Inputs: ...
def select(inputs: Inputs, index: Tensor | None, batch: int | None = None) -> Inputs:
    """The inputs of the chosen pictures; what is not of each picture stays. ``batch``: how many pictures there are,
    where the inputs alone do not tell."""
    if index is None:
        return inputs
    if isinstance(inputs, Tensor):
        return inputs[index]
    count = batch_of(inputs) if batch is None else batch

    def row(value: Any) -> Any:
        each = isinstance(value, Tensor) and value.dim() and value.shape[0] == count
        return value[index.to(value.device)] if each else value

    return {name: row(value) for name, value in inputs.items()}


@overload
def outside_graphs(inputs: Tensor) -> Tensor: ...
@overload
def outside_graphs(inputs: Inputs) -> Inputs: ...
def outside_graphs(inputs: Inputs) -> Inputs:
    """The same values, outside the caller's graph and of no inference mode."""
    if not isinstance(inputs, Tensor):
        return {name: _apart(value) if isinstance(value, Tensor) else value for name, value in inputs.items()}
    return _apart(inputs)


def _apart(tensor: Tensor) -> Tensor:
    return tensor.clone() if tensor.is_inference() else tensor.detach()


def _is_picture(value: Any) -> bool:
    return isinstance(value, Tensor) and value.is_floating_point() and value.dim() in (4, 5)


def takes_first(model: nn.Module, name: str) -> bool:
    """Whether the model's forward takes the argument of that name first, so that it may come by position."""
    parameters = list(inspect.signature(model.forward).parameters.values())
    return (
        bool(parameters)
        and parameters[0].name == name
        and parameters[0].kind is not inspect.Parameter.KEYWORD_ONLY
    )


def order_of_patches(model: nn.Module, inputs: Inputs) -> dict[str, Tensor]:
    """What keeps the tokens of a masked autoencoder in the order of its patches, as an argument by name; else nothing.

    Such a model (transformers' ViTMAE) sorts its patches by random noise at every pass, also when it masks none
    (``config.mask_ratio = 0``). It takes the noise as an argument: noise that rises over the patches sorts nothing."""
    config, pictures = getattr(model, "config", None), pictures_of(inputs)
    given = not isinstance(inputs, Tensor) and "noise" in inputs
    if getattr(config, "mask_ratio", None) != 0 or pictures is None or given:
        return {}
    side = getattr(config, "patch_size", None)
    if "noise" not in inspect.signature(model.forward).parameters or not isinstance(side, int):
        return {}
    count = (pictures.shape[-2] // side) * (pictures.shape[-1] // side)
    rising = torch.arange(count, device=pictures.device, dtype=torch.float32)
    return {"noise": rising.expand(len(pictures), -1).clone()}


def call_model(model: nn.Module, inputs: Inputs) -> Any:
    """Tensors go in by position, mappings by name; always copies, with the strides of what was given.

    A model that normalises its input in place would change the caller's tensor, and every later pass over it."""
    ordered = order_of_patches(model, inputs)
    count_forward(batch_of(inputs))
    if isinstance(inputs, Tensor):
        own = inputs.clone()
        with running():
            return model(own, **ordered)
    named = {name: value.clone() if isinstance(value, Tensor) else value for name, value in inputs.items()}
    named |= ordered
    with running():
        return model(**named)
