"""PASCAL VOC annotations: one XML file of boxes per picture."""

from __future__ import annotations

import os
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Final
from xml.parsers import expat

from vitscope.errors import DataError
from vitscope.pictures.annotations.files import content_of, finite, inside
from vitscope.pictures.annotations.records import ObjectRecord, PictureRecord, checked_box
from vitscope.storage.paths import typed_path

MAX_BYTES: Final = 16_000_000  # an annotation of one picture is a few kilobytes


def read_voc(path: str | Path, folder: str | Path | None = None) -> list[PictureRecord]:
    """The pictures of a VOC XML file or of all XML files of a folder, sorted by name.

    VOC counts pixels from 1 and includes the last one: (xmin, xmax) becomes the edges (xmin - 1, xmax). Classes are
    numbered by the sorted names found. folder: where the pictures are; default: `JPEGImages` beside the folder of
    annotations if there is one, else that folder.

    Raises:
        DataError: no XML files, not XML, not VOC, or a bad box; the message names the file.
    """
    source = typed_path(path, DataError)
    try:
        names = sorted(os.listdir(source)) if os.path.isdir(source) else None
    except OSError as error:
        raise DataError(
            f"The folder {source} cannot be listed ({error.strerror}); change its permissions"
        ) from error
    files = [source] if names is None else [source / name for name in names if name.endswith(".xml")]
    if not files:
        raise DataError(f"The folder {source} holds no .xml files; expected VOC annotations, one per picture")
    home = source if os.path.isdir(source) else source.parent
    usual = home.parent / "JPEGImages"
    root = typed_path(folder, DataError) if folder is not None else usual if usual.is_dir() else home
    read = [_read_file(file, root) for file in files]
    kinds = sorted({known.name for record in read for known in record.objects if known.name})
    numbers = {name: number for number, name in enumerate(kinds)}
    return [_numbered(record, numbers) for record in read]


def _read_file(source: Path, root: Path) -> PictureRecord:
    top = _parse(source)
    name = (top.findtext("filename") or "").strip()
    if top.tag != "annotation" or not name:
        raise DataError(
            f"{source} is not a VOC annotation: expected <annotation> with <filename>; check the file"
        )
    size = None
    if top.find("size") is not None:
        height, width = (_number(top, f"size/{side}", source) for side in ("height", "width"))
        size = (
            (int(height), int(width)) if min(height, width) >= 1 else None
        )  # some tools write 0 for unknown
    objects = []
    for place, entry in enumerate(top.findall("object"), start=1):
        where = f"{source}, object {place}"
        x0, y0, x1, y1 = (
            _number(entry, f"bndbox/{side}", source) for side in ("xmin", "ymin", "xmax", "ymax")
        )
        hard = (entry.findtext("difficult") or "0").strip() == "1"
        label = (entry.findtext("name") or "").strip() or None
        objects.append(
            ObjectRecord(checked_box((x0 - 1, y0 - 1, x1, y1), size, where), name=label, hard=hard)
        )
    return PictureRecord(inside(root, name, str(source)), size=size, objects=tuple(objects))


def _parse(source: Path) -> ElementTree.Element:
    """The root element. Document types are refused: they are how a small XML file grows without end."""
    content = content_of(source, MAX_BYTES)
    try:
        guard = expat.ParserCreate()
        guard.StartDoctypeDeclHandler = lambda *_: _refuse_document_type(source)
        guard.Parse(content, True)
        return ElementTree.fromstring(content)
    except (expat.ExpatError, ElementTree.ParseError, LookupError, ValueError) as error:
        raise DataError(f"{source} is not XML ({error}); export it again") from error


def _refuse_document_type(source: Path) -> None:
    raise DataError(
        f"{source} declares a document type, which VOC files never do; remove the <!DOCTYPE> part"
    )


def _number(entry: ElementTree.Element, tag: str, source: Path) -> float:
    return finite((entry.findtext(tag) or "").strip(), str(source), f" in <{tag}>")


def _numbered(record: PictureRecord, numbers: dict[str, int]) -> PictureRecord:
    objects = tuple(
        ObjectRecord(known.box, numbers.get(known.name or ""), known.name, hard=known.hard)
        for known in record.objects
    )
    first = objects[0] if objects else None
    return PictureRecord(
        record.path, first.class_index if first else None, first.name if first else None, record.size, objects
    )
