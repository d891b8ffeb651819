"""Labelled folders of pictures: a labels.csv, or one sub-folder per class."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from vitscope.data.records import PictureRecord
from vitscope.errors import DataError

SUFFIXES: Final = frozenset(
    (
        ".jpg",
        ".jpeg",
        ".jpe",
        ".jfif",
        ".png",
        ".webp",
        ".gif",
        ".bmp",
        ".tif",
        ".tiff",
        ".ppm",
        ".pgm",
        ".avif",
        ".jp2",
    )
)
"""Endings that count as pictures when a class folder is listed; a labels.csv may name any file."""


def read_folder(folder: str | Path, labels: str | Path | None = None) -> list[PictureRecord]:
    """The labelled pictures of a folder, in the order of the label file, or sorted by class folder and name.

    labels: a CSV file with the columns `file` (relative to the folder) and `class_index`, optionally `name`. Without
    it, `labels.csv` in the folder is used; without that, each sub-folder is a class, numbered in sorted order.

    Raises:
        DataError: no such folder, no labels of either kind, no pictures, or a bad label file.
    """
    root = Path(folder).expanduser()
    if not root.is_dir():
        raise DataError(f"There is no folder {root}; check the path")
    listed = Path(labels).expanduser() if labels is not None else root / "labels.csv"
    if labels is not None or listed.is_file():
        return read_labels(listed, root)
    try:
        classes = sorted(
            entry for entry in root.iterdir() if entry.is_dir() and not entry.name.startswith(".")
        )
        records = [
            PictureRecord(path, label, place.name)
            for label, place in enumerate(classes)
            for path in sorted(place.rglob("*"))
            if path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()
        ]
    except OSError as error:
        raise DataError(
            f"The folder {root} cannot be listed ({error.strerror}); change its permissions"
        ) from error
    if not records:
        raise DataError(
            f"The folder {root} has no labels; expected labels.csv with the columns file,class_index, "
            "or one sub-folder of pictures per class"
        )
    return records


def read_labels(path: str | Path, folder: str | Path | None = None) -> list[PictureRecord]:
    """The pictures of a label file with the columns `file` and `class_index`, optionally `name`.

    folder: what the names are relative to; default: where the label file is.

    Raises:
        DataError: unreadable or empty file, missing columns, a class that is no number, a file that is named twice
            or lies outside the folder; the message names the line.
    """
    source = Path(path).expanduser()
    root = source.parent if folder is None else Path(folder).expanduser()
    records: dict[str, PictureRecord] = {}
    for line, row in read_rows(source, ("file", "class_index")):
        name = row["file"]
        if name in records:
            raise DataError(
                f"{source}, line {line}: {name} is named a second time; keep one line per picture"
            )
        label = whole_number(row["class_index"], f"{source}, line {line}: class_index")
        records[name] = PictureRecord(
            inside(root, name, f"{source}, line {line}"), label, row.get("name") or None
        )
    return list(records.values())


ALIASES: Final = {
    "filename": "file",
    "image": "file",
    "path": "file",
    "class": "class_index",
    "label": "class_index",
    "target": "class_index",
    "xmin": "x0",
    "ymin": "y0",
    "xmax": "x1",
    "ymax": "y1",
}
"""Other names of columns that are understood where the first name is missing."""


def read_rows(source: Path, columns: tuple[str, ...]) -> list[tuple[int, dict[str, str]]]:
    """Line numbers and rows of a CSV file with a header that has at least `columns`; blank lines are left out.

    Column names may be written in any case, or as in `ALIASES`.

    Raises:
        DataError: unreadable, not text, empty, missing columns, or a row that is too short.
    """
    if not source.is_file():
        raise DataError(f"There is no file {source}; check the path")
    try:
        with source.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream, skipinitialspace=True, strict=True)
            reader.fieldnames = _named(reader.fieldnames or ())
            missing = [name for name in columns if name not in reader.fieldnames]
            if missing:
                found = ",".join(reader.fieldnames)[:80] or "nothing"
                raise DataError(
                    f"{source}: expected a header with {','.join(columns)}, but {','.join(missing)} is missing "
                    f"(found {found}); add a header line, separate by commas"
                )
            rows = [(reader.line_num, row) for row in reader]
    except OSError as error:
        raise DataError(f"{source} cannot be read ({error.strerror}); check its permissions") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(
            f"{source} is not a CSV text file in UTF-8 ({error}); export it again as CSV UTF-8"
        ) from error
    if not rows:
        raise DataError(f"{source} has a header but no rows; add one line per picture")
    for line, row in rows:
        if any(not row[name] for name in columns):
            raise DataError(
                f"{source}, line {line}: expected {','.join(columns)}, and one is empty; complete the line"
            )
    return rows


def _named(header: Sequence[str]) -> list[str]:
    """The header with plain names: lower case, aliases replaced where the name itself is not there."""
    names = [name.strip().lower() for name in header]
    return [ALIASES[name] if ALIASES.get(name, name) not in names else name for name in names]


def whole_number(text: str, where: str) -> int:
    """A number >= 0. Raises DataError; `where` names the place."""
    try:
        value = int(text)
    except ValueError:
        value = -1
    if value < 0:
        raise DataError(f"{where}: expected a whole number from 0 on, got {text[:40]!r}; correct it")
    return value


def inside(root: Path, name: str, where: str) -> Path:
    """The path of `name` in `root`. Raises DataError when it would lie outside, so no label file reaches elsewhere."""
    path = root / name  # an absolute name replaces the root
    if "\0" in name or ".." in path.parts[len(root.parts) :] or not path.is_relative_to(root):
        raise DataError(f"{where}: {name[:80]!r} lies outside the folder {root}; name files relative to it")
    return path
