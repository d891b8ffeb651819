"""What manifests say of a picture: its file, class, boxes and mask, read from the values of a row."""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from vitscope.errors import DataError, brief, nearest
from vitscope.pictures.annotations.files import whole_number
from vitscope.pictures.identity import key_of_name
from vitscope.pictures.planned.names import text_of_name
from vitscope.pictures.planned.place import Place, is_url
from vitscope.pictures.planned.record import PlannedPicture
from vitscope.pictures.truth import Box, check_boxes


@dataclass(frozen=True)
class ClassReader:
    """Classes as numbers from 0 on, or as names of ``names`` where it is given."""

    names: Sequence[str] | None = None
    numbers: Mapping[str, int] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "numbers", {name: place for place, name in enumerate(self.names or ())})

    def __call__(self, value: object, where: str) -> int:
        """The number of a class. Raises DataError, which names the place, for what is none."""
        if isinstance(value, (float, np.floating)) and float(value).is_integer():
            value = int(value)  # a column of whole numbers with gaps
        if isinstance(value, str) and value.strip() in self.numbers:
            return self.numbers[value.strip()]
        if isinstance(value, str) and self.numbers and not value.strip().isdigit():
            near = ", ".join(nearest(value, self.numbers, 1))
            raise DataError(f"{where}: the model has no class {value[:40]!r}; nearest: {near}")
        if isinstance(value, bool) or not isinstance(value, (str, int, np.integer)):
            raise DataError(f"{where}: expected a class number, got {value!r:.40}; correct it")
        return whole_number(str(value), where)


@dataclass(frozen=True)
class RowReader:
    """The planned picture of one row of a manifest. ``place``: what its names are relative to."""

    place: Place
    read_label: ClassReader

    def __call__(self, row: Mapping[str, Any], where: str) -> PlannedPicture:
        """Raises DataError, which names the place, for a row that cannot be used."""
        name, key = self.named(row.get("file"), where)
        given = row.get("key")
        return PlannedPicture(
            key if _missing(given) else key_of_name(str(given)), text_of_name(name), **self.known(row, where)
        )

    def known(self, row: Mapping[str, Any], where: str) -> dict[str, Any]:
        """What a row says of its picture beside where it lies."""
        label, boxes, mask = row.get("class_index"), row.get("boxes"), row.get("mask")
        return {
            "label": None if _missing(label) else self.read_label(label, f"{where}: class_index"),
            "boxes": None if _missing(boxes) else _boxes(boxes, where),
            "mask": None if _missing(mask) else text_of_name(self.named(mask, where)[0]),
        }

    def named(self, value: object, where: str) -> tuple[str, str]:
        """A file of a row relative to the place, and its key; a URL stays whole and its key leaves out the scheme."""
        if _missing(value) or not isinstance(value, str):
            raise DataError(f"{where}: expected the name of a file, got {value!r:.40}; complete the row")
        name = value.removeprefix(self.place.prefix)
        if is_url(name):
            if self.place.remote and name.partition("://")[0] != self.place.root.partition("://")[0]:
                raise DataError(
                    f"{where}: {name[:80]} is elsewhere than {self.place.root}; copy the list to this machine"
                )
            return name, key_of_name(name.partition("://")[2].partition("?")[0])
        path = posixpath.normpath(name)
        if "\0" in name or path.startswith(("/", "../")) or path in (".", ".."):
            raise DataError(
                f"{where}: {name[:80]!r} lies outside {self.place.root}; name files relative to it, or give root="
            )
        return path, key_of_name(path)


def _missing(value: object) -> bool:
    return value is None or value == "" or (isinstance(value, float) and value != value)


def _boxes(value: object, where: str) -> tuple[Box, ...]:
    """Boxes as lists of four numbers, as JSON, or as ``x0 y0 x1 y1; x0 y0 x1 y1``."""
    try:
        if isinstance(value, str) and value.lstrip().startswith("["):
            value = json.loads(value)
        elif isinstance(value, str):
            value = [
                [float(part) for part in re.split(r"[\s,]+", box.strip())]
                for box in value.split(";")
                if box.strip()
            ]
        if (
            isinstance(value, Sequence)
            and len(value) == 4
            and all(isinstance(side, (int, float)) for side in value)
        ):
            value = [value]
        return tuple(check_boxes([value], 1)[0])
    except (ValueError, RecursionError, TypeError) as error:
        raise DataError(f"{where}: boxes cannot be read ({brief(error)}); write x0 y0 x1 y1; ...") from error
    except DataError as error:
        raise DataError(f"{where}: {error}") from error
