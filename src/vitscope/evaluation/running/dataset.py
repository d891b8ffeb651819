"""What is evaluated on: pictures in any form with labels, masks and boxes, brought to the model's input together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from vitscope.errors import DataError, EvaluationError, PictureError
from vitscope.evaluation.case import Box
from vitscope.options.door import checked
from vitscope.pictures import MAX_PIXELS, Batch, Images, Labels, PictureSource, picture_source
from vitscope.pictures.forms import labelled
from vitscope.pictures.identity import id_of_stream
from vitscope.pictures.read import Stored, open_stored
from vitscope.pictures.read_batch import ReadBatch
from vitscope.pictures.truth import check_labels
from vitscope.storage.recipe import digest_of, truth_digest
from vitscope.tracing import Vit


@dataclass(frozen=True)
class EvaluationSet:
    """Pictures to evaluate on, with what is known about them.

    Args:
        pictures: Paths, Pillow images, arrays (H, W, 3), or ready tensors (3, H, W) of the model's input.
        keys: One name per picture, all different; random draws depend on it.
        labels: One class per picture, None when unknown.
        masks: One bool mask (H, W) per picture at its size; they pass through the model's resize and crop with it.
        boxes: Lists of (x0, y0, x1, y1) in the picture's pixels, likewise.
        mosaics: True when the masks are the target's cells of mosaics.
        contents: Content hashes, where they are known without reading the pictures.
        skip: Leave out a picture that cannot be read, and record the reason; False raises.
        max_pixels: The largest number of pixels that a picture or a mask may have.
        skipped: By key, why a picture was left out.
        threads: How many threads make batches ahead of their use; the batches are the same.
        read: The pictures as one batch, where they were read already, see :meth:`of_batch`.

    Raises:
        EvaluationError: No picture, another number of keys, labels, masks or boxes, or a key that is there twice.

    Example:
        >>> import vitscope as vs
        >>> data = vs.evaluation.world_set("shapes", count=3)
        >>> len(data), data.keys[0], len(data.part(0, 2))
        (3, 'shapes/0/00000', 2)
    """

    pictures: Sequence[Any]
    keys: Sequence[str]
    labels: Sequence[int] | None = None
    masks: Sequence[Any] | None = None
    boxes: Sequence[Sequence[Box]] | None = None
    mosaics: bool = False
    contents: Sequence[str] | None = None
    skip: bool = False
    max_pixels: int = MAX_PIXELS
    skipped: dict[str, str] = field(default_factory=dict, repr=False, compare=False)
    threads: int = field(default=0, repr=False, compare=False)
    read: Batch | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not len(self.pictures):
            raise EvaluationError("there is no picture to evaluate on; give a folder or a list of pictures")
        for name in ("keys", "labels", "masks", "boxes"):
            values = getattr(self, name)
            if values is not None and len(values) != len(self.pictures):
                raise EvaluationError(
                    f"expected {name} for {len(self.pictures)} pictures, got {len(values)}; give one for each"
                )
        twice = [key for key, count in Counter(self.keys).items() if count > 1]
        if twice:
            raise EvaluationError(f"two pictures have the key {twice[0]!r}; give each its own")

    def __len__(self) -> int:
        return len(self.pictures)

    @cached_property
    def ids(self) -> Sequence[str]:
        """The content hash of each picture."""
        return self.source.ids if self.contents is None else self.contents

    @cached_property
    def source(self) -> PictureSource:
        """The same pictures as a :class:`vitscope.pictures.PictureSource`."""
        if self.read is not None:
            known = replace(
                self.read,
                labels=None if self.labels is None else self.read.labels,
                masks=None if self.masks is None else self.read.masks,
                boxes=None if self.boxes is None else self.read.boxes,
            )
            return ReadBatch(known, skip=self.skip)
        return PictureSource(
            [Path(item) if isinstance(item, str) else item for item in self.pictures]
            if isinstance(self.pictures, (list, tuple))
            else self.pictures,
            self.keys,
            labels=self.labels,
            masks=self.masks,
            boxes=self.boxes,
            skip=self.skip,
            max_pixels=self.max_pixels,
            partial=True,
            threads=self.threads,
        )

    def only(self, kinds: Collection[str]) -> EvaluationSet:
        """The same pictures with only some of what is known about them.

        Args:
            kinds: Which of ``labels``, ``masks`` and ``boxes`` to keep.

        Returns:
            The reduced set.
        """
        return replace(
            self,
            labels=self.labels if "labels" in kinds else None,
            masks=self.masks if "masks" in kinds else None,
            boxes=self.boxes if "boxes" in kinds else None,
            contents=self.ids,
        )

    def with_labels_of_items(self) -> EvaluationSet:
        """The same pictures with the labels that come with each item of a data set; as it is where none do.

        Returns:
            The set; each item is asked for once, where labels are not known yet.

        Raises:
            EvaluationError: Labels come with some items only, or are no whole numbers.
        """
        if self.labels is not None or labelled(self.pictures[0])[1] is None:
            return self
        found = [labelled(item)[1] for item in self.pictures]
        if any(label is None for label in found):
            raise EvaluationError("labels come with some of the pictures only; pass labels= for all of them")
        numbers = [np.asarray(label).reshape(-1).tolist() for label in found]
        try:
            return replace(self, labels=check_labels([each for row in numbers for each in row], len(self)))
        except DataError as error:
            raise EvaluationError(str(error)) from None

    def truth(self) -> dict[str, str]:
        """Digests of labels, masks and boxes, by kind, for a recipe; masks are read."""
        masks = None if self.masks is None else [self._mask(index) for index in range(len(self))]
        known = {"labels": self.labels, "masks": masks, "boxes": self.boxes}
        return {kind: truth_digest(self.keys, values) for kind, values in known.items() if values is not None}

    def _mask(self, index: int) -> str:
        """What a mask holds; with ``skip``, nothing for one that cannot be read."""
        assert self.masks is not None
        try:
            mask = self.masks[index]
            if isinstance(mask, (str, Path, Stored)):
                with open_stored(Path(mask) if isinstance(mask, str) else mask) as stream:
                    return id_of_stream(stream)
            return digest_of(mask if isinstance(mask, Tensor) else np.asarray(mask))
        except (DataError, PictureError):
            if not self.skip:
                raise
            return ""

    def first(self, vit: Vit) -> Tensor:
        """The first picture that can be read, as the model takes it.

        Args:
            vit: The opened model.

        Returns:
            (1, C, H, W) float.

        Raises:
            PictureError: No picture can be read.
        """
        for batch in self.batches(vit, 1):
            return batch.images
        reasons = [self.skipped[key] for key in self.keys if key in self.skipped]
        raise PictureError(f"none of the {len(self)} pictures can be read; the first: {reasons[0]}")

    def part(self, start: int, stop: int) -> EvaluationSet:
        """The pictures from ``start`` up to ``stop`` (not included), with all that is known about them.

        Args:
            start: Position of the first picture, from 0.
            stop: Position after the last one.

        Returns:
            A shard of this set.
        """
        cut = slice(start, stop)

        def cut_of(values: Sequence[Any] | None) -> Sequence[Any] | None:
            return None if values is None else values[cut]

        read = self.contents is not None or "ids" in self.__dict__
        return replace(
            self,
            pictures=self.pictures[cut],
            keys=self.keys[cut],
            labels=cut_of(self.labels),
            masks=cut_of(self.masks),
            boxes=cut_of(self.boxes),
            contents=cut_of(self.ids) if read else None,
            skipped={},
            read=self.read if len(self.keys[cut]) == len(self) else None,
        )

    def of_batch(self, batch: Batch) -> EvaluationSet:
        """The pictures of one of this set's batches, which is not read again.

        Args:
            batch: From :meth:`batches`.

        Returns:
            A set whose one batch holds the very tensor that was read.
        """

        def cut_of(values: Sequence[Any] | None) -> list[Any] | None:
            return None if values is None else [values[place] for place in batch.positions]

        return replace(
            self,
            pictures=cut_of(self.pictures) or [],
            keys=batch.keys,
            labels=cut_of(self.labels),
            masks=cut_of(self.masks),
            boxes=cut_of(self.boxes),
            contents=batch.ids,
            skipped={},
            read=batch,
        )

    def batches(self, vit: Vit, size: int) -> Iterator[Batch]:
        """Iterate over batches in the form that the model takes, cut by position.

        Args:
            vit: The opened model.
            size: The largest number of pictures in a batch.

        Yields:
            One batch after the other. With ``skip``, pictures that cannot be read are missing, and are in ``skipped``.

        Raises:
            PictureError: A picture cannot be read (without ``skip``), or a file changed during the run.
        """
        source = self.source
        if self.contents is not None:
            source.expect(self.contents)
        try:
            yield from source.batches(vit, size)
        finally:
            self.skipped.update(source.skipped)


@checked(EvaluationError)
def evaluation_set(
    images: Images,
    labels: Labels | None = None,
    masks: Any = None,
    boxes: Any = None,
    keys: Sequence[str] | None = None,
) -> EvaluationSet:
    """Bring pictures in any form into an evaluation set.

    Args:
        images: Any form that :func:`vitscope.pictures.picture_source` takes, a sample of a world, or an EvaluationSet.
        labels: One class per picture.
        masks: One mask (H, W) per picture.
        boxes: For each picture a list of (x0, y0, x1, y1).
        keys: A name for each picture, all different.

    Returns:
        The set; pictures are not read yet.

    Raises:
        EvaluationError: Labels, masks, boxes or keys for another number of pictures.
        PictureError: Something that is no picture.

    Example:
        >>> import vitscope as vs
        >>> pictures = vs.worlds.world("shapes").sample(3, seed=1).images()
        >>> data = vs.evaluation.evaluation_set(pictures, labels=[7, 4, 5])
        >>> len(data), data.labels, data.masks is None
        (3, [7, 4, 5], True)
    """
    if isinstance(images, EvaluationSet):
        given = {"labels": labels, "masks": masks, "boxes": boxes, "keys": keys}
        more = {kind: values for kind, values in given.items() if values is not None}
        return replace(images, **more, read=None) if more else images
    try:
        source = picture_source(images, keys=keys, labels=labels, masks=masks, boxes=boxes)
    except DataError as error:
        raise EvaluationError(str(error)) from None
    made = EvaluationSet(
        source.items,
        source.keys,
        source.labels,
        source.masks,
        source.boxes,
        contents=source.contents,
        skip=source.skip,
        max_pixels=source.max_pixels,
        threads=source.threads,
    )
    made.skipped.update(source.skipped)
    return made
