"""Pictures that were read already, as a source of one batch: several analyses look at them, none reads them again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

from vitscope.pictures.batch import Batch, Opened
from vitscope.pictures.source import PictureSource


@dataclass
class _Names:
    """What the pictures of a batch ask of their source."""

    items: Sequence[Any]
    keys: Sequence[str]
    ids: Sequence[str]
    targets: Sequence[Any] | None

    def id(self, index: int) -> str:
        """The content hash of one picture."""
        return self.ids[index]


class ReadBatch(PictureSource):
    """The pictures of one batch, with all that is known of them; its batch holds the very tensor that was read.

    Args:
        batch: Pictures that were read.
        skip: Leave out a picture that an analysis cannot use, and record the reason; False raises.

    Example:
        >>> import vitscope as vs
        >>> from vitscope.pictures.read_batch import ReadBatch
        >>> vit = vs.open_model("bundled/shapes")
        >>> source = vs.pictures.picture_source(vs.worlds.world("shapes").sample(3, seed=1))
        >>> batch = next(source.batches(vit, size=3))
        >>> next(ReadBatch(batch).batches(vit, size=16)).images is batch.images
        True
    """

    def __init__(self, batch: Batch, *, skip: bool = False) -> None:
        pictures = batch.pictures
        super().__init__(
            [picture.image for picture in pictures],
            batch.keys,
            labels=None if batch.labels is None else batch.labels.tolist(),
            masks=None if batch.masks is None else [picture.mask for picture in pictures],
            boxes=None if batch.boxes is None else [picture.boxes or [] for picture in pictures],
            targets=batch.targets,
            skip=skip,
            partial=True,
        )
        self.expect(batch.ids)
        # not this source itself: it holds the batch, and a circle would keep the tensors until the next collection
        names = _Names(self.items, batch.keys, batch.ids, batch.targets)
        own = [replace(picture, source=names, position=place) for place, picture in enumerate(pictures)]
        self._read: Batch | None = replace(batch, pictures=own)

    def batches(self, vit: Opened, size: int) -> Iterator[Batch]:
        """The batch as it was read; where ``size`` is smaller, its pictures are prepared anew in smaller ones.

        Args:
            vit: The opened model that it was read for.
            size: The largest number of pictures in a batch.

        Yields:
            One batch after the other.
        """
        if self._read is None or len(self) > size:
            yield from super().batches(vit, size)
        else:
            yield self._read

    def part(self, start: int, stop: int) -> Self:
        """Some of the pictures, see :meth:`PictureSource.part`."""
        part = super().part(start, stop)
        part._read = self._read if len(part) == len(self) else None
        return part
