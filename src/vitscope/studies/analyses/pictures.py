"""The table of pictures: what each is, and whether it could be used."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vitscope.errors import PictureError
from vitscope.pictures import Batch
from vitscope.pictures.planned import PlannedPicture, PlannedSource
from vitscope.studies.output import Output, Places

OK, SKIPPED = "ok", "skipped"


class PictureRows:
    """The rows of one shard, filled in while its pictures are read.

    Args:
        planned: The pictures of the shard.
        source: Which reads them.
    """

    def __init__(self, planned: Sequence[PlannedPicture], source: PlannedSource) -> None:
        self._planned, self._source = planned, source
        self._seen: dict[str, tuple[int, int, int | None]] = {}
        self._refused: dict[str, str] = {}
        self._left_out: dict[str, dict[str, str]] = {}

    def read(self, batch: Batch) -> None:
        """These pictures were read."""
        for picture in batch.pictures:
            height, width = picture.size
            self._seen[picture.key] = (width, height, picture.file_size)

    def refuse(self, key: str, reason: str) -> None:
        """No analysis can use this picture."""
        self._refused[key] = reason

    def leave_out(self, analysis: str, key: str, reason: str) -> None:
        """One analysis could not use this picture; the others did."""
        self._left_out.setdefault(key, {})[analysis] = reason

    @property
    def skipped(self) -> dict[str, str]:
        """By key, why a picture could not be used at all."""
        return {**self._source.skipped, **self._refused}

    @property
    def contents(self) -> list[str]:
        """The hash of the bytes of every planned picture, empty for a file that is not there."""
        return [self._content(row) for row in range(len(self._planned))]

    def finish(self, places: Places) -> Output:
        """One row for each planned picture."""
        skipped = self.skipped
        columns: dict[str, list[Any]] = {
            name: []
            for name in ("picture", "key", "label", "status", "reason", "width", "height", "bytes", "content")
        }
        for row, picture in enumerate(self._planned):
            width, height, size = self._seen.get(picture.key, (None, None, None))
            partly = self._left_out.get(picture.key, {})
            told = skipped.get(picture.key) or "; ".join(f"{name}: {why}" for name, why in partly.items())
            columns["picture"].append(places.start + row)
            columns["key"].append(picture.key)
            columns["label"].append(picture.label)
            columns["status"].append(SKIPPED if picture.key in skipped else OK)
            columns["reason"].append(told or None)
            columns["width"].append(width)
            columns["height"].append(height)
            columns["bytes"].append(size)
            columns["content"].append(self._content(row) or None)
        return Output({"pictures": columns})

    def _content(self, row: int) -> str:
        """The hash of the file's bytes; nothing for a file that is not there."""
        try:
            return self._source.id(row)
        except PictureError:
            return ""
