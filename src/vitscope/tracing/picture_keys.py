"""Keys of the pictures in a trace: what random draws of one picture depend on, beside the seed."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import xxhash
from torch import Tensor

from vitscope.errors import TraceError
from vitscope.tracing.calls.calling import Inputs, batch_of


def content_keys(inputs: Inputs) -> tuple[str, ...]:
    """One key per picture (or text) by its content alone: xxh3-128 of shapes, types and values, 32 digits."""
    tensors = {"": inputs} if isinstance(inputs, Tensor) else dict(inputs)
    batch = batch_of(inputs)
    flags = {
        n: v for n, v in tensors.items() if not (isinstance(v, Tensor) and v.dim() and v.shape[0] == batch)
    }
    ready = {n: v.detach().cpu().contiguous() for n, v in sorted(tensors.items()) if n not in flags}
    keys = []
    for row in range(batch):
        digest = xxhash.xxh3_128(repr(sorted(flags.items())).encode() if flags else b"")
        for name, value in ready.items():
            digest.update(f"{name}|{value.dtype}|{tuple(value.shape[1:])}|".encode())
            digest.update(value[row].reshape(-1).view(torch.uint8).numpy().data)
        keys.append(digest.hexdigest())
    return tuple(keys)


def check_keys(keys: Sequence[str], batch: int) -> tuple[str, ...]:
    """The keys as given. Raises TraceError when there is not one text per picture."""
    if isinstance(keys, str) or len(keys) != batch or not all(isinstance(key, str) for key in keys):
        came = "one text" if isinstance(keys, str) else f"{len(keys)} keys"
        raise TraceError(f"expected one key per picture, {batch} texts, got {came}")
    return tuple(keys)


def generator_for(seed: int, key: str) -> torch.Generator:
    """A generator for the random draws of one picture: the same for equal seed and key, whatever lies beside it."""
    word = xxhash.xxh3_64_intdigest(f"{seed}|{key}".encode(errors="surrogatepass"))
    return torch.Generator().manual_seed(word >> 1)
