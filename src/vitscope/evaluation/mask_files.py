"""Masks of pictures on disk, read when they are asked for: a folder of mask pictures, or shapes in a record."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from vitscope.data import PictureRecord
from vitscope.errors import DataError
from vitscope.evaluation.on_demand import OnDemand

Mask = np.ndarray
TURNED = (5, 6, 7, 8)
"""EXIF orientations in which width and height change places."""


def record_masks(records: Sequence[PictureRecord], paths: Sequence[Path]) -> Sequence[Mask]:
    """Masks from the polygons and runs of records, at the size of the pictures; empty where nothing is marked."""

    def read(source: tuple[PictureRecord, Path]) -> Mask:
        record, path = source
        size = upright_size(path)
        mask = record.mask(size)
        return np.zeros(size, dtype=bool) if mask is None else mask

    return OnDemand(list(zip(records, paths, strict=True)), read)


def mask_files(folder: Path, paths: Sequence[Path]) -> Sequence[Mask]:
    """The mask of each picture in a folder: of its name, ending in .png, .bmp or as the picture.

    What is not 0 is the object, and in palette pictures (VOC) 255 is undecided.
    Raises DataError when one is missing, cannot be opened, or has another size than its picture.
    """
    files = []
    for path in paths:
        places = [path.relative_to(path.parents[depth]) for depth in range(min(2, len(path.parents)))]
        candidates = [
            folder / place.with_suffix(suffix) for place in places for suffix in (".png", ".bmp", path.suffix)
        ]
        file = next((candidate for candidate in candidates if candidate.is_file()), None)
        if file is None:
            raise DataError(f"the folder {folder} has no mask for {path.name}; add {path.stem}.png")
        (height, width), (high, wide) = upright_size(path), upright_size(file)
        if (high, wide) != (height, width):
            raise DataError(
                f"the mask {file.name} is {wide}x{high}, its picture {width}x{height}; make them equal"
            )
        files.append(file)
    return OnDemand(files, _read_mask)


def _read_mask(file: Path) -> Mask:
    try:
        with Image.open(file) as picture:
            values = np.asarray(picture if picture.mode in ("1", "L", "P") else picture.convert("L"))
            mask: Mask = values > 0
            return mask & (values != 255) if picture.mode == "P" else mask
    except (OSError, SyntaxError, ValueError) as error:
        raise _unreadable(file, error) from None


def upright_size(path: Path) -> tuple[int, int]:
    """(height, width) of a picture file as it is shown, its EXIF rotation applied. Raises DataError."""
    try:
        with Image.open(path) as picture:
            width, height = picture.size
            turned = picture.getexif().get(0x0112) in TURNED
    except (OSError, SyntaxError, ValueError) as error:
        raise _unreadable(path, error) from None
    return (width, height) if turned else (height, width)


def _unreadable(file: Path, error: Exception) -> DataError:
    return DataError(f"the mask {file} cannot be read ({type(error).__name__}); save it again as PNG")
