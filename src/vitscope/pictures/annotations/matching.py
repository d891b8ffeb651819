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
        folders = FolderClasses(classes, class_names, wordnet_ids)
        places = [path.absolute() for path in paths]
        for place in places:
            folders.see(place)
        rule = folders.rule(visible_folders)
        numbers = None if rule is None else [rule(place) for place in places]
    if numbers is None and known is not None and all(record.label is not None for record in known):
        numbers = [_number(record) for record in known]
    shapes: Sequence[object] | None = None
    if masks is not None:
        shapes = mask_files(masks, paths, check=not pictures.skip)
    elif known is not None and any(
        thing.polygons or thing.runs for record in known for thing in record.objects
    ):
        shapes = record_masks(known, paths)
    marked = None if known is None else [record.boxes() for record in known]
    return picture_source(pictures, labels=numbers, masks=shapes, boxes=marked)


def _beside(paths: Sequence[Path], name: str) -> Path | None:
    return found_in(name, paths[0].parent, paths[0].absolute().parent.parent)


def found_in(name: str, *folders: Path) -> Path | None:
    """The first file of this name in some folders."""
    for folder in folders:
        if (folder / name).is_file():
            return folder / name
    return None


class FolderClasses:
    """The classes of pictures from the names or places of their folders, once all of them were seen.

    classes: how many the model has. class_names, wordnet_ids: its own names for them, see :func:`read_known`.
    """

    def __init__(
        self, classes: int | None, class_names: Sequence[str] | None, wordnet_ids: Sequence[str] | None
    ) -> None:
        self._classes = classes
        self._tables = [_numbers(names, classes) for names in (class_names, wordnet_ids)]
        self._prefixed = True
        self._places: set[Path] = set()

    def see(self, path: Path) -> None:
        """Take note of a picture."""
        self._places.add(path.parent)
        self._prefixed = self._prefixed and _prefix(path) in self._tables[1]

    def rule(self, folders: Callable[[Path], Sequence[Path]]) -> Callable[[Path], int] | None:
        """What tells the class of each picture that was seen; None where that would be a guess.

        folders: all folders in a folder, sorted.
        """
        names = {place.name for place in self._places}
        if all(name.isascii() and name.isdigit() and len(name) < 10 for name in names):
            return lambda path: int(path.parent.name)
        if self._classes is None:
            return None
        for table in self._tables:
            if names <= table.keys():
                return lambda path, table=table: table[path.parent.name]  # type: ignore[misc]
        if self._prefixed:
            return lambda path: self._tables[1][_prefix(path)]
        roots = {place.parent for place in self._places}
        # Pictures of one folder alone are no classes, however many folders lie beside it.
        if len(roots) != 1 or len(self._places) < 2:
            return None
        numbers = {folder: number for number, folder in enumerate(folders(next(iter(roots))))}
        known = len(numbers) == self._classes and self._places <= numbers.keys()
        return (lambda path: numbers[path.parent]) if known else None


def _numbers(names: Sequence[str] | None, classes: int | None) -> dict[str, int]:
    """The number of each class name; nothing unless there is one for each of the model's classes."""
    numbers = {name: index for index, name in enumerate(names or ())}
    return numbers if len(numbers) == len(names or ()) == classes else {}


def _prefix(path: Path) -> str:
    return path.name.partition("_")[0]  # ImageNet's own files are called n01440764_10026.JPEG


def visible_folders(folder: Path) -> list[Path]:
    """The folders in a folder that are not hidden, sorted."""
    return sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))


class Matches:
    """Which of some records is that of a picture: the one of its own path, else of the longest common end.

    source: the file that the records come from, for messages.
    """

    def __init__(self, records: Sequence[PictureRecord], source: Path) -> None:
        self._source = source
        self._by_name: dict[str, list[PictureRecord]] = {}
        self._taken: dict[int, Path] = {}
        for record in records:
            self._by_name.setdefault(record.path.name, []).append(record)

    def __contains__(self, path: Path) -> bool:
        return path.name in self._by_name

    def of(self, path: Path) -> PictureRecord:
        """The record of a picture.

        Raises DataError where nothing is said of it, and where it is not clear which of two is meant.
        """
        if path not in self:
            raise DataError(
                f"{self._source} says nothing about {path.name}; add a line for it or leave the picture out"
            )
        among = self._by_name[path.name]
        ends = [_common_end(record.path, path) for record in among]
        longest = max(ends)
        if ends.count(longest) > 1:
            raise DataError(
                f"{self._source} names several files {path.name}, and none as {path} is named; "
                "name files relative to it"
            )
        record = among[ends.index(longest)]
        other = self._taken.setdefault(id(record), path)
        if other.absolute() != path.absolute():
            raise DataError(
                f"{self._source} says one thing about {path.name}, but {other} and {path} are called so; "
                "name their folders"
            )
        return record


def _matched(paths: Sequence[Path], records: Sequence[PictureRecord], source: Path) -> list[PictureRecord]:
    """The record of each picture. Raises DataError as ``Matches.of``; several that are missing are counted."""
    matches = Matches(records, source)
    missing = [path for path in paths if path not in matches]
    if len(missing) > 1:
        raise DataError(
            f"{source} says nothing about {missing[0].name} and {len(missing) - 1} others of {len(paths)} pictures; "
            "add a line for each"
        )
    return [matches.of(path) for path in missing or paths]


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
