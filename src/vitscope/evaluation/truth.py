"""What is known about a folder of pictures: classes and boxes from the files people have beside them."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar
from xml.etree import ElementTree

from vitscope.errors import DataError
from vitscope.evaluation.case import Box
from vitscope.evaluation.dataset import EvaluationSet, picture_keys

FILE_COLUMNS = ("file", "filename", "image", "path")
CLASS_COLUMNS = ("class_index", "class", "label", "target", "index")
T = TypeVar("T")
BOX_COLUMNS = (("x0", "y0", "x1", "y1"), ("xmin", "ymin", "xmax", "ymax"))


def read_truth(paths: Sequence[Path], labels: Path | None = None, boxes: Path | None = None) -> EvaluationSet:
    """Pictures with their classes and boxes.

    labels: a CSV with a column ``file`` (a name, or a path that ends like the picture's) and ``class_index``.
        Without it ``labels.csv`` beside the pictures is taken, then folders named by a class number.
    boxes: a CSV with ``file``, ``x0``, ``y0``, ``x1``, ``y1`` in the picture's pixels, one row per object; a COCO
        JSON file; or a folder of VOC XML files named like the pictures. Without it ``boxes.csv`` beside the pictures.

    Raises DataError when a file cannot be read, or knows nothing about one of the pictures.
    """
    beside = paths[0].parent
    boxes = boxes or _existing(beside / "boxes.csv")
    labels = labels or _existing(beside / "labels.csv")
    classes = _classes_from_csv(labels, paths) if labels is not None else _classes_from_folders(paths)
    found: list[list[Box]] | None = None
    if boxes is not None:
        if classes is None and boxes.suffix.lower() == ".csv":
            classes = _classes_from_csv(boxes, paths, required=False)
        known = _boxes_from(boxes)
        found = [_lookup(path, known, boxes) for path in paths]
    return EvaluationSet(list(paths), picture_keys(list(paths)), classes, None, found)


def _existing(path: Path) -> Path | None:
    return path if path.is_file() else None


def _rows(path: Path) -> list[dict[str, str]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            return [
                {str(k).strip().lower(): (v or "").strip() for k, v in row.items()}
                for row in csv.DictReader(file)
            ]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(
            f"cannot read {path} ({_reason(error)}); give a CSV file with a header line"
        ) from None


def _column(row: dict[str, str], names: Sequence[str], path: Path) -> str:
    for name in names:
        if name in row:
            return name
    raise DataError(f"{path} has no column {' or '.join(names)} but {', '.join(row)}; name one so")


def _classes_from_csv(path: Path, paths: Sequence[Path], required: bool = True) -> list[int] | None:
    rows = _rows(path)
    if not rows:
        raise DataError(f"{path} has no row; give a file and a class_index for each picture")
    if not required and not set(CLASS_COLUMNS) & set(rows[0]):
        return None
    file, kind = _column(rows[0], FILE_COLUMNS, path), _column(rows[0], CLASS_COLUMNS, path)
    known: dict[str, list[int]] = {}
    for row in rows:
        try:
            known.setdefault(row[file], []).append(int(row[kind]))
        except ValueError:
            raise DataError(
                f"{path}: the class of {row[file]} is {row[kind]!r}; give the class number"
            ) from None
    return [_lookup(picture, known, path)[0] for picture in paths]


def _classes_from_folders(paths: Sequence[Path]) -> list[int] | None:
    """Class numbers from folders named by them; other names say nothing certain about a model's class order."""
    names = [path.absolute().parent.name for path in paths]
    return [int(name) for name in names] if all(name.isdigit() for name in names) else None


def _boxes_from(path: Path) -> dict[str, list[Box]]:
    if path.is_dir():
        return _boxes_from_voc(path)
    return _boxes_from_coco(path) if path.suffix.lower() == ".json" else _boxes_from_csv(path)


def _boxes_from_csv(path: Path) -> dict[str, list[Box]]:
    rows = _rows(path)
    if not rows:
        raise DataError(f"{path} has no row; give file, x0, y0, x1, y1 for each object")
    file = _column(rows[0], FILE_COLUMNS, path)
    names = next((names for names in BOX_COLUMNS if set(names) <= set(rows[0])), None)
    if names is None:
        raise DataError(f"{path} has no columns x0, y0, x1, y1 (or xmin, ymin, xmax, ymax); name them so")
    found: dict[str, list[Box]] = {}
    for row in rows:
        found.setdefault(row[file], []).append(_box([row[name] for name in names], path))
    return found


def _boxes_from_coco(path: Path) -> dict[str, list[Box]]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        names = {image["id"]: str(image["file_name"]) for image in document["images"]}
        found: dict[str, list[Box]] = {name: [] for name in names.values()}
        for entry in document["annotations"]:
            x, y, width, height = (float(v) for v in entry["bbox"])
            found[names[entry["image_id"]]].append((x, y, x + width, y + height))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{path} is no COCO file ({_reason(error)}); it needs images and annotations"
        ) from None
    return found


def _boxes_from_voc(folder: Path) -> dict[str, list[Box]]:
    found: dict[str, list[Box]] = {}
    files = sorted(folder.rglob("*.xml"))
    if not files:
        raise DataError(f"{folder} holds no VOC .xml file; give the folder with the annotations")
    for file in files:
        try:
            root = ElementTree.parse(file).getroot()
            name = root.findtext("filename") or file.stem
            boxes = []
            for element in root.iterfind("object/bndbox"):
                low = [float(element.findtext(key) or "nan") - 1 for key in ("xmin", "ymin")]
                high = [float(element.findtext(key) or "nan") for key in ("xmax", "ymax")]
                # VOC counts pixels from 1 and its boxes hold both ends.
                boxes.append(_box([*low, *high], file))
        except (OSError, ElementTree.ParseError, ValueError) as error:
            raise DataError(f"{file} is no VOC annotation ({_reason(error)}); mend or remove it") from None
        found[name], found[file.stem] = boxes, boxes
    return found


def _box(values: Sequence[str | float], path: Path) -> Box:
    try:
        x0, y0, x1, y1 = (float(value) for value in values)
    except ValueError:
        raise DataError(
            f"{path}: {', '.join(map(str, values))} is no box; give numbers x0, y0, x1, y1"
        ) from None
    if not (x1 > x0 and y1 > y0):
        raise DataError(f"{path}: the box {x0:g}, {y0:g}, {x1:g}, {y1:g} is empty; give x0 < x1 and y0 < y1")
    return (x0, y0, x1, y1)


def _lookup(path: Path, known: dict[str, list[T]], source: Path) -> list[T]:
    """What a file says about a picture: by the end of its path, its name, or its name without suffix."""
    parts = path.absolute().parts
    for count in range(len(parts), 0, -1):
        tail = "/".join(parts[-count:])
        if tail in known:
            return known[tail]
    if path.stem in known:
        return known[path.stem]
    raise DataError(f"{source} says nothing about {path.name}; add a row for it or leave the picture out")


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or " ".join(str(error).split())[:80] or type(error).__name__
