"""Gradient checkpointing is off while a pass runs: nothing is dropped, so nothing is run again on the way back.

``torch.utils.checkpoint`` runs parts of the forward a second time during the backward, where no pass is there to see
or to steer them. Its two workers, the name ``CheckpointFunction`` and the generator of the other variant, are looked
up when a checkpoint is made; during a pass a stand-in lies there, which runs the function once and plainly on the
threads that are in a pass and hands on to the real one on all others. Values are the same: a checkpoint only saves
memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from torch.utils import checkpoint

from vitscope.tracing.calls.scope import current_scope

_GENERATORS = ("_checkpoint_without_reentrant_generator", "_checkpoint_without_reentrant_generator_impl")


class _PlainFunction:
    """Stands in for ``CheckpointFunction``, whose ``apply(function, preserve, *args)`` is all that is called."""

    def __init__(self, real: Any) -> None:
        self._real = real

    def apply(self, function: Callable[..., Any], preserve: bool, *args: Any) -> Any:
        return function(*args) if current_scope() is not None else self._real.apply(function, preserve, *args)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


def _plain_generator(real: Callable[..., Iterator[None]]) -> Callable[..., Iterator[None]]:
    def begin_and_end(*args: Any, **kwargs: Any) -> Iterator[None]:
        if current_scope() is None:
            yield from real(*args, **kwargs)
        else:
            yield

    return begin_and_end


def stop_recomputing() -> Callable[[], None]:
    """Switch checkpoints off for threads in a pass; returns what puts everything back."""
    before = {
        name: getattr(checkpoint, name)
        for name in ("CheckpointFunction", *_GENERATORS)
        if hasattr(checkpoint, name)
    }
    for name, real in before.items():
        setattr(
            checkpoint, name, _PlainFunction(real) if name == "CheckpointFunction" else _plain_generator(real)
        )

    def put_back() -> None:
        for name, real in before.items():
            setattr(checkpoint, name, real)

    return put_back
