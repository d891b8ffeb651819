"""A short name for a model's weights, so that a result can say which model it belongs to."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence

import torch
import xxhash
from torch import Tensor, nn

from vitscope.errors import ModelError
from vitscope.models.opening.wrappers import unwrapped
from vitscope.options.door import checked

_MIX = (-7046029254386353131, -4417276706812531889)
"""Odd 64-bit numbers (SplitMix64's increment and a multiplier of xxHash, as signed) that spread a position over all
bits."""
_AT_ONCE = 1 << 26
"""Bytes whose checksum is made at once on a device: a multiple of eight."""


@checked(ModelError)
def fingerprint(module: nn.Module) -> str:
    """16 hexadecimal digits over names, dtypes, shapes and exact values of the state dict (BLAKE2b, 64 bits).

    The same on every device and for a compiled or data-parallel wrapper of the same model; another one for another
    dtype, because a model rounded to half precision is another model. Buffers that are not saved with the weights
    do not count. Reads every byte once (about a second per GB), one tensor at a time.

    Args:
        module: The model; weights are read, nothing is changed.

    Returns:
        The digits.

    Example:
        >>> from torch import nn
        >>> one, other = nn.Linear(2, 2), nn.Linear(2, 2)
        >>> _ = other.load_state_dict(one.state_dict())
        >>> fingerprint(one) == fingerprint(other) != fingerprint(nn.Linear(2, 2))
        True
    """
    digest = hashlib.blake2b(digest_size=8)
    for name, value in _weights(module):
        digest.update(_head(name, value))
        digest.update(_bytes(value.cpu()).numpy().data)
    return digest.hexdigest()


class CurrentFingerprint:
    """The fingerprint of a module's weights as they are at each call, found in a fraction of the time of a forward.

    What was seen last is kept with a checksum of every byte: on the CPU xxh3-128, on another device sums of the raw
    bits, each times a number of its position, made where the weights lie. Only when that changed is the fingerprint
    made anew. A tensor's own version counter would not do: writing to ``.data`` does not count.
    """

    def __init__(self) -> None:
        self._known: tuple[str, str] | None = None

    def of(self, module: nn.Module) -> str:
        """The fingerprint of the weights as they are now. Raises ModelError for weights without values."""
        now = content_check(module)
        if self._known is None or self._known[0] != now:
            self._known = (now, fingerprint(module))
        return self._known[1]


def content_check(module: nn.Module) -> str:
    """32 hexadecimal digits that change with any bit of the weights; comparable within one process only."""
    digest = xxhash.xxh3_128()
    elsewhere: dict[torch.device, list[Tensor]] = {}
    for name, value in _weights(module):
        digest.update(_head(name, value))
        if value.device.type == "cpu":
            plain = value.dtype is torch.float32 and value.is_contiguous()
            digest.update((value if plain else _bytes(value)).numpy().data)
        else:
            digest.update(str(value.device).encode())
            elsewhere.setdefault(value.device, []).append(value)
    for values in elsewhere.values():
        # Few calls and one transfer per device: a call for each weight would cost more than a forward.
        digest.update(bit_sums(values).cpu().numpy().tobytes())
    return digest.hexdigest()


def bit_sums(values: Sequence[Tensor]) -> Tensor:
    """A checksum (2,) int64 of the raw bits of several tensors of one device, one behind the other, made there.

    Two sums modulo 2^64 of the bytes, eight at a time, each times an odd number that depends on its position: so any
    change of one place is seen for certain, and swapped places, which plain sums do not see, as well.
    """
    device = values[0].device
    total = torch.zeros(2, dtype=torch.int64, device=device)
    start = 0
    for piece in _pieces(values):
        words = torch.nn.functional.pad(piece, (0, -piece.numel() % 8)).view(torch.int64)
        place = torch.arange(start + 1, start + words.numel() + 1, device=device, dtype=torch.int64)
        for index, factor in enumerate(_MIX):
            mixed = place * factor
            mixed = (mixed ^ (mixed >> 29)) | 1
            total[index] += (words * mixed).sum()
        start += words.numel()
    return total


def _pieces(values: Sequence[Tensor]) -> Iterator[Tensor]:
    """The bytes of all tensors, small ones joined and large ones cut: at most ``_AT_ONCE`` at a time."""
    waiting: list[Tensor] = []
    room = _AT_ONCE
    for value in values:
        raw = _bytes(value).reshape(-1)
        while raw.numel():
            waiting.append(raw[:room])
            raw, room = raw[room:], room - waiting[-1].numel()
            if not room:
                yield torch.cat(waiting)
                waiting, room = [], _AT_ONCE
    if waiting:
        yield torch.cat(waiting)


def _weights(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    state = unwrapped(module).state_dict()
    for name in sorted(state):
        value = state[name]
        if not isinstance(value, Tensor):
            continue
        if value.is_meta:
            raise ModelError(f"the weight {name} has no values yet (meta device); load the weights first")
        yield name, value.detach()


def _head(name: str, value: Tensor) -> bytes:
    return f"{name}|{value.dtype}|{tuple(value.shape)}|".encode()


def _bytes(value: Tensor) -> Tensor:
    """The raw bytes of a tensor, one after the other, where it lies."""
    if value.dim() and value.is_contiguous() and value.stride(-1) == 1:
        return value.view(torch.uint8)
    return value.contiguous().reshape(-1).view(torch.uint8)
