"""What is known about pictures on disk: classes, boxes and masks from the files people have beside them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from vitscope.errors import DataError, PictureError
from vitscope.pictures.accepted import picture_source
from vitscope.pictures.annotations.boxes import read_annotations
from vitscope.pictures.annotations.labels import read_labels
from vitscope.pictures.annotations.mask_files import mask_files, record_masks
from vitscope.pictures.annotations.records import PictureRecord
from vitscope.pictures.masks import upright_size
from vitscope.pictures.source import PictureSource


def read_known(
    pictures: PictureSource,
    labels: Path | None = None,
    boxes: Path | None = None,
    classes: int | None = None,
    masks: Path | None = None,
    *,
    class_names: Sequence[str] | None = None,
    wordnet_ids: Sequence[str] | None = None,
    needs: Collection[str] = ("labels", "boxes"),
    tell: Callable[[str], None] | None = None,
) -> PictureSource:
    """The same pictures (files, all of them) with their classes, boxes and masks.

    labels: a CSV with the columns ``file`` and ``class_index``; without it ``labels.csv`` beside the pictures or in
        the folder above. Without any, class folders: named by class numbers, by ``class_names``, by ``wordnet_ids``
        (file names that begin with them will do), or as many as the model has ``classes``, numbered in sorted order
        as everywhere. Fewer folders say nothing certain about a model's class order and are not used.
    boxes: a CSV with ``file``, ``x0``, ``y0``, ``x1``, ``y1``, a COCO JSON file, or a folder of VOC XML files;
        without it ``boxes.csv`` beside the pictures. Masks come with them where the file has any.
    masks: a folder with one picture per picture, of its size and name (another suffix will do); what is not 0 is
        the object, and in palette pictures (VOC) 255 is undecided and counts as ground.
    needs: what must be known, of ``labels`` and ``boxes``. A file that was only found, is not needed and does not
        fit the pictures is left aside, and ``tell`` is told why.

    Raises DataError when a file cannot be read, or knows nothing about one of the pictures.
    """

    paths = [Path(item) for item in pictures.items]

    def fitting(file: Path, read: Callable[[Path], list[PictureRecord]]) -> list[PictureRecord]:
        records = _matched(paths, read(file), file)
        for record, path in zip(records, paths, strict=True):
            _check_size(record, path, file)
        return records

    def found(
        name: str, need: str, read: Callable[[Path], list[PictureRecord]]
    ) -> list[PictureRecord] | None:
        file = _beside(paths, name)
        if file is None:
            return None
        try:
            return fitting(file, read)
        except DataError as error:
            if need in needs:
                raise
            if tell is not None:
                tell(f"{name} is not used: {error}")
            return None

    listed = found("labels.csv", "labels", read_labels) if labels is None else fitting(labels, read_labels)
    known = (
        found("boxes.csv", "boxes", read_annotations) if boxes is None else fitting(boxes, read_annotations)
    )
    numbers = None if listed is None else [_number(record) for record in listed]
    if numbers is None:
        numbers = _from_folders(paths, classes, class_names, wordnet_ids)
    if numbers is None and known is not None and all(record.label is not None for record in known):
        numbers = [_number(record) for record in known]
    shapes: Sequence[object] | None = None
    if masks is not None:
        shapes = mask_files(masks, paths, check=not pictures.skip)
    elif known is not None and any(
        thing.polygons or thing.runs for record in known for thing in record.objects
    ):
        shapes = record_masks(known, paths)
    places = None if known is None else [record.boxes() for record in known]
    return picture_source(pictures, labels=numbers, masks=shapes, boxes=places)


def _beside(paths: Sequence[Path], name: str) -> Path | None:
    for folder in (paths[0].parent, paths[0].absolute().parent.parent):
        if (folder / name).is_file():
            return folder / name
    return None


def _from_folders(
    paths: Sequence[Path],
    classes: int | None,
    class_names: Sequence[str] | None,
    wordnet_ids: Sequence[str] | None,
) -> list[int] | None:
    """The class of each picture from the name or the place of its folder; None where that would be a guess."""
    places = [path.absolute().parent for path in paths]
    names = [place.name for place in places]
    if all(name.isascii() and name.isdigit() and len(name) < 10 for name in names):
        return [int(name) for name in names]
    if classes is None:
        return None
    spoken = [] if class_names is None else [(list(class_names), names)]
    if wordnet_ids is not None:
        ids = list(wordnet_ids)
        # ImageNet's own files are called n01440764_10026.JPEG.
        spoken += [(ids, names), (ids, [path.name.partition("_")[0] for path in paths])]
    for table, words in spoken:
        number = {name: index for index, name in enumerate(table)}
        if len(number) == len(table) == classes and all(word in number for word in words):
            return [number[word] for word in words]
    roots = {place.parent for place in places}
    # Pictures of one folder alone are no classes, however many folders lie beside it.
    if len(roots) != 1 or len(set(places)) < 2:
        return None
    folders = sorted(p for p in next(iter(roots)).iterdir() if p.is_dir() and not p.name.startswith("."))
    return [folders.index(place) for place in places] if len(folders) == classes else None


def _matched(paths: Sequence[Path], records: Sequence[PictureRecord], source: Path) -> list[PictureRecord]:
    """The record of each picture: of its own path, else of the longest common end.

    Raises DataError where nothing is said of a picture, and where it is not clear which of two is meant.
    """
    by_name: dict[str, list[PictureRecord]] = {}
    for record in records:
        by_name.setdefault(record.path.name, []).append(record)
    missing = [path for path in paths if path.name not in by_name]
    if missing:
        others = "" if len(missing) == 1 else f" and {len(missing) - 1} others of {len(paths)} pictures"
        remedy = "add a line for it or leave the picture out" if len(missing) == 1 else "add a line for each"
        raise DataError(f"{source} says nothing about {missing[0].name}{others}; {remedy}")
    chosen: list[PictureRecord] = []
    taken: dict[int, Path] = {}
    for path in paths:
        among = by_name[path.name]
        ends = [_common_end(record.path, path) for record in among]
        longest = max(ends)
        if ends.count(longest) > 1:
            raise DataError(
                f"{source} names several files {path.name}, and none as {path} is named; name files relative to it"
            )
        record = among[ends.index(longest)]
        other = taken.setdefault(id(record), path)
        if other.absolute() != path.absolute():
            raise DataError(
                f"{source} says one thing about {path.name}, but {other} and {path} are called so; name their folders"
            )
        chosen.append(record)
    return chosen


def _check_size(record: PictureRecord, path: Path, source: Path) -> None:
    """Raise DataError where the objects of a record were marked on a picture of another size."""
    if not record.objects:
        return
    try:
        height, width = upright_size(path)
    except PictureError:
        return  # told when the picture is opened
    if record.size is not None and record.size != (height, width):
        raise DataError(
            f"{source} marks {path.name} as {record.size[1]}x{record.size[0]} pixels, but it has {width}x{height}; "
            "use the pictures that were marked"
        )
    for x0, y0, _, _ in record.boxes():
        if x0 >= width or y0 >= height:
            raise DataError(
                f"{source} has a box of {path.name} from ({x0:g}, {y0:g}) on, outside its {width}x{height} pixels; "
                "use the pictures that were marked"
            )


def _common_end(first: Path, second: Path) -> int:
    count = 0
    for a, b in zip(reversed(first.absolute().parts), reversed(second.absolute().parts), strict=False):
        if a != b:
            break
        count += 1
    return count


def _number(record: PictureRecord) -> int:
    if record.label is None:
        raise DataError(f"there is no class for {record.path.name}; add its class_index")
    return record.label
