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
from vitscope.models.preparing.cells import Cells
from vitscope.models.preparing.inputs import drawable
from vitscope.pictures import MAX_PIXELS, Batch, PictureSource, picture_source
from vitscope.pictures.identity import id_of_stream
from vitscope.pictures.read import open_file
from vitscope.storage.recipe import digest_of, truth_digest


@dataclass(frozen=True)
class EvaluationSet:
    """Pictures and what is known about them.

    pictures: paths, Pillow images, arrays (H, W, 3), or ready tensors (3, H, W) of the model's input, one each; they
    are read as :func:`vitscope.pictures.picture_source` says.
    keys: one name per picture, on which its random draws depend. masks: bool (H, W) at the size of the picture, and
    boxes (x0, y0, x1, y1) in its pixels: both go through the model's resize and crop with the picture.
    mosaics: whether the masks are the target's cells of mosaics. contents: what each picture holds, where that is
    known without making it; else ``ids`` reads every picture. skip: a picture that cannot be read costs that picture
    only; skipped: by key, why. Without, it raises. max_pixels: most that a picture or a mask may have.
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
        """What each picture holds, see :mod:`vitscope.pictures.identity`."""
        return self.source.ids if self.contents is None else self.contents

    @cached_property
    def source(self) -> PictureSource:
        """The same pictures as the one reader takes them."""
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
        )

    def only(self, kinds: Collection[str]) -> EvaluationSet:
        """The same pictures with no more known about them than these of ``labels``, ``masks`` and ``boxes``."""
        return replace(
            self,
            labels=self.labels if "labels" in kinds else None,
            masks=self.masks if "masks" in kinds else None,
            boxes=self.boxes if "boxes" in kinds else None,
            contents=self.ids,
        )

    def truth(self) -> dict[str, str]:
        """Digests of what is known about the pictures, by kind, for a recipe; masks are read."""
        masks = None if self.masks is None else [self._mask(index) for index in range(len(self))]
        known = {"labels": self.labels, "masks": masks, "boxes": self.boxes}
        return {kind: truth_digest(self.keys, values) for kind, values in known.items() if values is not None}

    def _mask(self, index: int) -> str:
        """What a mask holds; with ``skip``, nothing for one that cannot be read."""
        assert self.masks is not None
        try:
            mask = self.masks[index]
            if isinstance(mask, (str, Path)):
                with open_file(Path(mask)) as stream:
                    return id_of_stream(stream)
            return digest_of(mask if isinstance(mask, Tensor) else np.asarray(mask))
        except (DataError, PictureError):
            if not self.skip:
                raise
            return ""

    def first(self, vit: Any) -> Tensor:
        """The first picture that can be read, (1, 3, H, W). Raises PictureError when there is none."""
        for batch in self.batches(vit, 1):
            return batch.images
        reasons = [self.skipped[key] for key in self.keys if key in self.skipped]
        raise PictureError(f"none of the {len(self)} pictures can be read; the first: {reasons[0]}")

    def part(self, start: int, stop: int) -> EvaluationSet:
        """A shard: pictures start..stop with all that is known about them."""
        cut = slice(start, stop)

        def cut_of(values: Sequence[Any] | None) -> Sequence[Any] | None:
            return None if values is None else values[cut]

        read = self.contents is not None or "ids" in self.__dict__
        return EvaluationSet(
            self.pictures[cut],
            self.keys[cut],
            cut_of(self.labels),
            cut_of(self.masks),
            cut_of(self.boxes),
            self.mosaics,
            cut_of(self.ids) if read else None,
            self.skip,
            self.max_pixels,
        )

    def batches(self, vit: Any, size: int) -> Iterator[Batch]:
        """Batches of at most ``size`` pictures for an opened model, cut by position.

        With ``skip`` a batch lacks what cannot be read, which is in ``skipped`` then. Raises PictureError for a file
        that is no longer what it was when the run began."""
        source = self.source
        if self.contents is not None:
            source.expect(self.contents)
        try:
            yield from source.batches(vit, size)
        finally:
            self.skipped.update(source.skipped)


def evaluation_set(
    images: Any,
    labels: Any = None,
    masks: Any = None,
    boxes: Any = None,
    keys: Sequence[str] | None = None,
) -> EvaluationSet:
    """Pictures in any form as an evaluation set; the forms are those of :func:`vitscope.pictures.picture_source`."""
    if isinstance(images, EvaluationSet):
        given = {"labels": labels, "masks": masks, "boxes": boxes, "keys": keys}
        more = {kind: values for kind, values in given.items() if values is not None}
        return replace(images, **more) if more else images
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
        skip=source.skip,
        max_pixels=source.max_pixels,
    )
    made.skipped.update(source.skipped)
    return made


def mean_colour(data: EvaluationSet) -> tuple[float, float, float]:
    """The mean RGB of the pictures, 0..1, each picture counted alike: ``Protocol(mean_colour=...)`` of the data set.

    Raises EvaluationError for ready tensors, whose colours only the model's preprocessing knows.
    """
    total, count = np.zeros(3), 0
    for picture in data.source.read():
        if isinstance(picture.image, Tensor):
            raise EvaluationError(
                "a mean colour needs pictures, got ready tensors; give mean_colour yourself"
            )
        total, count = total + np.asarray(picture.image, dtype=np.float64).mean(axis=(0, 1)) / 255, count + 1
    red, green, blue = (total / max(1, count)).tolist()
    return red, green, blue


def thumbnail(vit: Any, image: Tensor, cells: Cells) -> np.ndarray:
    """What the patches read of a picture (C, H, W), as uint8 (H, W, 3)."""
    image = image[:, cells.rows[0] : cells.rows[-1], cells.columns[0] : cells.columns[-1]]
    values: np.ndarray = drawable(image, vit.preprocessor).numpy()
    return values
