"""PASCAL VOC annotations: one XML file of boxes per picture, and PNG masks of class numbers."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Final
from xml.parsers import expat

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vitscope.data.folders import inside
from vitscope.data.records import MAX_MASK_PIXELS, ObjectRecord, PictureRecord, checked_box
from vitscope.errors import DataError

VOID: Final = 255  # the value of a VOC mask where no class was decided
MAX_BYTES: Final = 16_000_000  # an annotation of one picture is a few kilobytes


def read_voc(path: str | Path, folder: str | Path | None = None) -> list[PictureRecord]:
    """The pictures of a VOC XML file or of all XML files of a folder, sorted by name.

    VOC counts pixels from 1 and includes the last one: (xmin, xmax) becomes the edges (xmin - 1, xmax). Classes are
    numbered by the sorted names found. folder: where the pictures are; default: `JPEGImages` beside the folder of
    annotations if there is one, else that folder.

    Raises:
        DataError: no XML files, not XML, not VOC, or a bad box; the message names the file.
    """
    source = Path(path).expanduser()
    files = sorted(source.glob("*.xml")) if source.is_dir() else [source]
    if not files:
        raise DataError(f"The folder {source} holds no .xml files; expected VOC annotations, one per picture")
    home = source if source.is_dir() else source.parent
    usual = home.parent / "JPEGImages"
    root = Path(folder).expanduser() if folder is not None else usual if usual.is_dir() else home
    read = [_read_file(file, root) for file in files]
    names = sorted({known.name for record in read for known in record.objects if known.name})
    numbers = {name: number for number, name in enumerate(names)}
    return [_numbered(record, numbers) for record in read]


def read_voc_mask(path: str | Path) -> NDArray[np.uint8]:
    """The class numbers (H, W) of a VOC mask: 0 is ground, 255 undecided.

    Raises:
        DataError: when the file is no palette or grey PNG.
    """
    source = Path(path).expanduser()
    try:
        with Image.open(source) as picture:
            if picture.mode not in ("P", "L"):
                raise DataError(
                    f"{source}: expected a mask with a palette or in grey, got mode {picture.mode}; convert it"
                )
            if picture.width * picture.height > MAX_MASK_PIXELS:
                raise DataError(
                    f"{source}: a mask of {picture.width} x {picture.height} is too large; make it smaller"
                )
            return np.array(picture, dtype=np.uint8)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(
            f"{source} is not a readable mask ({str(error)[:80]}); expected a PNG of class numbers"
        ) from error


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
    try:
        if source.stat().st_size > MAX_BYTES:
            raise DataError(
                f"{source} is larger than {MAX_BYTES // 10**6} MB, no annotation of one picture; check the file"
            )
        content = source.read_bytes()
        guard = expat.ParserCreate()
        guard.StartDoctypeDeclHandler = lambda *_: _refuse_document_type(source)
        guard.Parse(content, True)
        return ElementTree.fromstring(content)
    except OSError as error:
        raise DataError(f"{source} cannot be read ({error.strerror}); check path and permissions") from error
    except (expat.ExpatError, ElementTree.ParseError, LookupError, ValueError) as error:
        raise DataError(f"{source} is not XML ({error}); export it again") from error


def _refuse_document_type(source: Path) -> None:
    raise DataError(
        f"{source} declares a document type, which VOC files never do; remove the <!DOCTYPE> part"
    )


def _number(entry: ElementTree.Element, tag: str, source: Path) -> float:
    text = (entry.findtext(tag) or "").strip()
    try:
        return float(text)
    except ValueError as error:
        raise DataError(f"{source}: expected a number in <{tag}>, got {text[:40]!r}; correct it") from error


def _numbered(record: PictureRecord, numbers: dict[str, int]) -> PictureRecord:
    objects = tuple(
        ObjectRecord(known.box, numbers.get(known.name or ""), known.name, hard=known.hard)
        for known in record.objects
    )
    first = objects[0] if objects else None
    return PictureRecord(
        record.path, first.class_index if first else None, first.name if first else None, record.size, objects
    )
