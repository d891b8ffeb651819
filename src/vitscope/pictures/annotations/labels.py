"""Labelled folders of pictures: a labels.csv, or one sub-folder per class."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from vitscope.errors import DataError
from vitscope.pictures.annotations.files import content_of, inside, whole_number
from vitscope.pictures.annotations.records import PictureRecord
from vitscope.pictures.find import walk
from vitscope.pictures.formats import is_picture_name
from vitscope.storage.paths import typed_path


def read_folder(folder: str | Path, labels: str | Path | None = None) -> list[PictureRecord]:
    """The labelled pictures of a folder, in the order of the label file, or sorted by class folder and name.

    labels: a CSV file with the columns `file` (relative to the folder) and `class_index`, optionally `name`. Without
    it, `labels.csv` in the folder is used; without that, each sub-folder is a class, numbered in sorted order.

    Raises:
        DataError: no such folder, no labels of either kind, no pictures, or a bad label file.
    """
    root = typed_path(folder, DataError)
    if not os.path.isdir(root):
        raise DataError(f"There is no folder {root}; check the path")
    listed = typed_path(labels, DataError) if labels is not None else root / "labels.csv"
    if labels is not None or os.path.isfile(listed):
        return read_labels(listed, root)
    closed: dict[Path, str] = {}
    try:
        classes = sorted(
            entry.name for entry in os.scandir(root) if entry.is_dir() and not entry.name.startswith(".")
        )
    except OSError as error:
        raise DataError(
            f"The folder {root} cannot be listed ({error.strerror}); change its permissions"
        ) from error
    records = [
        PictureRecord(Path(path), label, name)
        for label, name in enumerate(classes)
        for path in walk(root / name, closed)
        if is_picture_name(os.path.basename(path))
    ]
    for reason in closed.values():
        raise DataError(reason)
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
    source = typed_path(path, DataError)
    root = source.parent if folder is None else typed_path(folder, DataError)
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
    try:
        text = content_of(source).decode("utf-8-sig")
        reader = csv.DictReader(io.StringIO(text, newline=""), skipinitialspace=True, strict=True)
        reader.fieldnames = plain_columns(reader.fieldnames or ())
        missing = [name for name in columns if name not in reader.fieldnames]
        if missing:
            found = ",".join(reader.fieldnames)[:80] or "nothing"
            raise DataError(
                f"{source}: expected a header with {','.join(columns)}, but {','.join(missing)} is missing "
                f"(found {found}); add a header line, separate by commas"
            )
        rows = [(reader.line_num, row) for row in reader]
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


def plain_columns(header: Sequence[str]) -> list[str]:
    """The header with plain names: lower case, aliases replaced where the name itself is not there."""
    names = [name.strip().lower() for name in header]
    return [ALIASES[name] if ALIASES.get(name, name) not in names else name for name in names]
