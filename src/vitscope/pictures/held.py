"""What gives its pictures only once, such as a generator or a loader: they are held in memory, up to a limit."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from vitscope.errors import PictureError

MOST_HELD = 4 * 2**30
"""Bytes. Something that never ends would fill the memory of any machine."""

_SMALLEST = 256

Item = tuple[Any, int | None]


def held(images: Any, parts: Iterable[Iterable[Item]]) -> Iterator[Item]:
    """The items of ``parts``, which come one part after the other out of ``images``.

    Raises PictureError as soon as those of something that is not in memory already are known to pass the limit: after
    the first part where ``images`` says how many there are.
    """
    if isinstance(images, (list, tuple, set, frozenset)):
        for part in parts:
            yield from part
        return
    so_far = 0
    for number, part in enumerate(parts):
        for item in part:
            so_far += _bytes_of(item[0])
            if so_far > MOST_HELD:
                raise _too_many(images)
            yield item
        if number == 0 and so_far * _length_of(images) > MOST_HELD:
            raise _too_many(images)


def _too_many(images: Any) -> PictureError:
    name = type(images).__name__
    behind = getattr(images, "dataset", None)
    numbered = hasattr(behind, "__getitem__") and hasattr(behind, "__len__")
    instead = "its .dataset" if numbered else "a data set with [i] and len()"
    return PictureError(
        f"the pictures of this {name} take more than {MOST_HELD / 2**30:.3g} GiB, and what gives them once is held in "
        f"memory; pass {instead}, whose pictures are opened when each is needed, or fewer of them"
    )


def _length_of(images: Any) -> int:
    """How many parts there are, 0 where nobody knows."""
    try:
        return operator.length_hint(images, 0)
    except Exception:  # a loader asks its data set, which may answer in any way
        return 0


def _bytes_of(item: Any) -> int:
    if isinstance(item, Tensor):
        size = item.nelement() * item.element_size()
    elif isinstance(item, np.ndarray):
        size = item.nbytes
    elif isinstance(item, Image.Image):
        size = item.width * item.height * len(item.getbands())
    else:
        size = 0
    return max(_SMALLEST, size)
