"""Boxes and masks of objects from the usual files: boxes.csv, COCO JSON, VOC XML."""

from __future__ import annotations

import os
from pathlib import Path

from vitscope.errors import DataError
from vitscope.pictures.annotations.coco import read_coco
from vitscope.pictures.annotations.files import inside, whole_number
from vitscope.pictures.annotations.labels import read_rows
from vitscope.pictures.annotations.records import ObjectRecord, PictureRecord, checked_box
from vitscope.pictures.annotations.voc import read_voc
from vitscope.pictures.truth import Box
from vitscope.storage.paths import typed_path

SIDES = ("x0", "y0", "x1", "y1")


def read_annotations(path: str | Path, folder: str | Path | None = None) -> list[PictureRecord]:
    """The annotated pictures of a CSV file, a COCO JSON file, a VOC XML file or a folder of VOC XML files.

    folder: where the pictures are; default: beside the annotations.

    Raises:
        DataError: no such file, another kind of file, or a damaged one.
    """
    source = typed_path(path, DataError)
    if os.path.isdir(source) or source.suffix.lower() == ".xml":
        return read_voc(source, folder)
    if source.suffix.lower() == ".json":
        return read_coco(source, folder)
    if source.suffix.lower() == ".csv":
        return read_boxes(source, folder)
    if not os.path.exists(source):
        raise DataError(f"There is no file {source}; check the path")
    raise DataError(
        f"Expected boxes as .csv, COCO .json, VOC .xml or a folder of .xml, got {source.name}; convert it"
    )


def read_boxes(path: str | Path, folder: str | Path | None = None) -> list[PictureRecord]:
    """Boxes of a CSV file with the columns file, x0, y0, x1, y1, optionally class_index, name, width and height.

    One row per object, in pixels; x1 and y1 are outer edges. The label of a picture is that of its first object.

    Raises:
        DataError: unreadable file, missing columns, bad numbers or a box without area; the message names the line.
    """
    source = typed_path(path, DataError)
    root = source.parent if folder is None else typed_path(folder, DataError)
    objects: dict[str, list[ObjectRecord]] = {}
    sizes: dict[str, tuple[int, int] | None] = {}
    for line, row in read_rows(source, ("file", *SIDES)):
        where = f"{source}, line {line}"
        width, height = row.get("width"), row.get("height")
        size = (whole_number(height, where), whole_number(width, where)) if width and height else None
        label = whole_number(row["class_index"], where) if row.get("class_index") else None
        box = checked_box(_numbers([row[side] for side in SIDES], where), size, where)
        objects.setdefault(row["file"], []).append(ObjectRecord(box, label, row.get("name") or None))
        sizes[row["file"]] = size
    return [
        PictureRecord(
            inside(root, name, str(source)), known[0].class_index, known[0].name, sizes[name], tuple(known)
        )
        for name, known in objects.items()
    ]


def _numbers(texts: list[str], where: str) -> Box:
    try:
        x0, y0, x1, y1 = (float(text) for text in texts)
    except (TypeError, ValueError) as error:
        raise DataError(f"{where}: expected four numbers x0,y0,x1,y1, got {texts}; correct them") from error
    return x0, y0, x1, y1
