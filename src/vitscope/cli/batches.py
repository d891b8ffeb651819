"""Many pictures in batches, where a bad one is reported and skipped and the rest is done."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from vitscope.cli.console import note
from vitscope.cli.exit_codes import OK, PARTIAL
from vitscope.cli.progress import Meter
from vitscope.errors import AnswerError, PictureError
from vitscope.storage.outputs import OutputNames

if TYPE_CHECKING:
    from PIL import Image

T = TypeVar("T")


@dataclass
class PictureBatches:
    """Iterate over ``(paths, pictures)`` of at most ``size``; what cannot be read lands in ``skipped``.

    A single picture that cannot be read is an error and no skip: there is no rest that could be done. The same
    holds when none of many can be read.
    """

    paths: list[Path]
    size: int
    label: str
    max_pixels: int | None = None
    skipped: list[tuple[Path, str]] = field(default_factory=list)

    def __iter__(self) -> Iterator[tuple[list[Path], list[Image.Image]]]:
        from vitscope.models import read_picture

        limit = {} if self.max_pixels is None else {"max_pixels": self.max_pixels}
        with Meter(self.label, len(self.paths)) as advance:
            for start in range(0, len(self.paths), self.size):
                chunk = self.paths[start : start + self.size]
                paths: list[Path] = []
                pictures: list[Image.Image] = []
                for path in chunk:
                    try:
                        pictures.append(read_picture(path, **limit))
                        paths.append(path)
                    except PictureError as error:
                        if len(self.paths) == 1:
                            raise
                        self.skipped.append((path, str(error)))
                        note(f"skipped: {error}")
                if paths:
                    yield paths, pictures
                advance(len(chunk))
        if len(self.skipped) == len(self.paths):
            raise PictureError(
                f"none of the {len(self.paths)} pictures can be read; the lines above give the reason of each"
            )

    def answered(
        self, run: Callable[[list[Image.Image]], T]
    ) -> Iterator[tuple[list[Path], list[Image.Image], T]]:
        """What ``run`` gives for each batch, with its paths and pictures. One whose answer cannot be explained (the
        model says NaN) is skipped.

        Raises AnswerError when that is so for every picture of the first batch, since it is the model's fault then."""
        any_answer = False
        for paths, pictures in self:
            left = list(zip(paths, pictures, strict=True))
            while left:
                try:
                    result = run([picture for _, picture in left])
                except AnswerError as error:
                    if len(error.pictures) == len(left) and not any_answer:
                        raise
                    for index in error.pictures:
                        self.skipped.append((left[index][0], error.of_one))
                        note(f"skipped: {left[index][0]}: {error.of_one}")
                    left = [entry for index, entry in enumerate(left) if index not in error.pictures]
                    continue
                any_answer = True
                yield [path for path, _ in left], [picture for _, picture in left], result
                break

    @property
    def exit_code(self) -> int:
        """0 when every picture was done, 3 when some were skipped."""
        return PARTIAL if self.skipped else OK

    def skipped_records(self) -> list[dict[str, str]]:
        """The skipped pictures for ``--json``."""
        return [{"picture": str(path), "reason": reason} for path, reason in self.skipped]


def output_names(paths: list[Path], reserved: Iterable[str] = ("report.html",)) -> dict[Path, Path]:
    """For each picture the relative path, without ending, under which its results are written.

    Folders below the pictures' common folder are kept; see `vitscope.storage.outputs` for what a name may be. None
    leads out of the output folder, and no two pictures write to the same file.
    """
    absolute = [os.path.abspath(path) for path in paths]
    root = os.path.commonpath([os.path.dirname(path) for path in absolute])
    keys: list[str] = []
    seen: Counter[str] = Counter()
    for path in absolute:
        key = Path(path).relative_to(root).as_posix()
        seen[key] += 1
        # A way through a link and back (link/../x.png) may be written as another file's is.
        keys.append(key if seen[key] == 1 else f"{key}#{seen[key]}")
    names = OutputNames("", keys, reserved)
    return {path: names.stem(key) for path, key in zip(paths, keys, strict=True)}
