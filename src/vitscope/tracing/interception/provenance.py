"""Which attention calls a tensor was made from: marks that travel with the data through one pass."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor

from vitscope.tracing.interception.function_modes import PassMode

_MARK = "_vitscope_reads"
PICTURES = 1
"""The mark of the pictures themselves, which a probe puts on them."""

_NO_DATA = (torch.Size, torch.dtype, torch.device, bool, int, float, str, type(None))


class Provenance(PassMode):
    """While it is active, the result of every function carries the marks of what went into it.

    A mark is a whole number whose bits are the pictures and the sites. Unlike the autograd graph it also passes
    through ``detach`` and ``torch.no_grad``, where the values go on although no gradient comes back. It lies on the
    tensors of this pass and goes with them."""

    def __init__(self) -> None:
        super().__init__()
        self.sites = 0
        """Bits of the sites seen so far; a function that holds some inside (multi-head attention) passes them on."""

    def __torch_function__(
        self,
        func: Any,
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        seen = self.sites
        result = func(*args, **kwargs)
        name = getattr(func, "__name__", "")
        if isinstance(result, _NO_DATA) and name != "__setitem__":
            return result  # a shape, a type, a flag: most calls of a pass, and nothing that data flows into
        before = reads_of((args, kwargs)) | (self.sites & ~seen)
        if before:
            add_reads(result, before)
            written = args[0] if args and (name == "__setitem__" or name.endswith("_")) else kwargs.get("out")
            if isinstance(written, Tensor):
                add_reads(written, before)
                if written._base is not None:  # written through a view
                    add_reads(written._base, before)
        return result


def bit_of(site: int) -> int:
    """The mark of one site, by its position."""
    return 2 << site


def sites_in(marks: int) -> int:
    """The sites alone, the first as the lowest bit."""
    return marks >> 1


def reads_of(value: Any) -> int:
    """The marks of all tensors in a structure, joined; a view also has those of what it is a view of."""
    found = 0
    for tensor in _tensors(value):
        found |= getattr(tensor, _MARK, 0)
        if tensor._base is not None:
            found |= getattr(tensor._base, _MARK, 0)
    return found


def add_reads(value: Any, reads: int) -> None:
    """Mark every tensor of a structure, parameters and buffers of the model excepted."""
    for tensor in _tensors(value):
        if not isinstance(tensor, torch.nn.Parameter):
            setattr(tensor, _MARK, getattr(tensor, _MARK, 0) | reads)


def _tensors(value: Any) -> Iterator[Tensor]:
    """The tensors in nested tuples, lists, mappings and plain objects (a model's own output record)."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _tensors(item)
    elif isinstance(value, (tuple, list)):
        for item in value:
            yield from _tensors(item)
    elif hasattr(value, "__dict__") and not isinstance(value, (type, torch.nn.Module)):
        for item in vars(value).values():
            if isinstance(item, (Tensor, tuple, list, dict)):
                yield from _tensors(item)
