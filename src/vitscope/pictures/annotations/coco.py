"""COCO object annotations: boxes, polygons, and run-length masks, plain or compressed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vitscope.errors import DataError, brief
from vitscope.pictures.annotations.files import content_of, finite, inside
from vitscope.pictures.annotations.records import ObjectRecord, PictureRecord, checked_box
from vitscope.storage.paths import typed_path


def read_coco(path: str | Path, folder: str | Path | None = None) -> list[PictureRecord]:
    """The pictures of a COCO JSON file that have annotations, in the order of its `images`.

    Boxes come as [x, y, width, height]. `class_index` is the place of the category among the sorted category ids;
    crowds are marked hard. folder: where the pictures are; default: beside the file.

    Raises:
        DataError: not JSON, not COCO, an annotation of an unknown picture, a bad box or mask; names the annotation.
    """
    source = typed_path(path, DataError)
    root = source.parent if folder is None else typed_path(folder, DataError)
    document = _load(source)
    try:
        images = {image["id"]: image for image in document["images"]}
        categories = {entry["id"]: str(entry["name"]) for entry in document.get("categories", ())}
        numbers = {identity: place for place, identity in enumerate(sorted(categories))}
        objects: dict[Any, list[ObjectRecord]] = {}
        for place, entry in enumerate(document["annotations"]):
            where = f"{source}, annotation {entry.get('id', place)}"
            if entry["image_id"] not in images:
                raise DataError(
                    f"{where}: there is no image {entry['image_id']} in the file; add it or drop the annotation"
                )
            size = _size(images[entry["image_id"]])
            category = entry.get("category_id")
            objects.setdefault(entry["image_id"], []).append(
                _object(entry, size, numbers.get(category), categories.get(category), where)
            )
        return [
            PictureRecord(
                inside(root, str(image["file_name"]), str(source)),
                objects[identity][0].class_index,
                objects[identity][0].name,
                _size(image),
                tuple(objects[identity]),
            )
            for identity, image in images.items()
            if identity in objects
        ]
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
        raise DataError(
            f"{source} is not a COCO file ({brief(error, 80)}); expected images with id and file_name, "
            "annotations with image_id and bbox"
        ) from error


def _load(source: Path) -> Mapping[str, Any]:
    try:
        document = json.loads(content_of(source).decode("utf-8-sig"))
    except (ValueError, RecursionError, MemoryError) as error:
        raise DataError(f"{source} is not a JSON file ({str(error)[:80]}); export it again") from error
    if not isinstance(document, dict) or not {"images", "annotations"} <= set(document):
        raise DataError(
            f"{source} is not a COCO file: expected an object with images and annotations; check the file"
        )
    return document


def _size(image: Mapping[str, Any]) -> tuple[int, int] | None:
    if "height" not in image or "width" not in image:
        return None
    return int(image["height"]), int(image["width"])


def _object(
    entry: Mapping[str, Any], size: tuple[int, int] | None, number: int | None, name: str | None, where: str
) -> ObjectRecord:
    x, y, width, height = (finite(value, where) for value in entry["bbox"])
    box = checked_box((x, y, x + width, y + height), size, where)
    shape = entry.get("segmentation") or ()
    polygons: tuple[tuple[float, ...], ...] = ()
    runs: tuple[int, ...] = ()
    if isinstance(shape, dict):
        counts = shape["counts"]
        runs = tuple(
            _decompressed(counts, where) if isinstance(counts, str) else (int(count) for count in counts)
        )
        if any(count < 0 for count in runs) or (size is not None and sum(runs) != size[0] * size[1]):
            raise DataError(f"{where}: the mask's runs do not fill its picture; the file is damaged")
    else:
        polygons = tuple(tuple(finite(value, where) for value in polygon) for polygon in shape)
        if any(len(polygon) < 6 or len(polygon) % 2 for polygon in polygons):
            raise DataError(
                f"{where}: expected polygons of at least three x, y pairs; correct the segmentation"
            )
    return ObjectRecord(box, number, name, polygons, runs, bool(entry.get("iscrowd", 0)))


def _decompressed(text: str, where: str) -> list[int]:
    """Run lengths of COCO's compressed masks: 5 bits a character, lowest first, from '0' on; bit 6 says "more follows".

    From the third run on, each is stored as its difference to the run two places before.
    """
    runs: list[int] = []
    value = shift = 0
    for place, character in enumerate(text):
        bits = ord(character) - 48
        if not 0 <= bits < 64 or shift > 40:
            raise DataError(
                f"{where}: the compressed mask holds {character!r} at {place}; the file is damaged"
            )
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:
            value -= 1 << shift
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
        value = shift = 0
    if shift:
        raise DataError(f"{where}: the compressed mask ends in the middle of a number; the file is damaged")
    return runs
