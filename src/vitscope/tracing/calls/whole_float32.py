"""float32 that is float32: no TF32 on a GPU and no bfloat16 on a processor, whatever the caller or torch allows.

``torch.set_float32_matmul_precision``, ``torch.backends.cudnn.allow_tf32`` (true as torch comes) and, in newer
releases, ``fp32_precision`` of every backend let products of float32 numbers be rounded to 11 or 8 bits. A map would
depend on them although no argument and no recipe says so.
"""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import Any

import torch

from vitscope.tracing.calls.while_running import PutBack, WhileRunning

_EXACT = ("none", "ieee")
_BACKENDS: Any = torch.backends


class WholeFloat32(WhileRunning):
    """Whole float32 as long as any call of ours runs, on whichever thread; then as it was before."""

    def __init__(self) -> None:
        super().__init__(lambda: [] if is_whole() else _turn_off())


def is_whole() -> bool:
    """Whether float32 products are computed in float32 everywhere."""
    switches = _newer()
    if switches:
        return all(each.fp32_precision in _EXACT for each in switches)
    return torch.get_float32_matmul_precision() == "highest" and not _BACKENDS.cudnn.allow_tf32


def _turn_off() -> list[PutBack]:
    """Turn every switch off; what puts them back, in this order.

    The older switches are read first and set last, so that a model that reads one finds it in agreement with the newer
    ones. From the top down each newer one has a value of its own where it still allows less after those above it."""
    older = _older()
    newer: list[PutBack] = []
    for switch in _newer():
        own = switch.fp32_precision
        if own not in _EXACT:
            switch.fp32_precision = "ieee"
            newer.append(partial(setattr, switch, "fp32_precision", own))
    for turn_off, _ in older:
        turn_off()
    return [put_back for _, put_back in older] + newer


def _older() -> list[tuple[PutBack, PutBack]]:
    """What turns those of the older switches off that are on, and what puts them back; without one that the caller has
    overruled by newer ones, of which torch may refuse to tell the state."""
    found: list[tuple[PutBack, PutBack]] = []
    with suppress(RuntimeError):
        allowed, products = torch.get_float32_matmul_precision(), _BACKENDS.cuda.matmul
        if allowed != "highest" and getattr(products, "fp32_precision", "") not in _EXACT:
            change = torch.set_float32_matmul_precision
            found.append((partial(change, "highest"), partial(change, allowed)))
    with suppress(RuntimeError):
        cudnn = _BACKENDS.cudnn
        if cudnn.allow_tf32:
            change = partial(setattr, cudnn, "allow_tf32")
            found.append((partial(change, False), partial(change, True)))
    return found


def _newer() -> list[Any]:
    """What has ``fp32_precision``, from all backends to single operations; nothing in older releases of torch."""
    if not hasattr(_BACKENDS, "fp32_precision"):
        return []
    cudnn, mkldnn = _BACKENDS.cudnn, _BACKENDS.mkldnn
    places = ((_BACKENDS.cuda, "matmul"), (cudnn, "conv rnn"), (mkldnn, "matmul conv rnn"))
    operations = [getattr(place, name, None) for place, names in places for name in names.split()]
    return [each for each in (_BACKENDS, cudnn, mkldnn, *operations) if hasattr(each, "fp32_precision")]
