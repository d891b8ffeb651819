"""Masks of pictures on disk, read when they are asked for: a folder of mask pictures, or shapes in a record."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from vitscope.errors import DataError, PictureError
from vitscope.pictures.annotations.records import PictureRecord
from vitscope.pictures.masks import Mask, read_mask, unequal, upright_size
from vitscope.pictures.on_demand import OnDemand
from vitscope.storage.paths import typed_path

ENDINGS = (".png", ".bmp")
"""Endings of mask files, beside that of the picture itself."""


def record_masks(records: Sequence[PictureRecord], paths: Sequence[Path]) -> Sequence[Mask]:
    """Masks from the polygons and runs of records, at the size of the pictures; empty where nothing is marked."""

    def read(source: tuple[PictureRecord, Path]) -> Mask:
        record, path = source
        size = upright_size(path)
        mask = record.mask(size)
        return np.zeros(size, dtype=bool) if mask is None else mask

    return OnDemand(list(zip(records, paths, strict=True)), read)


def mask_files(folder: Path, paths: Sequence[Path], *, check: bool = True) -> Sequence[Mask]:
    """The mask of each picture in a folder: of its name, ending in .png, .bmp or as the picture.

    Folders count: of ``masks/cats/tom.png`` and ``masks/tom.png``, the first belongs to ``cats/tom.jpg``. What is not 0
    is the object, and in palette pictures (VOC) 255 is undecided.

    Args:
        folder: Where the masks are.
        paths: The pictures.
        check: Look at the size of every mask at once; else when it is read.

    Raises:
        DataError: one is missing, would serve two pictures, or has another size than its picture. One that cannot be
            read raises when it is asked for.
    """
    root = typed_path(folder, DataError)
    if not os.path.isdir(root):
        raise DataError(f"there is no folder of masks {root}; check the path")
    files: dict[Path, Path] = {}
    for path in paths:
        file = mask_file_of(root, path)
        other = files.setdefault(file, path)
        if other.absolute() != path.absolute():
            raise DataError(
                f"the mask {file} would serve {other} and {path}; put masks into folders as the pictures are"
            )
        if check:
            _check_size(file, path)
    chosen = {path.absolute(): file for file, path in files.items()}
    return OnDemand(
        [chosen[path.absolute()] for path in paths], lambda file: read_mask(file, None, file.name)
    )


def mask_file_of(folder: Path, path: Path) -> Path:
    """The mask of one picture in a folder, see ``mask_files``. Raises DataError when there is none."""
    file = next((place for place in _candidates(folder, path) if os.path.isfile(place)), None)
    if file is None:
        raise DataError(f"the folder {folder} has no mask for {path.name}; add {path.stem}.png")
    return file


def _candidates(folder: Path, path: Path) -> list[Path]:
    """Where the mask of a picture may be, the longest end of its path first."""
    whole = path.absolute()
    found = []
    for depth in range(min(8, len(whole.parents)) - 1, -1, -1):
        place = whole.relative_to(whole.parents[depth])
        found += [folder / place.with_suffix(ending) for ending in (*ENDINGS, path.suffix)]
    return found


def _check_size(file: Path, path: Path) -> None:
    try:
        mask, picture = upright_size(file), upright_size(path)
    except PictureError:
        return  # told when it is read
    if mask != picture:
        raise DataError(unequal(f"the mask {file.name}", mask, picture))
