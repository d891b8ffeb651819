"""All pictures that can be looked at: those of the study, and those that were added since the server was started."""

from __future__ import annotations

import asyncio
import io
import os
import threading
from dataclasses import replace
from pathlib import Path

from vitscope.app.pictures.listed import ListedPicture
from vitscope.app.pictures.reference import PictureFile, PictureReference
from vitscope.app.pictures.studied import StudyShown
from vitscope.errors import PictureError, printable
from vitscope.pictures.identity import id_of_stream
from vitscope.storage import files
from vitscope.storage.scratch import remove_scratch, scratch_place

DECODERS = 2
"""How many added pictures are decoded at a time: each may need a gigabyte."""
LONGEST_NAME = 200


class NoSuchPicture(LookupError):
    """There is no picture of that id."""


class Shelf:
    """Pictures by their ids. An id is the hash of the picture's content, so that it means the same picture everywhere.

    Args:
        study: The study that is shown, if one is.
        max_pixels: Most pixels of a picture that is added.
        max_bytes: Most bytes of all added pictures together.
    """

    def __init__(self, study: StudyShown | None, max_pixels: int, max_bytes: int) -> None:
        self.study, self.max_pixels, self.max_bytes = study, max_pixels, max_bytes
        self._added: dict[str, ListedPicture] = {}
        self._sizes: dict[str, int] = {}
        self._entropies: dict[str, float] = {}
        self._places: tuple[int, dict[str, int]] = (-1, {})
        self._folder: Path | None = None
        self._decoding = asyncio.Semaphore(DECODERS)
        self._lock = threading.Lock()

    def all(self) -> list[ListedPicture]:
        """Those that were added first, the newest on top; then the study's in their order."""
        studied = [] if self.study is None else self.study.listed()
        together = [*reversed(self._added.values()), *studied]
        known = self._entropies
        return [
            replace(each, entropy=known[each.id]) if each.entropy is None and each.id in known else each
            for each in together
        ]

    def find(self, id: str) -> ListedPicture:
        """The picture of an id. Raises NoSuchPicture."""
        if id in self._added:
            return self._added[id]
        if self.study is not None:
            listed = self.study.listed()
            if self._places[0] != len(listed):
                self._places = (len(listed), {each.id: place for place, each in enumerate(listed)})
            place = self._places[1].get(id)
            if place is not None:
                return listed[place]
        raise NoSuchPicture(id)

    def opened(self, id: str) -> tuple[ListedPicture, PictureReference]:
        """The picture of an id and where it lies. Raises NoSuchPicture, and PictureError for one that was skipped."""
        found = self.find(id)
        if found.reference is None:
            raise PictureError(found.skipped or "this picture cannot be read")
        return found, found.reference

    async def add(self, content: bytes, name: str) -> ListedPicture:
        """Take a picture in; one that is there already is given back.

        Raises PictureError for what is no picture, or too large."""
        id = id_of_stream(io.BytesIO(content))
        try:
            return self.find(id)
        except NoSuchPicture:
            pass
        if not content:
            raise PictureError("the picture is empty (0 bytes); choose a picture file")
        if sum(self._sizes.values()) + len(content) > self.max_bytes:
            raise PictureError(
                f"the pictures that were added would take more than {self.max_bytes:,} bytes together; forget some"
            )
        async with self._decoding:
            made = await asyncio.to_thread(self._take, content, id, cleaned(name))
        self._added[id], self._sizes[id] = made, len(content)
        return made

    def forget(self, id: str) -> None:
        """Take an added picture away. Raises NoSuchPicture where none of that id was added."""
        if id not in self._added:
            raise NoSuchPicture(id)
        made = self._added.pop(id)
        del self._sizes[id]
        self._entropies.pop(id, None)
        if isinstance(made.reference, PictureFile):
            files.remove(made.reference.path)

    def tell(self, id: str, prediction: int, confidence: float, entropy: float | None) -> None:
        """What the model said of a picture."""
        if entropy is not None:
            self._entropies[id] = entropy
        if id in self._added:
            self._added[id] = replace(self._added[id], prediction=prediction, confidence=confidence)

    def close(self) -> None:
        """Remove the files of all added pictures."""
        folder, self._folder = self._folder, None
        if folder is not None:
            remove_scratch(folder)

    def _take(self, content: bytes, id: str, name: str) -> ListedPicture:
        """Write it down, and see that it can be read: by the reader through which every picture comes."""
        path = self._made_folder() / id
        files.write(path, content)
        reference = PictureFile(str(path), name, id, self.max_pixels)
        try:
            reference.source().open(0)
        except PictureError as error:
            files.remove(path)
            raise PictureError(str(error).replace(str(path), name)) from None
        except BaseException:
            files.remove(path)
            raise
        return ListedPicture(id, name, reference)

    def _made_folder(self) -> Path:
        """A folder that nobody else can look into."""
        with self._lock:
            if self._folder is None:
                self._folder = scratch_place()
                files.make_folders(self._folder)
                os.chmod(self._folder, 0o700)
            return self._folder


def cleaned(name: str) -> str:
    """The name of a file that somebody sent, as it is shown: its last part, printable, not too long."""
    last = printable(name.replace("\\", "/").rpartition("/")[2].strip())
    return last[-LONGEST_NAME:] or "picture"
