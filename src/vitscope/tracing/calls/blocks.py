"""Watch a model's blocks during one pass: which one runs, what enters, what leaves; or skip some of them.

The hooks live only as long as the ``with`` block; a skipped block's ``forward`` is shadowed on the instance and
uncovered again, whatever happens inside.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from vitscope.tracing.calls.scope import current_scope, is_current, own


def first_tensor(value: Any) -> Tensor | None:
    """The first tensor in a module's output: itself, or the first of a tuple, list or mapping."""
    if isinstance(value, Tensor):
        return value
    if isinstance(value, dict):
        value = tuple(value.values())
    if isinstance(value, (tuple, list)):
        return next((found for item in value if (found := first_tensor(item)) is not None), None)
    return None


def replace_first(value: Any, tensor: Tensor) -> Any:
    """The same structure with its first tensor exchanged."""
    if isinstance(value, Tensor):
        return tensor
    if isinstance(value, dict):
        key = next(k for k, item in value.items() if first_tensor(item) is not None)
        return type(value)(**{**value, key: replace_first(value[key], tensor)})
    items = list(value)
    position = next(i for i, item in enumerate(items) if first_tensor(item) is not None)
    items[position] = replace_first(items[position], tensor)
    return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)


def is_tokens(value: Any, width: int | None = None) -> bool:
    """True for a floating tensor (B, N, D), (B, h, w, D) or (B, D, h, w); ``width`` None leaves D open."""
    return (
        isinstance(value, Tensor)
        and value.is_floating_point()
        and value.dim() in (3, 4)
        and (width is None or value.shape[-1] == width or (value.dim() == 4 and value.shape[1] == width))
    )


def get_module(model: nn.Module, path: str) -> nn.Module:
    """The submodule at a dotted path; '' is the model itself."""
    return model.get_submodule(path) if path else model


Enter = Callable[[int, list[Tensor]], list[Tensor] | None]
Leave = Callable[[int, Any], Any]


@contextmanager
def watch_blocks(
    model: nn.Module, paths: Sequence[str], widths: Sequence[int], enter: Enter, leave: Leave
) -> Iterator[None]:
    """Call ``enter(block, token tensors)`` and ``leave(block, output)`` around every block.

    ``enter`` may return other tensors in the same order; ``leave`` may return another output (None: unchanged).
    Repeated runs of one module (weight sharing) count on: its positions in ``paths`` are taken in turn."""
    handles: list[RemovableHandle] = []
    positions: dict[str, list[int]] = {}
    for index, path in enumerate(paths):
        positions.setdefault(path, []).append(index)

    def register(path: str, indices: list[int]) -> None:
        module = get_module(model, path)
        run = {"count": 0}

        def before(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            index = indices[min(run["count"], len(indices) - 1)]
            given = [*enumerate(args), *kwargs.items()]
            slots: list[tuple[Any, Tensor]] = [(k, a) for k, a in given if is_tokens(a, widths[index])]
            changed = enter(index, [tensor for _, tensor in slots])
            if changed is None:
                return None
            new_args, new_kwargs = list(args), dict(kwargs)
            for (slot, _before), tensor in zip(slots, changed, strict=True):
                if isinstance(slot, int):
                    new_args[slot] = tensor
                else:
                    new_kwargs[slot] = tensor
            return tuple(new_args), new_kwargs

        def after(_: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
            index = indices[min(run["count"], len(indices) - 1)]
            run["count"] += 1
            return leave(index, output)

        handles.append(module.register_forward_pre_hook(own(before), with_kwargs=True))
        handles.append(module.register_forward_hook(own(after)))

    try:
        for path, indices in positions.items():
            register(path, indices)
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def skip_blocks(model: nn.Module, replacements: Mapping[str, Callable[..., Any]]) -> Iterator[None]:
    """Let the modules at these paths return ``replacement(*args, **kwargs)`` without running, in this scope only."""
    scope = current_scope()
    covered: list[tuple[nn.Module, Callable[..., Any] | None]] = []

    def cover(module: nn.Module, replacement: Callable[..., Any]) -> None:
        before = module.__dict__.get("forward")  # somebody's own, perhaps a pass's around this one
        real = module.forward

        def forward(*args: Any, **kwargs: Any) -> Any:
            return (replacement if is_current(scope) else real)(*args, **kwargs)

        covered.append((module, before))
        module.__dict__["forward"] = forward

    try:
        for path, replacement in replacements.items():
            cover(get_module(model, path), replacement)
        yield
    finally:
        for module, before in reversed(covered):
            if before is None:
                del module.__dict__["forward"]
            else:
                module.__dict__["forward"] = before
