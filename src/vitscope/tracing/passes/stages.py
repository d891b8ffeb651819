"""Feature maps stage by stage, for CNNs and hierarchical transformers whose tokens lie on no single grid."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from vitscope.tracing.calls.blocks import first_tensor, replace_first
from vitscope.tracing.calls.calling import call_model
from vitscope.tracing.calls.scope import own

SMALLEST_SIDE = 2
"""Maps of one row or column say nothing about places."""


@dataclass(frozen=True)
class Stage:
    """The last feature map at one resolution: which module returns it, its grid, its channels, and how it lies."""

    path: str
    grid: tuple[int, int]
    channels: int
    form: str
    """``channels-first`` (B, C, h, w), ``channels-last`` (B, h, w, C) or ``tokens`` (B, h*w, C)."""

    def as_map(self, tensor: Tensor) -> Tensor:
        """The stage's output as (B, C, h, w)."""
        if self.form == "channels-first":
            return tensor
        if self.form == "channels-last":
            return tensor.permute(0, 3, 1, 2)
        return tensor.transpose(1, 2).reshape(tensor.shape[0], -1, *self.grid)


@dataclass
class _Seen:
    path: str
    order: int
    grid: tuple[int, int]
    channels: int
    form: str


def _map_form(value: Any, size: tuple[int, int]) -> tuple[tuple[int, int], int, str] | None:
    """(grid, channels, form) when a tensor is a feature map of a picture of this size, None when it is not."""
    if not isinstance(value, Tensor) or not value.is_floating_point():
        return None
    ratio = size[0] / size[1]

    def fits(h: int, w: int) -> bool:
        return min(h, w) >= SMALLEST_SIDE and h < size[0] and abs(h / w / ratio - 1) < 0.35

    if value.dim() == 4:
        _, a, b, c = value.shape
        first, last = fits(b, c), fits(a, b)
        if first and last:  # (B, 7, 7, 7): the axis with the odd length holds the channels
            first = a != b or b == c
        if first:
            return (b, c), a, "channels-first"
        return ((a, b), c, "channels-last") if last else None
    if value.dim() == 3:
        for h in range(SMALLEST_SIDE, value.shape[1] // SMALLEST_SIDE + 1):
            w = value.shape[1] // h
            if h * w == value.shape[1] and h * size[1] == w * size[0]:
                return (h, w), value.shape[2], "tokens"
    return None


def find_stages(model: nn.Module, inputs: Tensor) -> tuple[Stage, ...]:
    """The last block output at each resolution, finest first.

    A block is an outermost module of a class that the model uses several times and that returns a feature map
    (residual blocks, stages); without such a class every leaf module counts (VGG). Called inside ``quiet``."""
    size = (int(inputs.shape[-2]), int(inputs.shape[-1]))
    seen: list[_Seen] = []
    handles = []

    def watch(path: str, module: nn.Module) -> None:
        def after(_: nn.Module, args: tuple[Any, ...], output: Any) -> None:
            tensor = first_tensor(output)
            form = _map_form(tensor, size)
            # another leading axis than the batch: windows or patches of pixels are laid out there (TNT's inner blocks)
            if form is not None and tensor is not None and tensor.shape[0] == inputs.shape[0]:
                seen.append(_Seen(path, len(seen), *form))

        handles.append(module.register_forward_hook(own(after)))

    try:
        for path, module in model.named_modules():
            if path and not isinstance(module, nn.ModuleList):
                watch(path, module)
        with torch.no_grad():
            call_model(model, inputs)
    finally:
        for handle in handles:
            handle.remove()
    modules = dict(model.named_modules())
    paths = {entry.path for entry in seen}
    counts: dict[type, int] = {}
    for path in paths:
        counts[type(modules[path])] = counts.get(type(modules[path]), 0) + 1
    repeated = [
        path
        for path in paths
        if counts[type(modules[path])] > 1
        and any(True for _ in modules[path].children())
        and not isinstance(modules[path], nn.Sequential)
    ]
    outermost = [p for p in repeated if not any(p.startswith(other + ".") for other in repeated)]
    chosen = set(outermost) or {p for p in paths if not any(True for _ in modules[p].children())}
    last: dict[tuple[int, int], _Seen] = {}
    for entry in seen:
        if entry.path in chosen:
            last[entry.grid] = entry
    ordered = sorted(last.values(), key=lambda entry: entry.order)
    return tuple(Stage(e.path, e.grid, e.channels, e.form) for e in ordered)


@contextmanager
def watch_stages(
    model: nn.Module, stages: Sequence[Stage], gradient: bool, kept: dict[int, Tensor]
) -> Iterator[None]:
    """Keep what each stage returned in ``kept``; with ``gradient`` the graph starts at the first of them."""
    handles = []

    def register(index: int, stage: Stage) -> None:
        def after(_: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
            tensor = first_tensor(output)
            assert tensor is not None
            if gradient and not tensor.requires_grad:
                tensor = tensor.detach().requires_grad_()
                output = replace_first(output, tensor)
            kept[index] = tensor
            return output

        handles.append(model.get_submodule(stage.path).register_forward_hook(own(after)))

    try:
        for index, stage in enumerate(stages):
            register(index, stage)
        yield
    finally:
        for handle in handles:
            handle.remove()
