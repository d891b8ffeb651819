"""Pictures with what is known of them, opened one batch at a time; a picture that cannot be read can be skipped."""

from __future__ import annotations

import contextlib
import copy
import functools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from PIL import Image
from torch import Tensor

from vitscope.errors import DataError, PictureError
from vitscope.pictures.ahead import Stopped, ahead
from vitscope.pictures.bands import Bands, bands_in
from vitscope.pictures.batch import Batch, Opened, Picture, batch_of
from vitscope.pictures.forms import labelled
from vitscope.pictures.identity import id_of_values, ids_on_devices, told_apart
from vitscope.pictures.masks import read_mask
from vitscope.pictures.memory import as_picture, check_tensor
from vitscope.pictures.modes import to_rgb, upright
from vitscope.pictures.on_demand import OnDemand
from vitscope.pictures.read import MAX_PIXELS, Stored, decode, id_of_stored, open_stored
from vitscope.pictures.truth import Box, known_label


class PictureSource:
    """An ordered set of pictures: their keys and ids, and a way to open each.

    Made by :func:`picture_source`. It can be iterated any number of times and keeps no opened picture, so any
    number of files fits in memory. With ``skip``, a picture that cannot be read (or whose mask cannot) is left out
    of its batch and recorded in ``skipped`` with the reason; without, it raises.

    Attributes:
        items: One for each picture: a Path, a file in an archive or a store, a Pillow image, an array or a tensor
            (C, H, W).
        labels: One class for each picture, None when unknown.
        masks: One for each picture: a path, a Pillow image, an array or a tensor (H, W); None when unknown.
        boxes: A list of (x0, y0, x1, y1) for each picture, in its upright pixels; None when unknown.
        targets: What is to be explained of each picture; None for the default.
        threads: How many threads make batches ahead of their use; 0 makes each when it is asked for. The batches are
            the same.
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
        threads: int = 0,
    ) -> None:
        self.items, self.labels, self.masks, self.boxes, self.targets = items, labels, masks, boxes, targets
        self.skip, self.max_pixels, self.threads = skip, max_pixels, threads
        self.skipped: dict[str, str] = {}
        self._keys = None if keys is None else list(keys)
        self._ids: list[str | None] = [None] * len(items)
        self._sound: set[int] = set()  # ready tensors without NaN and infinity
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
        if isinstance(self.items, list) and None in self._ids:
            for index, found in ids_on_devices(self.items).items():
                if self._ids[index] is None:
                    self._ids[index] = found
                    self._sound.add(index)
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

    @property
    def contents(self) -> Sequence[str] | None:
        """The content hash of each picture where all are known already, else None; no picture is read for it."""
        known = [found for found in self._ids if found is not None]
        return known if len(known) == len(self) else None

    def expect(self, ids: Sequence[str]) -> None:
        """Set the content hashes that the files must have. A file that has another one when it is opened is refused.

        Args:
            ids: One hash for each picture.
        """
        self._ids = list(ids)

    def _id_of(self, index: int) -> str:
        item, _ = labelled(self.items[index])
        if isinstance(item, (Path, Stored)):
            with open_stored(item) as stream:
                return id_of_stored(stream, item)
        return id_of_values(self._in_memory(index, item))

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
        part._sound = set()
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
        name = str(item) if isinstance(item, (Path, Stored)) else f"picture {index}"
        image: Image.Image | Bands | Tensor
        size_of_file = None
        if isinstance(item, (Path, Stored)):
            with open_stored(item) as stream:
                found = id_of_stored(stream, item)
                size_of_file = stream.tell()
                stream.seek(0)
                with decode(stream, item, self.max_pixels) as stored:
                    image = bands_in(stored, channels) or to_rgb(upright(stored))
            if self._ids[index] not in (None, "", found):
                raise PictureError(f"{item} was changed while it was in use; put it back, or start again")
            self._ids[index] = found
        else:
            image = self._in_memory(index, item, channels)
        size = (
            (int(image.shape[-2]), int(image.shape[-1]))
            if isinstance(image, Tensor)
            else (image.height, image.width)
        )
        return Picture(
            self,
            index,
            image,
            label=known_label(self.labels[index]) if self.labels is not None else known_label(label),
            mask=None
            if self.masks is None
            else read_mask(self.masks[index], size, name, max_pixels=self.max_pixels),
            boxes=None if self.boxes is None else list(self.boxes[index]),
            target=None if self.targets is None else self.targets[index],
            file_size=size_of_file,
        )

    def _in_memory(self, index: int, item: Any, channels: int | None = None) -> Image.Image | Bands | Tensor:
        if isinstance(item, Tensor) and item.is_floating_point():
            if index not in self._sound:  # on a device each look at a value is a wait
                check_tensor(item)
                self._sound.add(index)
            return item
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
        for found in self._found(start, len(self) if stop is None else stop, channels):
            if isinstance(found, Picture):
                yield found
            else:
                self.skipped.update(found)

    def _found(self, start: int, stop: int, channels: int) -> Iterator[Picture | dict[str, str]]:
        """Each picture, or with ``skip`` by its key why there is none."""
        for index in range(start, min(stop, len(self))):
            try:
                yield self.open(index, channels)
            except (PictureError, DataError) as error:
                if not self.skip:
                    raise
                yield {self._name(index): str(error)}

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

        def made(start: int, stopped: Stopped) -> tuple[Batch | None, dict[str, str]]:
            pictures, skipped = [], {}
            for found in self._found(start, start + size, channels):
                if stopped():
                    return None, {}
                if isinstance(found, Picture):
                    pictures.append(found)
                else:
                    skipped.update(found)
            return (batch_of(vit, pictures) if pictures else None), skipped

        tasks = (functools.partial(made, start) for start in range(0, len(self), size))
        with contextlib.closing(ahead(tasks, self.threads)) as several:
            for batch, skipped in several:
                self.skipped.update(skipped)
                if batch is not None:
                    some = True
                    yield batch
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
