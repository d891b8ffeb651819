"""Every kind of Pillow image to one strict form: upright 8-bit RGB."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageOps

from vitscope.errors import PictureError

WHITE = (255, 255, 255)
ORIENTATION = 0x0112
"""The EXIF tag of a picture's orientation."""
TURNED = (5, 6, 7, 8)
"""EXIF orientations in which width and height change places."""
_DEEP = {"I", "I;16", "I;16B", "I;16L", "I;16N", "F"}
_WITH_ALPHA = {"RGBA", "LA", "PA", "La", "RGBa"}


def to_rgb(picture: Image.Image) -> Image.Image:
    """Convert to mode RGB, 8 bits a channel.

    16-bit greys are scaled by the range of 16 bits (65,535 becomes 255), not clipped; 32-bit integers that need
    more, and floats outside 0..1, are stretched between their smallest and largest value; transparent parts are
    laid on white; CMYK and palettes are converted by Pillow without colour management. Raises ``PictureError``.
    """
    if picture.mode == "RGB" and "transparency" not in picture.info:
        return picture
    try:
        if picture.mode in _DEEP:
            return Image.fromarray(deep_to_bytes(np.asarray(picture))).convert("RGB")
        if picture.mode in _WITH_ALPHA or "transparency" in picture.info:
            coloured = picture.convert("RGBA")
            return Image.alpha_composite(Image.new("RGBA", coloured.size, (*WHITE, 255)), coloured).convert(
                "RGB"
            )
        return picture.convert("RGB")
    except PictureError:
        raise
    except Exception as error:
        raise PictureError(
            f"a picture of mode {picture.mode} cannot be turned into RGB ({error}); save it as 8-bit RGB PNG or JPEG"
        ) from error


def deep_to_bytes(values: np.ndarray) -> np.ndarray:
    """Grey or colour values of more than 8 bits, any shape, to uint8 by range."""
    numbers = np.asarray(values, dtype=np.float64)
    if not np.isfinite(numbers).all():
        raise PictureError("the picture holds NaN or infinite values; replace them before saving it")
    low, high = float(numbers.min()), float(numbers.max())
    if np.issubdtype(values.dtype, np.floating):
        low, high = (0.0, 1.0) if low >= 0 and high <= 1 else (low, high)
    elif low >= 0 and high <= 65535:
        low, high = 0.0, 65535.0
    scaled = (numbers - low) / (high - low) if high > low else np.zeros_like(numbers)
    scaled_bytes: np.ndarray = np.rint(scaled * 255).astype(np.uint8)
    return scaled_bytes


def upright(picture: Image.Image) -> Image.Image:
    """Turned as its EXIF orientation says; a damaged EXIF block is ignored. The picture itself is not changed."""
    try:
        if orientation_of(picture) == 1:
            return picture
        return ImageOps.exif_transpose(picture)
    except Exception:
        # The pixels are sound; only the note about their orientation is not.
        return picture


def orientation_of(picture: Image.Image) -> int:
    """1 to 8 as in EXIF; 1, as it is stored, where nothing or nonsense is said."""
    try:
        told = picture.getexif().get(ORIENTATION)
    except Exception:
        return 1
    return int(told) if isinstance(told, int) and 1 <= told <= 8 else 1
