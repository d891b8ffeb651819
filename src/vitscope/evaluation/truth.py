"""What is known about pictures on disk: classes, boxes and masks from the files people have beside them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from vitscope.data import PictureRecord, read_annotations, read_labels
from vitscope.errors import DataError
from vitscope.evaluation.dataset import EvaluationSet, picture_keys


def read_truth(
    paths: Sequence[Path],
    labels: Path | None = None,
    boxes: Path | None = None,
    classes: int | None = None,
    masks: Path | None = None,
) -> EvaluationSet:
    """Pictures with their classes, boxes and masks.

    labels: a CSV with the columns ``file`` and ``class_index``; without it ``labels.csv`` beside the pictures or in
        the folder above. Without any, class folders: named by class numbers, or as many as the model has
        ``classes``, numbered in sorted order as everywhere. Fewer folders say nothing certain about a model's
        class order and are not used.
    boxes: a CSV with ``file``, ``x0``, ``y0``, ``x1``, ``y1``, a COCO JSON file, or a folder of VOC XML files;
        without it ``boxes.csv`` beside the pictures. Masks come with them where the file has any.
    masks: a folder with one picture per picture, of its size and name (another suffix will do); what is not 0 is
        the object, and in palette pictures (VOC) 255 is undecided and counts as ground.

    Raises DataError when a file cannot be read, or knows nothing about one of the pictures.
    """
    listed = labels or _beside(paths, "labels.csv")
    marked = boxes or _beside(paths, "boxes.csv")
    known = None if marked is None else _matched(paths, read_annotations(marked), marked)
    numbers: list[int] | None = None
    if listed is not None:
        numbers = [_number(record, listed) for record in _matched(paths, read_labels(listed), listed)]
    else:
        numbers = _from_folders(paths, classes)
        if numbers is None and known is not None and all(record.label is not None for record in known):
            numbers = [int(record.label or 0) for record in known]
    found: list[object] | None = None
    if masks is not None:
        found = [_mask_file(masks, path) for path in paths]
    elif known is not None and any(
        thing.polygons or thing.runs for record in known for thing in record.objects
    ):
        found = [_mask(record, path) for record, path in zip(known, paths, strict=True)]
    places = None if known is None else [record.boxes() for record in known]
    return EvaluationSet(list(paths), picture_keys(list(paths)), numbers, found, places)


def _beside(paths: Sequence[Path], name: str) -> Path | None:
    for folder in (paths[0].parent, paths[0].parent.parent):
        if (folder / name).is_file():
            return folder / name
    return None


def _from_folders(paths: Sequence[Path], classes: int | None) -> list[int] | None:
    places = [path.absolute().parent for path in paths]
    if all(place.name.isdigit() for place in places):
        return [int(place.name) for place in places]
    roots = {place.parent for place in places}
    if classes is None or len(roots) != 1:
        return None
    folders = sorted(p for p in next(iter(roots)).iterdir() if p.is_dir() and not p.name.startswith("."))
    return [folders.index(place) for place in places] if len(folders) == classes else None


def _matched(paths: Sequence[Path], records: Sequence[PictureRecord], source: Path) -> list[PictureRecord]:
    """The record of each picture, by the longest common end of the paths that one record alone has."""
    by_name: dict[str, list[PictureRecord]] = {}
    for record in records:
        by_name.setdefault(record.path.name, []).append(record)
    found = []
    for path in paths:
        candidates = by_name.get(path.name, [])
        if len(candidates) > 1:
            candidates = [max(candidates, key=lambda record: _common_end(record.path, path))]
        if not candidates:
            raise DataError(
                f"{source} says nothing about {path.name}; add a line for it or leave the picture out"
            )
        found.append(candidates[0])
    return found


def _common_end(first: Path, second: Path) -> int:
    count = 0
    for a, b in zip(reversed(first.absolute().parts), reversed(second.absolute().parts), strict=False):
        if a != b:
            break
        count += 1
    return count


def _number(record: PictureRecord, source: Path) -> int:
    if record.label is None:
        raise DataError(f"{source} gives no class for {record.path.name}; add its class_index")
    return record.label


def _mask(record: PictureRecord, path: Path) -> object:
    """The mask at the size of the picture; nothing where the file marks nothing."""
    import numpy as np

    with Image.open(path) as picture:
        width, height = picture.size
    mask = record.mask((height, width))
    return np.zeros((height, width), dtype=bool) if mask is None else mask


def _mask_file(folder: Path, path: Path) -> object:
    import numpy as np

    places = [path.relative_to(path.parents[depth]) for depth in range(min(2, len(path.parents)))]
    candidates = [
        folder / place.with_suffix(suffix) for place in places for suffix in (".png", ".bmp", path.suffix)
    ]
    file = next((candidate for candidate in candidates if candidate.is_file()), None)
    if file is None:
        raise DataError(f"the folder {folder} has no mask for {path.name}; add {path.stem}.png")
    try:
        with Image.open(file) as picture:
            values = np.asarray(picture if picture.mode in ("1", "L", "P") else picture.convert("L"))
            undecided = values == 255 if picture.mode == "P" else np.zeros(values.shape, dtype=bool)
        with Image.open(path) as picture:
            width, height = picture.size
    except OSError as error:
        raise DataError(
            f"the mask {file} cannot be read ({type(error).__name__}); save it again as PNG"
        ) from None
    if values.shape != (height, width):
        raise DataError(
            f"the mask {file.name} is {values.shape[1]}x{values.shape[0]}, its picture {width}x{height}; "
            "make them equal"
        )
    mask: object = (values > 0) & ~undecided
    return mask
