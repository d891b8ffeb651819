"""What pictures a run will look at, listed without opening any: folders, lists, tars and tables, here or at a URL."""

from __future__ import annotations

import os
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import xxhash

from vitscope.errors import DataError, PictureError
from vitscope.options.bounds import File, FilePath, Folder, Range, ReadLater
from vitscope.options.door import checked
from vitscope.pictures.annotations.files import LARGEST
from vitscope.pictures.formats import is_picture_name
from vitscope.pictures.identity import key_of_name, key_of_path
from vitscope.pictures.planned.beside import Beside
from vitscope.pictures.planned.folders import names_below
from vitscope.pictures.planned.manifests import pictures_in_csv, pictures_in_parquet
from vitscope.pictures.planned.named import Kind, Named, named
from vitscope.pictures.planned.names import text_of_name
from vitscope.pictures.planned.place import Place
from vitscope.pictures.planned.record import PlannedPicture
from vitscope.pictures.planned.tars import pictures_in_tar
from vitscope.pictures.planned.values import ClassReader, RowReader
from vitscope.storage.paths import typed_path

Listed = Annotated[
    str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    ReadLater(
        "a folder, a pattern, picture files, a .csv, .parquet or .tar file, a URL of these, or several"
    ),
]


@dataclass
class PicturePlan:
    """The pictures of a run in their order, listed anew each time it is iterated; none is opened.

    Attributes:
        root: The absolute folder or the URL that the pictures are relative to.
        kind: What was listed: folder, files, csv, parquet or tar.
        closed: Folders that could not be searched, with the reason; filled in while it is iterated.
        aside: Files of labels or boxes that were found and do not fit, with the reason; likewise.

    Example:
        >>> import vitscope as vs
        >>> from vitscope.pictures.planned import plan_pictures
        >>> vs.worlds.world("shapes").sample(1).images()[0].save("a.png")
        >>> plan = plan_pictures(".")
        >>> plan.kind, [picture.key for picture in plan]
        ('folder', ['a.png'])
    """

    root: str
    kind: Kind
    _list: Callable[[dict[str, str]], Iterator[PlannedPicture]] = field(repr=False)
    closed: dict[str, str] = field(default_factory=dict)
    aside: dict[str, str] = field(default_factory=dict)

    def __iter__(self) -> Iterator[PlannedPicture]:
        some = False
        pictures = self._list(self.closed)
        # names in a folder cannot come twice
        for picture in pictures if self.kind == "folder" else _each_once(pictures):
            some = True
            yield picture
        if not some:
            for reason in self.closed.values():
                raise PictureError(reason)
            raise PictureError(
                f"{self.root} holds no picture; expected names ending in .jpg, .png, .webp, .tif ..."
            )


@checked(PictureError)
def plan_pictures(
    images: Listed,
    *,
    root: Annotated[str | os.PathLike[str], File("a folder or a URL")] | None = None,
    labels: FilePath | None = None,
    boxes: FilePath | None = None,
    masks: Folder | None = None,
    classes: Annotated[int, Range(1, LARGEST)] | None = None,
    class_names: Sequence[str] | None = None,
    wordnet_ids: Sequence[str] | None = None,
) -> PicturePlan:
    """List the pictures that a run will look at, in a fixed order, without opening them.

    ==========================================  ===================================================================
    form                                        what is listed
    ==========================================  ===================================================================
    folder, or a URL of one                     all pictures below, in each folder by name (code points)
    pattern: ``*``, ``?``, ``[...]``, ``**``    what it matches, sorted
    list of paths or URLs                       these files, in their order
    ``list.csv``, ``list.parquet``              one picture a row: columns file (or path, image) and, optionally,
                                                class_index (or label), boxes, mask, key
    ``data.parquet`` with a column of pictures  one picture a row: bytes, or a record of bytes and path
    ``shards-{000..009}.tar``, ``*.tar``        members of tars in their order, with .cls or .json labels
    ==========================================  ===================================================================

    Each may lie at a URL that fsspec knows (``s3://``, ``https://``, ``memory://`` ...); ``{a,b}`` and ``{00..12}``
    stand for several names.

    Args:
        images: What is listed, in one of the forms above.
        root: The folder or URL that keys are relative to. Default: the folder that was named, or where the lists, tars
            and tables lie; for a list of files the current folder.
        labels: A CSV with the columns file and class_index, for folders and files; where lists, tars and tables tell
            labels themselves, it is not accepted.
        boxes: Likewise a CSV with file, x0, y0, x1, y1, a COCO JSON file or a folder of VOC XML files. Polygons are
            read as their boxes.
        masks: Likewise a folder with one mask for each picture, of its name.
        classes: How many classes the model has. With it, labels.csv and boxes.csv beside the first picture or in the
            folder above are used when they tell of every picture, and class folders as `evaluate` reads them.
        class_names: The model's names of classes: for class folders, and where lists or tars name classes instead of
            numbering them.
        wordnet_ids: Its classes as ImageNet names them, for folders and files that begin with these.

    Returns:
        The plan, to be iterated any number of times. Keys are paths relative to the root, ``tar::member`` for members
        of tars, ``table::row`` for rows that hold a picture.

    Raises:
        PictureError: Nothing of these forms, a folder that cannot be searched, or a compressed, damaged or cut tar.
        DataError: A list whose rows cannot be used, or two pictures with the same key.
        SourceError: The place does not answer.

    Example:
        >>> import vitscope as vs
        >>> from vitscope.pictures.planned import plan_pictures
        >>> vs.worlds.world("shapes").sample(1).images()[0].save("a.png")
        >>> _ = open("list.csv", "w").write("file,class_index\\na.png,4\\n")
        >>> [(picture.key, picture.label) for picture in plan_pictures("list.csv")]
        [('a.png', 4)]
    """
    found = named(_texts(images))
    top = found.place if root is None else Place.of(root)
    read_label = ClassReader(class_names)
    beside = Beside(
        _file(labels), _file(boxes), _file(masks), classes, class_names=class_names, wordnet_ids=wordnet_ids
    )
    if found.kind not in ("folder", "files") and (beside.labels or beside.boxes or beside.masks):
        raise DataError(
            f"{found.names[0]} tells labels, boxes and masks itself, in columns or members; leave the other files out"
        )

    def listed(closed: dict[str, str]) -> Iterator[PlannedPicture]:
        if found.kind in ("folder", "files"):

            def plain() -> Iterator[PlannedPicture]:
                if found.kind == "folder":
                    return _in_folder(found, top, closed)
                return _files(found, top, root is not None)

            yield from plain() if beside.nothing else beside.told(top, plain)
        else:
            for name in found.names:
                yield from _in_file(found, name, top, RowReader(top, read_label))

    return PicturePlan(top.root, found.kind, listed, aside=beside.aside)


def _texts(images: Any) -> list[str]:
    """One text for each path, folder or URL that was given."""
    given = [images] if isinstance(images, (str, os.PathLike)) else images
    if isinstance(given, (bytes, Mapping)) or not isinstance(given, Iterable):
        raise PictureError(f"expected a path, a URL or several, got {type(given).__name__}; name a folder")
    texts = []
    for item in given:
        if not isinstance(item, (str, os.PathLike)):
            raise PictureError(f"expected paths and URLs, got {type(item).__name__}; name files or a folder")
        texts.append(os.fspath(item))
    return texts


def _file(path: str | os.PathLike[str] | None) -> Path | None:
    return None if path is None else typed_path(path, DataError)


def _in_folder(found: Named, top: Place, closed: dict[str, str]) -> Iterator[PlannedPicture]:
    prefix = "" if found.place == top else f"{_below(top, found.place.root)}/"
    for name in names_below(found.place, closed):
        plain = _plain(name, top)
        if is_picture_name(plain[plain.rfind("/") + 1 :]):
            yield PlannedPicture(key_of_name(prefix + plain), text_of_name(prefix + name))


def _files(found: Named, top: Place, rooted: bool) -> Iterator[PlannedPicture]:
    for name in found.names:
        source = _below(top, found.place.prefix + name)
        apart = found.apart and not rooted
        key = key_of_path(Path(found.place.root, name)) if apart else key_of_name(_plain(source, top))
        yield PlannedPicture(key, text_of_name(source))


def _in_file(found: Named, name: str, top: Place, read: RowReader) -> Iterator[PlannedPicture]:
    """The pictures of one list, table or tar. A list of names may lie elsewhere than what it lists."""
    address = found.place.prefix + name
    with found.place.seekable(text_of_name(name)) as stream:
        if found.kind == "csv":
            yield from pictures_in_csv(stream, address, read)
        elif found.kind == "tar":
            source = _below(top, address)
            key = key_of_name(_plain(source, top))
            yield from pictures_in_tar(stream, text_of_name(source), address, key, read.read_label)
        else:
            yield from pictures_in_parquet(stream, address, lambda: _below(top, address), read)


def _below(top: Place, address: str) -> str:
    """The name of a file or folder relative to the root."""
    if not address.startswith(top.prefix):
        raise PictureError(
            f"{address} does not lie below the root {top.root}; name a folder that holds all pictures"
        )
    return address[len(top.prefix) :]


def _plain(name: str, top: Place) -> str:
    """A name without what stands behind ``?`` in a web address: signatures that change from day to day."""
    return name.partition("?")[0] if "?" in name and top.root.startswith(("http://", "https://")) else name


def _each_once(pictures: Iterator[PlannedPicture]) -> Iterator[PlannedPicture]:
    """The same pictures. Raises DataError at the end when two have the same key; eight bytes a picture are kept."""
    seen = array("Q")
    for picture in pictures:
        seen.append(xxhash.xxh3_64_intdigest(picture.key.encode()))
        yield picture
    values, counts = np.unique(np.frombuffer(seen, dtype=np.uint64), return_counts=True)
    twice = int((counts > 1).sum())
    if twice:
        places = np.flatnonzero(np.frombuffer(seen, dtype=np.uint64) == values[counts > 1][0])[:2].tolist()
        raise DataError(
            f"{twice:,} keys are there more than once, the first for the pictures {places[0]} and {places[1]} (counted "
            "from 0); name each picture once, or give each its own key"
        )
