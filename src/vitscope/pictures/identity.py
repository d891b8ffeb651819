"""Which picture it is: an id of its content, and a key, its name among the pictures of a run.

The id is a hash of what is in the file, the key the file's path relative to a declared folder. Neither depends on
which other pictures there are, on their order, or on where the program runs.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

import numpy as np
import torch
import xxhash
from PIL import Image
from torch import Tensor

from vitscope.errors import PictureError, printable
from vitscope.pictures.bands import Bands

_CHUNK = 1 << 20
_TOGETHER = 1 << 26
_AGAIN = re.compile(r"#again-\d+$")


def id_of_stream(stream: IO[bytes]) -> str:
    """xxh3-128 of all bytes from here on, 32 hexadecimal digits."""
    state = xxhash.xxh3_128()
    while chunk := stream.read(_CHUNK):
        state.update(chunk)
    return state.hexdigest()


def id_of_values(picture: Image.Image | Bands | Tensor) -> str:
    """xxh3-128 of a picture in memory: of type, shape and values.

    Whatever form a picture had, what counts is what the reader makes of it; a ready tensor counts by its numbers, the
    same on every device.
    """
    if isinstance(picture, Tensor):
        values = picture.detach().cpu().contiguous()
        kind = str(values.dtype).removeprefix("torch.")
        shape, content = tuple(values.shape), values.reshape(-1).view(torch.uint8).numpy()
    else:
        pixels = np.ascontiguousarray(np.asarray(picture.values if isinstance(picture, Bands) else picture))
        kind, shape, content = str(pixels.dtype), pixels.shape, pixels.reshape(-1)
    state = xxhash.xxh3_128(f"{kind} {','.join(map(str, shape))} ".encode())
    state.update(content.data)
    return state.hexdigest()


def ids_on_devices(
    items: Sequence[object], near: frozenset[str] = frozenset({"cpu", "meta"})
) -> dict[int, str]:
    """By position, the :func:`id_of_values` of ready float tensors that do not lie ``near`` and hold no NaN or
    infinity: checked and brought over many at a time, because each transfer is a wait."""
    found: dict[int, str] = {}
    for group in _alike(items, near):
        together = torch.stack([tensor.detach() for _, tensor in group])
        if bool(together.sum().isfinite()):
            found |= {
                index: id_of_values(values)
                for (index, _), values in zip(group, _brought(together), strict=True)
            }
    return found


def _brought(values: Tensor) -> Tensor:
    """On the processor; from a GPU by way of memory that it can write itself, which is ten times as quick."""
    if values.device.type != "cuda":
        return values.cpu()
    return torch.empty(values.shape, dtype=values.dtype, pin_memory=True).copy_(values)


def _alike(items: Sequence[object], near: frozenset[str]) -> Iterator[list[tuple[int, Tensor]]]:
    """Neighbours of one shape, kind and device, at most 64 MiB of them at a time."""
    group: list[tuple[int, Tensor]] = []
    for index, item in enumerate(items):
        if not (isinstance(item, Tensor) and item.is_floating_point() and item.device.type not in near):
            continue
        first = group[0][1] if group else item
        size = item.numel() * item.element_size()
        if (
            (item.shape, item.dtype, item.device) != (first.shape, first.dtype, first.device)
            or (len(group) + 1) * size > _TOGETHER
        ) and group:
            yield group
            group = []
        group.append((index, item))
    if group:
        yield group


def key_of_path(path: Path, root: Path | None = None) -> str:
    """The key of a file: its path relative to ``root`` with ``/`` between folders, as printable text.

    Without a root it is relative to the current folder when it lies below, else the whole path without its leading
    slash. Letters that cannot be shown, bytes that are no UTF-8, and backslashes are written out (``\\x1b``, ``\\xe9``,
    ``\\\\``), so different names have different keys.

    Raises:
        PictureError: The file does not lie below ``root``.

    Example:
        >>> key_of_path(Path("/data/cats/tom.png"), Path("/data"))
        'cats/tom.png'
    """
    whole = absolute(path)
    if root is not None:
        top = absolute(root)
        if not whole.is_relative_to(top):
            raise PictureError(
                f"{path} does not lie below the root {root}; name a folder that holds all pictures"
            )
        parts = whole.relative_to(top).parts
    else:
        here = Path.cwd()
        parts = whole.relative_to(here).parts if whole.is_relative_to(here) else whole.parts[1:]
    return key_of_name("/".join(parts))


def key_of_name(name: str) -> str:
    """The key of a file whose path relative to the root is known, ``/`` between folders.

    Example:
        >>> key_of_name("caf\\udce9/a.png")
        'caf\\\\xe9/a.png'
    """
    return printable(name.replace("\\", "\\\\"))


def told_apart(keys: Sequence[str]) -> list[str]:
    """The keys, with ``#again-2`` behind one that came before: the same picture was given twice.

    Example:
        >>> told_apart(["a.png", "b.png", "a.png"])
        ['a.png', 'b.png', 'a.png#again-2']
    """
    seen: Counter[str] = Counter()
    apart = []
    for key in keys:
        seen[key] += 1
        apart.append(key if seen[key] == 1 else f"{key}#again-{seen[key]}")
    return apart


def drawn_by(key: str) -> str:
    """The text on which random draws for a picture depend: a picture that is given twice gets the same twice.

    Example:
        >>> drawn_by("a.png#again-2")
        'a.png'
    """
    return _AGAIN.sub("", key)


def absolute(path: Path) -> Path:
    """Absolute, without ``..``; links stay as they were named, except those that a ``..`` follows."""
    whole = path if path.is_absolute() else Path.cwd() / path
    if ".." in whole.parts:
        whole = Path(os.path.realpath(whole.parent)) / whole.name if whole.name != ".." else whole.resolve()
    return whole
