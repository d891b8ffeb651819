"""Pictures in any accepted form as one source, with labels, masks, boxes and targets checked against them."""

from __future__ import annotations

import copy
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vitscope.errors import DataError, PictureError
from vitscope.options.door import checked
from vitscope.pictures.forms import Images, take_apart
from vitscope.pictures.identity import drawn_by, key_of_path, told_apart
from vitscope.pictures.read import MAX_PIXELS
from vitscope.pictures.source import PictureSource
from vitscope.pictures.truth import Labels, check_boxes, check_count, check_labels
from vitscope.storage.paths import typed_path


@checked(PictureError)
def picture_source(
    images: Images,
    *,
    root: str | os.PathLike[str] | None = None,
    keys: Sequence[str] | None = None,
    labels: Labels | None = None,
    masks: Any = None,
    boxes: Any = None,
    targets: Any = None,
    skip: bool = False,
    max_pixels: int = MAX_PIXELS,
) -> PictureSource:
    """Bring pictures in any accepted form into one source; the same forms, read the same way, everywhere in vitscope.

    ========================================  ===========================================================
    form                                      what it is
    ========================================  ===========================================================
    path, folder, glob (text or Path)         picture files, see :func:`vitscope.pictures.find_pictures`
    Pillow image                              one picture, turned upright
    array (H, W), (H, W, 1), (H, W, 3 or 4)   one picture: grey, RGB, RGBA
    array (B, H, W, 1, 3 or 4)                B pictures, whatever B is
    array (H, W, C), uint8 tensor (C, H, W)   for a model of C channels: all of them are kept
    uint8 tensor (3, H, W), (B, 3, H, W)      pictures
    float tensor (3, H, W), (B, 3, H, W)      ready input for the model, normalised already: not changed
    list, tuple, generator, DataLoader        any of these one after the other, also (pictures, labels)
    data set with ``[i]`` and ``len``         one picture each, opened when it is needed
    sample of a world, PictureSource          with its labels and masks
    ========================================  ===========================================================

    Arrays are uint8, uint16 (65,535 is white), bool, or floats in 0..1. Every picture becomes 8-bit RGB: transparent
    parts are laid on white, deep ones scaled by their range, EXIF rotations applied. Masks and boxes are in upright
    pixels.

    Args:
        images: Pictures in one of the forms above.
        root: The folder that keys are relative to. Default: the one folder or glob that was named (its part before the
            first star), else the current folder.
        keys: A name for each picture instead, all different.
        labels: One class for each picture: a list, an array or a tensor of whole numbers.
        masks: One mask (H, W) for each picture: paths, Pillow images, arrays or tensors.
        boxes: For each picture a list of (x0, y0, x1, y1).
        targets: What is to be explained of each picture, one each.
        skip: Leave out what cannot be read and record the reason in ``skipped``; False raises.
        max_pixels: The largest number of pixels (height times width) that a picture or a mask may have.

    Returns:
        The source; no picture is opened yet.

    Raises:
        PictureError: Something that is no picture, or a file outside ``root``.
        DataError: labels, masks, boxes or targets for another number of pictures.

    Example:
        >>> import numpy as np
        >>> import vitscope as vs
        >>> source = vs.pictures.picture_source(np.zeros((3, 8, 9, 3), np.uint8), labels=[0, 1, 1])
        >>> len(source), source.open(0).image.size
        (3, (9, 8))
    """
    given: Any = images
    if isinstance(given, PictureSource):
        return _again(given, keys, labels, masks, boxes, targets, skip)
    if all(hasattr(given, name) for name in ("pictures", "labels", "masks")):  # a sample of a world
        labels = given.labels if labels is None else labels
        masks = given.masks if masks is None else masks
        given = given.pictures
    found = take_apart(given)
    items, count = found.pictures, len(found.pictures)
    names: list[str] | None
    if keys is not None:
        names = _given_keys(keys, count)
    elif isinstance(items, list) and all(isinstance(item, Path) for item in items):
        top = found.root if root is None else typed_path(root, PictureError)
        names = told_apart([key_of_path(item, top) for item in items])
    elif isinstance(items, list) and any(isinstance(item, Path) for item in items):
        top = None if root is None else typed_path(root, PictureError)
        mixed = PictureSource(items, [], skip=skip, max_pixels=max_pixels)
        names = told_apart(
            [
                key_of_path(item, top) if isinstance(item, Path) else mixed.id(i)
                for i, item in enumerate(items)
            ]
        )
    else:
        names = None
    labels = found.labels if labels is None else labels
    made = PictureSource(
        items,
        names,
        labels=None if labels is None else check_labels(labels, count),
        masks=None if masks is None else _checked_several(masks, count, "masks"),
        boxes=None if boxes is None else check_boxes(boxes, count),
        targets=None if targets is None else _checked_several(targets, count, "targets"),
        skip=skip,
        max_pixels=max_pixels,
    )
    if found.closed:
        if not skip:
            raise PictureError(next(iter(found.closed.values())))
        made.skipped.update({key_of_path(folder): reason for folder, reason in found.closed.items()})
    return made


def _again(
    source: PictureSource,
    keys: Sequence[str] | None,
    labels: Any,
    masks: Any,
    boxes: Any,
    targets: Any,
    skip: bool,
) -> PictureSource:
    """The same pictures with more that is known of them; what is known already stays."""
    if all(value is None for value in (keys, labels, masks, boxes, targets)) and skip in (False, source.skip):
        return source
    count = len(source)
    known = copy.copy(source)
    known.skipped = dict(source.skipped)
    known._keys = source._keys if keys is None else _given_keys(keys, count)
    known.labels = source.labels if labels is None else check_labels(labels, count)
    known.masks = source.masks if masks is None else _checked_several(masks, count, "masks")
    known.boxes = source.boxes if boxes is None else check_boxes(boxes, count)
    known.targets = source.targets if targets is None else _checked_several(targets, count, "targets")
    known.skip = skip or source.skip
    return known


def _given_keys(keys: Sequence[str], count: int) -> list[str]:
    names = [str(key) for key in keys]
    check_count(names, count, "keys")
    twice = next((new for name, new in zip(names, told_apart(names), strict=True) if name != new), None)
    if twice is not None:
        raise DataError(f"two pictures have the key {drawn_by(twice)!r}; give each its own")
    return names


def _checked_several(values: Any, count: int, what: str) -> Sequence[Any]:
    """One value for each picture, made when it is asked for where the sequence is lazy."""
    if isinstance(values, (str, bytes)) or not (
        hasattr(values, "__getitem__") and hasattr(values, "__len__")
    ):
        raise DataError(f"expected a list of {what}, one for each picture, got {type(values).__name__}")
    check_count(values, count, what)
    return values  # type: ignore[no-any-return]
