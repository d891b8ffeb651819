"""What is known of planned pictures from files beside them: labels, boxes, a folder of masks, class folders."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vitscope.errors import DataError
from vitscope.pictures.annotations.boxes import read_annotations
from vitscope.pictures.annotations.labels import read_labels
from vitscope.pictures.annotations.mask_files import mask_file_of
from vitscope.pictures.annotations.matching import FolderClasses, Matches, found_in, visible_folders
from vitscope.pictures.planned.names import text_of_name
from vitscope.pictures.planned.place import Place, is_url
from vitscope.pictures.planned.record import PlannedPicture


@dataclass(frozen=True)
class Beside:
    """Files with what is known of pictures, see :func:`vitscope.pictures.planned.plan_pictures`.

    ``aside``: files that were found and are not used, with the reason; filled in.
    """

    labels: Path | None = None
    boxes: Path | None = None
    masks: Path | None = None
    classes: int | None = None
    class_names: Sequence[str] | None = None
    wordnet_ids: Sequence[str] | None = None
    aside: dict[str, str] = field(default_factory=dict)

    @property
    def nothing(self) -> bool:
        """Whether there is nothing to look at."""
        return (self.labels, self.boxes, self.masks, self.classes) == (None,) * 4

    def told(self, place: Place, listed: Callable[[], Iterable[PlannedPicture]]) -> Iterator[PlannedPicture]:
        """Pictures with what is known of each; ``listed`` is gone through twice where class folders have to tell.

        Raises DataError when a file cannot be read, or says nothing about one of the pictures.
        """
        labels = _matches(self.labels, read_labels)
        boxes = _matches(self.boxes, read_annotations)
        rule = None
        if self.classes is not None:
            if labels is None:
                labels = self._found("labels.csv", read_labels, place, listed)
            if boxes is None:
                boxes = self._found("boxes.csv", read_annotations, place, listed)
            rule = self._rule(place, listed) if labels is None else None
        for picture in listed():
            path = _path(place, picture)
            known: dict[str, Any] = {}
            if boxes is not None:
                record = boxes.of(path)
                known = {"boxes": tuple(record.boxes()), "label": record.label}
            if labels is not None:
                known["label"] = labels.of(path).label
            elif rule is not None:
                known["label"] = rule(path)
            if self.masks is not None:
                known["mask"] = text_of_name(_from(place, mask_file_of(self.masks, path)))
            yield picture._replace(**known)

    def _found(
        self,
        name: str,
        read: Callable[[Path], Any],
        place: Place,
        listed: Callable[[], Iterable[PlannedPicture]],
    ) -> Matches | None:
        """A file beside the first picture or in the folder above, when it says something about all of them."""
        first = None if place.remote else next(iter(listed()), None)
        if first is None:
            return None
        folder = _path(place, first).parent
        file = found_in(name, folder, folder.parent)
        if file is None:
            return None
        try:
            matches = Matches(read(file), file)
            for picture in listed():
                matches.of(_path(place, picture))
        except DataError as error:
            self.aside[name] = str(error)
            return None
        return Matches(read(file), file)

    def _rule(
        self, place: Place, listed: Callable[[], Iterable[PlannedPicture]]
    ) -> Callable[[Path], int] | None:
        classes = FolderClasses(self.classes, self.class_names, self.wordnet_ids)
        folders: set[Path] = set()
        for picture in listed():
            path = _path(place, picture)
            classes.see(path)
            folders.add(path.parent)
        return classes.rule((lambda _: sorted(folders)) if place.remote else visible_folders)


def _matches(file: Path | None, read: Callable[[Path], Any]) -> Matches | None:
    return None if file is None else Matches(read(file), file)


def _path(place: Place, picture: PlannedPicture) -> Path:
    """Where a picture lies; of a URL, what stands behind its scheme."""
    address = place.address(picture.source)
    return Path("/", address.partition("://")[2]) if is_url(address) else Path(address)


def _from(place: Place, file: Path) -> str:
    """The name of a file beside the pictures: relative to them where both move together."""
    whole = os.path.abspath(file)
    return whole if place.remote or not whole.startswith(place.prefix) else whole[len(place.prefix) :]
