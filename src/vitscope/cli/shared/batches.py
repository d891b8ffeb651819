"""Many pictures in parts: a bad one is reported and skipped, a bad output file is reported, and the rest is done."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from vitscope.cli.exit_codes import OK, PARTIAL
from vitscope.cli.shared.console import note
from vitscope.cli.shared.progress import watching
from vitscope.errors import OutputError
from vitscope.progress import CountedStage

if TYPE_CHECKING:
    from vitscope.pictures import PictureSource


@dataclass
class PictureParts:
    """Iterate over (start, part): at most ``size`` pictures each, cut by position, to be read before the next is taken.

    What cannot be read is said and remembered by the source. When none can be read, that is an error: there is no rest
    that could be done. The same holds for results that cannot be written, see `writing`.
    """

    source: PictureSource
    size: int
    label: str
    unwritten: dict[str, str] = field(default_factory=dict)
    written: int = 0

    def __iter__(self) -> Iterator[tuple[int, PictureSource]]:
        for reason in self.source.skipped.values():  # folders that cannot be searched
            note(f"skipped: {reason}")
        total = len(self.source)
        with watching() as progress:
            stage = CountedStage(progress, self.label, total)
            stage.begin()
            for start in range(0, total, self.size):
                part = self.source.part(start, min(start + self.size, total))
                yield start, part
                for key, reason in part.skipped.items():
                    self.source.skipped[key] = reason
                    if total > 1:  # of one alone it is the error
                        note(f"skipped: {reason}")
                stage.reach(start + len(part))
        self.source.refuse_all_skipped()
        if self.unwritten and not self.written:
            raise OutputError(next(iter(self.unwritten.values())))

    @classmethod
    def read(cls, source: PictureSource) -> PictureParts:
        """Pictures that the library went through by itself; those that it skipped are said."""
        for reason in source.skipped.values():
            note(f"skipped: {reason}")
        return cls(source, len(source), "")

    @contextmanager
    def writing(self, key: str) -> Iterator[None]:
        """Write one picture's results; one that cannot be written is said, and the others are done."""
        try:
            yield
            self.written += 1
        except OutputError as error:
            self.unwritten[key] = str(error)
            note(f"not written: {error}")

    @property
    def exit_code(self) -> int:
        """0 when every picture was done, 3 when some were not."""
        return PARTIAL if self.source.skipped or self.unwritten else OK

    def skipped_records(self) -> list[dict[str, str]]:
        """The pictures that were not read, and those whose results were not written, for ``--json``."""
        missed = {**self.source.skipped, **self.unwritten}
        return [{"picture": key, "reason": reason} for key, reason in missed.items()]
