"""Where one picture lies, in a form that another process can open: the same pixels and the same id there as here."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vitscope.pictures import MAX_PIXELS, PictureSource
from vitscope.pictures.planned import PlannedPicture, PlannedSource
from vitscope.storage.recipe import digest_of


class PictureReference(ABC):
    """One picture, not opened yet. ``key``: its name. ``content``: the hash that it must have when it is opened."""

    key: str
    content: str

    @abstractmethod
    def source(self) -> PictureSource:
        """A source of this picture alone, which refuses another content."""

    @property
    @abstractmethod
    def file(self) -> str | None:
        """The path of its file, where it is a file of its own."""


@dataclass(frozen=True)
class PictureFile(PictureReference):
    """A picture that was added, and lies in a file of the server's."""

    path: str
    key: str
    content: str
    max_pixels: int = MAX_PIXELS

    def source(self) -> PictureSource:
        source = PictureSource([Path(self.path)], [self.key], max_pixels=self.max_pixels)
        source.expect([self.content])
        return source

    @property
    def file(self) -> str | None:
        return None  # where the person who added it has it, nobody knows


@dataclass(frozen=True)
class StudiedPicture(PictureReference):
    """A picture of a study: in a file, an archive, a table or behind a URL."""

    root: str
    planned: PlannedPicture
    content: str
    max_pixels: int = MAX_PIXELS

    @property
    def key(self) -> str:  # type: ignore[override]
        return self.planned.key

    def source(self) -> PictureSource:
        return PlannedSource(
            self.root,
            [self.planned],
            known=(),
            contents=[self.content],
            skip=False,
            max_pixels=self.max_pixels,
        )

    @property
    def file(self) -> str | None:
        alone = self.planned.column is None and self.planned.size < 0
        return str(self.source().items[0]) if alone else None


@dataclass(frozen=True)
class StudiedPictures(PictureReference):
    """Several pictures of one study, with their labels where it knows them."""

    parts: tuple[StudiedPicture, ...]
    labelled: bool

    @classmethod
    def of(cls, parts: Sequence[StudiedPicture]) -> StudiedPictures:
        """Pictures of one study, one or more."""
        return cls(tuple(parts), all(part.planned.label is not None for part in parts))

    @property
    def key(self) -> str:  # type: ignore[override]
        return f"{len(self.parts)} pictures"

    @property
    def content(self) -> str:  # type: ignore[override]
        labels = [part.planned.label for part in self.parts] if self.labelled else None
        return digest_of([[part.content for part in self.parts], labels])

    def source(self) -> PictureSource:
        first = self.parts[0]
        return PlannedSource(
            first.root,
            [part.planned for part in self.parts],
            known=("labels",) if self.labelled else (),
            contents=[part.content for part in self.parts],
            skip=False,
            max_pixels=first.max_pixels,
        )

    @property
    def file(self) -> str | None:
        return None
