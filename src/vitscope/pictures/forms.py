"""The list of accepted forms: what stands for pictures, taken apart into one item per picture."""

from __future__ import annotations

import functools
import itertools
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from vitscope.errors import DataError, PictureError, VitscopeError, brief
from vitscope.options.bounds import ReadLater
from vitscope.pictures.bands import Bands
from vitscope.pictures.find import list_pictures
from vitscope.pictures.held import held
from vitscope.pictures.memory import EXPECTED
from vitscope.pictures.on_demand import OnDemand

_PICTURE_FIELDS = ("image", "img", "pixel_values")
_LABEL_FIELDS = ("label", "labels", "fine_label")


class Known(Protocol):
    """Pictures with what is known of them, such as a sample of a world or a source."""

    @property
    def labels(self) -> Any: ...
    @property
    def masks(self) -> Any: ...


class Numbered(Protocol):
    """What gives its items by number, such as a data set of torch."""

    def __len__(self) -> int: ...
    def __getitem__(self, index: int, /) -> Any: ...


Images = Annotated[
    str
    | os.PathLike[str]
    | Image.Image
    | NDArray[Any]
    | Tensor
    | Mapping[str, Any]
    | Iterable[Any]
    | Numbered
    | Known,
    ReadLater("pictures in any form that vs.pictures.picture_source takes"),
]
"""Pictures in any form that :func:`vitscope.pictures.picture_source` takes; it refuses what stands for none."""


@dataclass
class Items:
    """One item for each picture: a Path, a Pillow image, an array or a tensor (C, H, W); a lazy sequence gives those.

    labels: what came with the pictures, one each. root: the one folder that was named. closed: folders that could not
    be searched, with the reason.
    """

    pictures: Sequence[Any]
    labels: list[int] | None = None
    root: Path | None = None
    closed: dict[Path, str] = field(default_factory=dict)


def take_apart(images: Any) -> Items:
    """Any accepted form, see :func:`vitscope.pictures.picture_source`, as one item for each picture, in order.

    Raises PictureError for what stands for no picture, DataError where labels come with some pictures only.
    """
    if _is_lazy(images):
        if not len(images):
            raise PictureError(f"got no picture at all; {EXPECTED}")
        # A data set answers to one number at a time: asked for a slice it gives what it likes, or runs for ever.
        asked = functools.partial(_item_of, images)
        return Items(images if isinstance(images, OnDemand) else OnDemand(range(len(images)), asked))
    found = Items([])
    pictures: list[Any] = []
    labels: list[int | None] = []
    for item, label in _flat(images, found):
        pictures.append(item)
        labels.append(label)
    if not pictures:
        if found.closed:
            raise PictureError(next(iter(found.closed.values())))
        raise PictureError(f"got no picture at all; {EXPECTED}")
    found.pictures = pictures
    known = [label for label in labels if label is not None]
    if known and len(known) != len(labels):
        raise DataError(
            f"labels came with {len(known)} of {len(labels)} pictures; give all of them, or labels= apart"
        )
    found.labels = known or None
    # One folder is the root of its pictures only when nothing else was named beside it.
    found.root = found.root if all(isinstance(item, Path) for item in pictures) else None
    return found


def _item_of(images: Any, index: int) -> Any:
    try:
        return images[index]
    except VitscopeError:
        raise
    except Exception as error:
        raise PictureError(
            f"{type(images).__name__} gives no item {index} ({brief(error)}); mend it there, or leave the item out"
        ) from error


def labelled(item: Any) -> tuple[Any, Any]:
    """(pictures, labels or None) of an item of a data set: a pair, a record with an image, or pictures alone."""
    if isinstance(item, Mapping):
        picture = next((item[name] for name in _PICTURE_FIELDS if name in item), None)
        if picture is None:
            raise PictureError(
                f"expected records with one of {', '.join(_PICTURE_FIELDS)}, got {', '.join(map(str, item))[:80]}; "
                "pass the pictures alone"
            )
        return picture, next((item[name] for name in _LABEL_FIELDS if name in item), None)
    if not isinstance(item, (tuple, list)):
        return item, None
    if len(item) == 2 and _is_label(item[1]) and not _is_label(item[0]):
        return item[0], item[1]
    if len(item) > 2 and _is_pixels(item[0]) and _is_label(item[1]) and not _is_pixels(item[2]):
        parts = ", ".join(type(part).__name__ for part in item)
        raise PictureError(
            f"expected (picture, label) or a picture alone, got {len(item)} values ({parts}); give the first two"
        )
    # What TensorDataset gives where there is nothing beside the pictures.
    return (item[0] if isinstance(item, tuple) and len(item) == 1 and _is_pixels(item[0]) else item), None


def _flat(images: Any, found: Items, depth: int = 0) -> Iterator[tuple[Any, int | None]]:
    images, labels = labelled(images)
    if labels is not None:
        numbers = [int(each) for each in np.asarray(labels).reshape(-1).tolist()]
        inner = [item for item, _ in _flat(images, found, depth + 1)]
        if len(inner) != len(numbers):
            raise DataError(
                f"a batch of {len(inner)} pictures came with {len(numbers)} labels; give one for each"
            )
        yield from zip(inner, numbers, strict=True)
    elif isinstance(images, (str, os.PathLike)):
        listed = list_pictures(images)
        found.closed.update(listed.closed)
        found.root = listed.root if depth == 0 else found.root
        yield from ((file, None) for file in listed.files)
    elif isinstance(images, (Image.Image, Bands)):
        yield images, None
    elif isinstance(images, (Tensor, np.ndarray)):
        several = images.ndim == 4
        yield from ((each, None) for each in images) if several else [(images, None)]
    elif isinstance(images, Iterable) and not isinstance(images, (bytes, bytearray, memoryview)):
        if depth > 20:
            raise PictureError(f"lists of pictures are nested too deep; {EXPECTED}")
        items = iter(images)
        first = list(itertools.islice(items, 1))
        named = bool(first) and isinstance(first[0], (str, os.PathLike))
        first += itertools.islice(items, 1) if named else []
        deeper = depth if named and len(first) == 1 else depth + 1
        yield from held(images, (_flat(item, found, deeper) for item in itertools.chain(first, items)))
    elif hasattr(images, "__getitem__"):
        raise PictureError(
            f"{type(images).__name__} has items, but no length; give it a __len__, or pass a list or generator of them"
        )
    else:
        raise PictureError(f"{EXPECTED}; got {type(images).__name__}")


def _is_lazy(images: Any) -> bool:
    """Whether items are asked for by number, as from a torch data set: they are opened when they are needed."""
    known = (str, bytes, bytearray, list, tuple, Mapping, Tensor, np.ndarray, os.PathLike, Image.Image)
    return hasattr(images, "__getitem__") and hasattr(images, "__len__") and not isinstance(images, known)


def _is_pixels(value: Any) -> bool:
    return isinstance(value, (Tensor, np.ndarray, Image.Image)) and not _is_label(value)


def _is_label(value: Any) -> bool:
    if isinstance(value, bool):
        return False
    if isinstance(value, (int, np.integer)):
        return True
    if isinstance(value, (Tensor, np.ndarray)):
        whole = not value.is_floating_point() if isinstance(value, Tensor) else value.dtype.kind in "iu"
        return whole and value.ndim <= 1
    return isinstance(value, (list, tuple)) and bool(value) and all(_is_label(each) for each in value)
