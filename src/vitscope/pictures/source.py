"""Pictures with what is known of them, opened one batch at a time; a picture that cannot be read can be skipped."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image
from torch import Tensor

from vitscope.errors import DataError, PictureError
from vitscope.pictures.bands import Bands, bands_in
from vitscope.pictures.batch import Batch, Opened, Picture, batch_of
from vitscope.pictures.forms import Images, labelled, take_apart
from vitscope.pictures.identity import drawn_by, id_of_stream, id_of_values, key_of_path, told_apart
from vitscope.pictures.masks import read_mask
from vitscope.pictures.memory import as_picture, check_tensor
from vitscope.pictures.modes import to_rgb, upright
from vitscope.pictures.on_demand import OnDemand
from vitscope.pictures.read import MAX_PIXELS, decode, open_file
from vitscope.pictures.truth import Box, Labels, check_boxes, check_count, check_labels
from vitscope.storage.paths import typed_path

if TYPE_CHECKING:
    from typing import Self


class PictureSource:
    """An ordered set of pictures: their keys and ids, and a way to open each.

    Made by :func:`picture_source`. It can be iterated any number of times and keeps no opened picture, so any
    number of files fits in memory. With ``skip``, a picture that cannot be read (or whose mask cannot) is left out
    of its batch and recorded in ``skipped`` with the reason; without, it raises.

    Attributes:
        items: One for each picture: a Path, a Pillow image, an array or a tensor (C, H, W).
        labels: One class for each picture, None when unknown.
        masks: One for each picture: a path, a Pillow image, an array or a tensor (H, W); None when unknown.
        boxes: A list of (x0, y0, x1, y1) for each picture, in its upright pixels; None when unknown.
        targets: What is to be explained of each picture; None for the default.
        skipped: By key, why a picture could not be used; filled in while pictures are read.

    Example:
        >>> import vitscope as vs
        >>> source = vs.pictures.picture_source(vs.worlds.world("shapes").sample(3, seed=1))
        >>> source
        PictureSource(3 pictures, with labels, masks)
        >>> [picture.label for picture in source.read()]
        [7, 4, 5]
    """

    def __init__(
        self,
        items: Sequence[Any],
        keys: Sequence[str] | None,
        *,
        labels: Sequence[int] | None = None,
        masks: Sequence[Any] | None = None,
        boxes: Sequence[Sequence[Box]] | None = None,
        targets: Sequence[Any] | None = None,
        skip: bool = False,
        max_pixels: int = MAX_PIXELS,
        partial: bool = False,
    ) -> None:
        self.items, self.labels, self.masks, self.boxes, self.targets = items, labels, masks, boxes, targets
        self.skip, self.max_pixels = skip, max_pixels
        self.skipped: dict[str, str] = {}
        self._keys = None if keys is None else list(keys)
        self._ids: list[str | None] = [None] * len(items)
        self._partial = partial

    def __len__(self) -> int:
        return len(self.items)

    def __repr__(self) -> str:
        known = [name for name in ("labels", "masks", "boxes", "targets") if getattr(self, name) is not None]
        return f"PictureSource({len(self)} pictures{', with ' + ', '.join(known) if known else ''})"

    @property
    def keys(self) -> Sequence[str]:
        """The unique name of each picture, on which its random draws depend; for pictures in memory, their ids."""
        if self._keys is None:
            self._keys = told_apart(self.ids)
        return self._keys

    @property
    def ids(self) -> Sequence[str]:
        """The content hash of each picture. Each is read once; with ``skip``, empty for one that cannot be read."""
        return [self.id(index) for index in range(len(self))]

    def _name(self, index: int) -> str:
        """A key, also of a picture in memory that has none because it cannot be read."""
        return self.keys[index] or f"picture {index}"

    def id(self, index: int) -> str:
        """The content hash of one picture.

        Raises PictureError when the picture cannot be read; with ``skip``, gives an empty text instead.
        """
        known = self._ids[index]
        if known is None:
            try:
                known = self._id_of(index)
            except PictureError:
                if not self.skip:
                    raise
                known = ""  # the reason is told when it is opened
            self._ids[index] = known
        return known

    def expect(self, ids: Sequence[str]) -> None:
        """Set the content hashes that the files must have. A file that has another one when it is opened is refused.

        Args:
            ids: One hash for each picture.
        """
        self._ids = list(ids)

    def _id_of(self, index: int) -> str:
        item, _ = labelled(self.items[index])
        if isinstance(item, Path):
            with open_file(item) as stream:
                return id_of_stream(stream)
        return id_of_values(self._in_memory(item))

    def part(self, start: int, stop: int) -> Self:
        """The pictures from ``start`` up to ``stop`` (not included), with all that is known of them.

        Args:
            start: Position of the first picture, from 0.
            stop: Position after the last one.

        Returns:
            A source of at most stop - start pictures; no picture is opened for it.
        """
        places = range(len(self))[start:stop]

        def cut(values: Sequence[Any] | None) -> Sequence[Any] | None:
            if values is None or isinstance(values, (list, tuple, np.ndarray, Tensor)):
                return None if values is None else values[start:stop]
            return OnDemand(places, values.__getitem__)

        part = copy.copy(self)
        part.items = cut(self.items) or []
        part.labels, part.masks, part.boxes = cut(self.labels), cut(self.masks), cut(self.boxes)
        part.targets = cut(self.targets)
        part.skipped = {}
        part._keys, part._ids, part._partial = list(self.keys[start:stop]), self._ids[start:stop], True
        return part

    def open(self, index: int, channels: int = 3) -> Picture:
        """Read and check one picture, with what is known of it.

        Args:
            index: Its position, from 0.
            channels: How many channels the model takes. With other than one or three, a picture of as many channels
                is kept as it is; all others become RGB.

        Returns:
            The picture, upright.

        Raises:
            PictureError: It cannot be read, or the file changed after its id was taken: results would belong to
                neither.
            DataError: Its mask cannot be read or has another size.
        """
        item, label = labelled(self.items[index])
        name = str(item) if isinstance(item, Path) else f"picture {index}"
        image: Image.Image | Bands | Tensor
        if isinstance(item, Path):
            with open_file(item) as stream:
                found = id_of_stream(stream)
                stream.seek(0)
                with decode(stream, item, self.max_pixels) as stored:
                    image = bands_in(stored, channels) or to_rgb(upright(stored))
            if self._ids[index] not in (None, "", found):
                raise PictureError(f"{item} was changed while it was in use; start again")
            self._ids[index] = found
        else:
            image = self._in_memory(item, channels)
        size = (
            (int(image.shape[-2]), int(image.shape[-1]))
            if isinstance(image, Tensor)
            else (image.height, image.width)
        )
        return Picture(
            self,
            index,
            image,
            label=_number(self.labels[index]) if self.labels is not None else _number(label),
            mask=None
            if self.masks is None
            else read_mask(self.masks[index], size, name, max_pixels=self.max_pixels),
            boxes=None if self.boxes is None else list(self.boxes[index]),
            target=None if self.targets is None else self.targets[index],
        )

    def _in_memory(self, item: Any, channels: int | None = None) -> Image.Image | Bands | Tensor:
        if isinstance(item, Tensor) and item.is_floating_point():
            return check_tensor(item)
        return bands_in(item, channels) or as_picture(item, max_pixels=self.max_pixels)

    def read(self, start: int = 0, stop: int | None = None, channels: int = 3) -> Iterator[Picture]:
        """Iterate over the pictures that can be read, in order.

        Args:
            start: Position of the first picture, from 0.
            stop: Position after the last one; None for the end.
            channels: How many channels the model takes, see :meth:`open`.

        Yields:
            One picture after the other.

        Raises:
            PictureError: One cannot be read, unless ``skip`` records it and goes on.
            DataError: Its mask cannot be read, likewise.
        """
        for index in range(start, len(self) if stop is None else min(stop, len(self))):
            try:
                yield self.open(index, channels)
            except (PictureError, DataError) as error:
                if not self.skip:
                    raise
                self.skipped[self._name(index)] = str(error)

    def batches(self, vit: Opened, size: int) -> Iterator[Batch]:
        """Iterate over batches of at most ``size`` pictures in the form that the model takes, in order.

        Batches are cut by position, so a skipped picture makes its own batch smaller and leaves the others as they
        are.

        Args:
            vit: The opened model.
            size: The largest number of pictures in a batch.

        Yields:
            One batch after the other, with images (B, C, H, W).

        Raises:
            PictureError: size below 1, one picture cannot be read (without ``skip``), or none can be read.
        """
        if size < 1:
            raise PictureError(f"expected batches of at least 1 picture, got {size}")
        some = False
        channels = 3 if vit.preprocessor is None else int(vit.preprocessor.channels)
        for start in range(0, len(self), size):
            found = list(self.read(start, start + size, channels))
            if found:
                some = True
                yield batch_of(vit, found)
        if not some and not self._partial:
            self.refuse_all_skipped()

    def refuse_all_skipped(self) -> None:
        """Raise PictureError when every picture was skipped, with the reason of the first one."""
        names = (self._name(index) for index in range(len(self)))
        reasons = [self.skipped[name] for name in names if name in self.skipped]
        if len(reasons) < len(self):
            return
        reason = reasons[0]
        if len(self) == 1:
            raise PictureError(reason)
        raise PictureError(f"none of the {len(self)} pictures can be read; the first: {reason}")


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


def _number(label: Any) -> int | None:
    if label is None:
        return None
    return check_labels(np.asarray(label).reshape(-1), 1)[0]
