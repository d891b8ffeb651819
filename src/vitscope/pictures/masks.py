"""Masks of pictures: where the object or the evidence lies, read through the same door as pictures."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from vitscope.errors import DataError, PictureError
from vitscope.pictures.formats import identify
from vitscope.pictures.modes import TURNED, orientation_of, upright
from vitscope.pictures.read import MAX_PIXELS, Stored, check_size, open_file, open_picture

Mask = NDArray[np.bool_]
VOID = 255
"""The value of a mask with a palette (VOC) where no class was decided."""


def read_mask(
    value: Any, size: tuple[int, int] | None, name: str = "the picture", *, max_pixels: int = MAX_PIXELS
) -> Mask:
    """One mask, bool (H, W), in the upright pixels of its picture.

    A mask is of the size at which its picture is shown, after the EXIF rotation of both. A mask of the stored,
    unrotated picture is refused and never turned silently.

    Args:
        value: A path, a Pillow image, an array or a tensor (H, W); what is not 0 is the object, and in palette
            pictures (VOC) 255 is undecided and counts as ground.
        size: (H, W) of the upright picture; None takes a mask of any size.
        name: What to call the picture in a message.
        max_pixels: Most pixels that a mask file may have.

    Raises:
        DataError: unreadable, of another size, or no mask.
    """
    if isinstance(value, (str, os.PathLike, Stored)):
        try:
            with open_picture(value if isinstance(value, Stored) else Path(value), max_pixels) as picture:
                mask = _values(upright(picture))
        except PictureError as error:
            raise DataError(f"the mask of {name} cannot be read: {error}") from error
    elif isinstance(value, Image.Image):
        mask = _values(upright(value))
    else:
        found = value.detach().cpu().numpy() if isinstance(value, Tensor) else np.asarray(value)
        if found.ndim != 2 or found.dtype.kind not in "biuf":
            raise DataError(
                f"expected the mask of {name} as an array (H, W), got {found.dtype} {found.shape}; give one plane"
            )
        if found.dtype.kind == "f" and not np.isfinite(found).all():
            raise DataError(f"the mask of {name} holds NaN or infinite values; give 0 and 1")
        mask = found != 0
    if size is not None and mask.shape != size:
        raise DataError(unequal(f"the mask of {name}", mask.shape, size))
    return mask


def unequal(mask: str, shape: tuple[int, ...], size: tuple[int, int]) -> str:
    """What to say of a mask (H, W) that is not of its picture's size (H, W)."""
    turned = " (it is of the stored picture, before its EXIF rotation? then turn it, too)"
    said = f"{mask} is {shape[1]}x{shape[0]}, its picture {size[1]}x{size[0]}; make them equal"
    return said + turned if shape == size[::-1] else said


def upright_size(path: Path, *, max_pixels: int = MAX_PIXELS) -> tuple[int, int]:
    """(H, W) of a picture file as it is shown, its EXIF rotation applied; no pixel is decoded. Raises PictureError."""
    with open_file(path) as stream:
        try:
            picture = identify(stream, str(path))
            check_size(picture, max_pixels, str(path))
            width, height = picture.size
            return (width, height) if orientation_of(picture) in TURNED else (height, width)
        except PictureError:
            raise
        except Exception as error:
            raise PictureError(f"{path} is damaged and cannot be read ({error}); fetch it again") from error


def _values(picture: Image.Image) -> Mask:
    plain = picture.mode in ("1", "L", "P") or picture.mode.startswith(("I", "F"))
    values = np.asarray(picture if plain else picture.convert("L"))
    mask: Mask = values > 0
    return mask & (values != VOID) if picture.mode == "P" else mask
