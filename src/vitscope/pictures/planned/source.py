"""The pictures of a plan as a source, like files: the same decoding, limits, ids and skipping, wherever they lie."""

from __future__ import annotations

import io
import os
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO

from vitscope.errors import DataError, PictureError
from vitscope.pictures.on_demand import OnDemand
from vitscope.pictures.planned.place import Place
from vitscope.pictures.planned.record import PlannedPicture
from vitscope.pictures.planned.rows import Rows
from vitscope.pictures.read import MAX_PIXELS, Stored
from vitscope.pictures.source import PictureSource

KNOWN = ("labels", "masks", "boxes")


@dataclass(frozen=True)
class StoredPicture(Stored):
    """One picture of a plan, which knows how to get at its bytes."""

    rows: Rows
    planned: PlannedPicture

    def __str__(self) -> str:
        planned, place = self.planned, self.rows.place
        if planned.column is not None:
            return f"{place.address(planned.source)}, row {planned.offset}"
        if planned.size >= 0:
            return f"{place.address(planned.source)}::{planned.key.rpartition('::')[2]}"
        return place.address(planned.source)

    @contextmanager
    def opened(self) -> Iterator[IO[bytes]]:
        planned = self.planned
        if planned.reason is not None:
            raise PictureError(planned.reason)
        if planned.column is not None:
            yield io.BytesIO(self.rows.content(planned.source, planned.column, planned.offset, str(self)))
            return
        place = self.rows.place
        with place.opened(planned.source, planned.offset, planned.size, str(self)) as stream:
            yield stream


@dataclass(frozen=True)
class StoredMask(Stored):
    """The mask of a picture of a plan."""

    place: Place
    source: str

    def __str__(self) -> str:
        return self.place.address(self.source)

    @contextmanager
    def opened(self) -> Iterator[IO[bytes]]:
        with self.place.opened(self.source) as stream:
            yield stream


class PlannedSource(PictureSource):
    """Pictures of a plan, opened one batch at a time from where they lie.

    It does all that a source of files does, with the same pixels and the same content ids; what is fetched from an
    archive, a table or a URL is read whole into memory and never written to disk.

    Example:
        >>> import vitscope as vs
        >>> from vitscope.pictures.planned import PlannedSource, plan_pictures
        >>> for number, image in enumerate(vs.worlds.world("shapes").sample(3).images()):
        ...     image.save(f"{number}.png")
        >>> plan = plan_pictures(".")
        >>> source = PlannedSource(plan.root, list(plan))
        >>> source, source.ids == vs.pictures.picture_source(".").ids
        (PictureSource(3 pictures), True)
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        planned: Sequence[PlannedPicture],
        *,
        known: Collection[str] | None = None,
        contents: Sequence[str] | None = None,
        skip: bool = True,
        max_pixels: int = MAX_PIXELS,
        threads: int = 0,
    ) -> None:
        """Make a source of some pictures of a plan.

        Args:
            root: The folder or URL that the plan is relative to, as it is named now.
            planned: The pictures, in order.
            known: Which of labels, masks and boxes to hand on, decided for the whole plan, so that all its parts are
                alike; a picture without boxes then has none. None hands on those that all of these pictures have.
            contents: The content hashes, where they are known; a picture that has another one is refused.
            skip: Leave out what cannot be read and record the reason; False raises.
            max_pixels: The largest number of pixels that a picture or a mask may have.
            threads: How many threads prepare batches ahead of their use; 0 makes each when it is asked for. Two keep a
                model on CPUs busy; a fifth of the work holds Python's lock, so more than five bring no more.

        Raises:
            DataError: ``known`` asks for labels or masks, and a picture has none.
        """
        rows = Rows(Place.of(root))
        lacking = {
            "labels": next((picture.key for picture in planned if picture.label is None), None),
            "masks": next((picture.key for picture in planned if picture.mask is None), None),
            "boxes": next((picture.key for picture in planned if picture.boxes is None), None),
        }
        told = [name for name in KNOWN if lacking[name] is None] if known is None else known
        for name in {"labels", "masks"}.intersection(told):
            if lacking[name] is not None:
                raise DataError(f"{lacking[name]!r} has no {name[:-1]}; give one to each picture, or to none")
        super().__init__(
            OnDemand(planned, lambda picture: StoredPicture(rows, picture)),
            [picture.key for picture in planned],
            labels=[picture.label for picture in planned] if "labels" in told else None,  # type: ignore[misc]
            masks=OnDemand(planned, lambda picture: StoredMask(rows.place, picture.mask or ""))
            if "masks" in told
            else None,
            boxes=[list(picture.boxes or ()) for picture in planned] if "boxes" in told else None,
            skip=skip,
            max_pixels=max_pixels,
            threads=threads,
        )
        self.planned = planned
        if contents is not None:
            self.expect(contents)
