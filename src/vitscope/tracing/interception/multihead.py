"""Let the attention inside ``F.multi_head_attention_forward`` be seen.

A function mode sees that call as one; what it computes inside is looked up as ``F.scaled_dot_product_attention``.
While a call is watched, a dispatcher stands in that place. It serves each thread its own watcher, so passes on
several threads do not meet, and the original is back as soon as no pass uses it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from vitscope.interruption import held

FUSED = F.scaled_dot_product_attention

_lock = threading.Lock()
_local = threading.local()
_watched = 0
_before: Any = FUSED


def _dispatch(*args: Any, **kwargs: Any) -> Tensor:
    watcher = getattr(_local, "watcher", None)
    result: Tensor = (_before if watcher is None else watcher)(*args, **kwargs)
    return result


@contextmanager
def inner_attention(watcher: Callable[..., Tensor]) -> Iterator[None]:
    """``F.scaled_dot_product_attention`` of this thread goes to ``watcher`` for the length of the block."""
    global _watched, _before
    outer = getattr(_local, "watcher", None)
    with held():  # the model runs around this, so an interrupt may come at any step
        with _lock:
            if _watched == 0:
                _before = F.scaled_dot_product_attention
                F.scaled_dot_product_attention = _dispatch
            _watched += 1
        _local.watcher = watcher
        try:
            yield
        finally:
            _local.watcher = outer
            with _lock:
                _watched -= 1
                if _watched == 0:
                    F.scaled_dot_product_attention = _before


@contextmanager
def no_watcher() -> Iterator[None]:
    """Nobody of this thread watches, until the block ends: for a pass inside another one."""
    outer = getattr(_local, "watcher", None)
    _local.watcher = None
    try:
        yield
    finally:
        _local.watcher = outer


NAMES = (
    "query", "key", "value", "embed_dim_to_check", "num_heads", "in_proj_weight", "in_proj_bias", "bias_k", "bias_v",
    "add_zero_attn", "dropout_p", "out_proj_weight", "out_proj_bias", "training", "key_padding_mask", "need_weights",
    "attn_mask",
)  # fmt: skip


def call_arguments(args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """The arguments of ``F.multi_head_attention_forward`` by name."""
    return {**dict(zip(NAMES, args, strict=False)), **kwargs}
