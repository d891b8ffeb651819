"""Loose input at the border, one strict form inside: paths, Pillow images, arrays and tensors to (B, 3, H, W)."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from vitscope.errors import ModelError, PictureError
from vitscope.models.picture_modes import deep_to_bytes, to_rgb, upright
from vitscope.models.pictures import MAX_PIXELS, find_pictures, read_picture
from vitscope.models.preprocess import Preprocessor

_EXPECTED = (
    "expected a path, a Pillow image, an array (H, W, 3) or a tensor (3, H, W), or several of one kind"
)


def to_batch(images: Any, preprocessor: Preprocessor | None, *, max_pixels: int = MAX_PIXELS) -> Tensor:
    """Anything that stands for pictures to the model's input (B, 3, H, W), float32, on the CPU or where it was.

    - paths (files, folders, globs), Pillow images, arrays (H, W), (H, W, 1 | 3 | 4) or (B, H, W, 3) of uint8, uint16
      or floats in 0..1, uint8 tensors (3, H, W) or (B, 3, H, W): pictures, run through ``preprocessor``;
    - float tensors (3, H, W) or (B, 3, H, W): ready, normalised input, handed on unchanged;
    - integer tensors (B, N): token ids of a text model, handed on unchanged;
    - lists and tuples of these.

    Raises ``PictureError`` for what cannot be used and ``ModelError`` when a picture comes and there is no
    preprocessor.
    """
    if isinstance(images, Tensor) and images.ndim == 2 and not images.is_floating_point():
        return images
    ready = [
        item if isinstance(item, Tensor) else _apply(preprocessor, item)
        for item in _items(images, max_pixels=max_pixels)
    ]
    shapes = sorted({tuple(item.shape) for item in ready})
    if len(shapes) > 1:
        raise PictureError(
            f"the tensors of one batch must have one shape, got {', '.join(map(str, shapes[:4]))}; pass them one by one"
        )
    batch = images if isinstance(images, Tensor) and images.ndim == 4 and images.is_floating_point() else None
    return batch if batch is not None else torch.stack(ready)


def to_pictures(
    images: Any, preprocessor: Preprocessor | None, *, max_pixels: int = MAX_PIXELS
) -> list[Image.Image]:
    """The same input as RGB pictures of the model's input size, for drawing on: one per picture, (H, W) of the model.

    A ready tensor is turned back with the preprocessor's mean and deviation, or, without a preprocessor, stretched
    between its own smallest and largest value.
    """
    shown = []
    for item in _items(images, max_pixels=max_pixels):
        if isinstance(item, Tensor):
            unit = (
                preprocessor.denormalise(item.detach())
                if preprocessor is not None
                else _stretched(item.detach())
            )
            values = unit.mul(255).round().clamp(0, 255).to("cpu", torch.uint8)
            shown.append(Image.fromarray(values.expand(3, -1, -1).permute(1, 2, 0).contiguous().numpy()))
        else:
            shown.append(_recipe(preprocessor).display(item))
    return shown


def as_picture(value: Any) -> Image.Image:
    """One Pillow image or array to an upright 8-bit RGB image. Raises ``PictureError``."""
    if isinstance(value, Image.Image):
        return to_rgb(upright(value))
    if isinstance(value, np.ndarray):
        return _from_array(value)
    raise PictureError(f"{_EXPECTED}; got {type(value).__name__}")


def _items(images: Any, *, max_pixels: int) -> Iterator[Image.Image | Tensor]:
    """One after the other: RGB pictures, and ready float tensors (C, H, W)."""
    empty = True
    for item in _flat(images, max_pixels):
        empty = False
        yield item
    if empty:
        raise PictureError(f"got no picture at all; {_EXPECTED}")


def _flat(images: Any, max_pixels: int) -> Iterator[Image.Image | Tensor]:
    if isinstance(images, (str, os.PathLike)):
        for path in find_pictures(images):
            yield read_picture(path, max_pixels=max_pixels)
    elif isinstance(images, Tensor):
        yield from _from_tensor(images)
    elif isinstance(images, np.ndarray) and images.ndim == 4:
        for array in images:
            yield _from_array(array)
    elif isinstance(images, (Image.Image, np.ndarray)):
        yield as_picture(images)
    elif isinstance(images, Sequence) and not isinstance(images, (bytes, bytearray)):
        for item in images:
            yield from _flat(item, max_pixels)
    else:
        raise PictureError(f"{_EXPECTED}; got {type(images).__name__}")


def _from_tensor(images: Tensor) -> Iterator[Image.Image | Tensor]:
    if images.ndim == 3:
        images = images[None]
    if images.ndim != 4:
        raise PictureError(f"expected a tensor (3, H, W) or (B, 3, H, W); got shape {tuple(images.shape)}")
    if images.is_floating_point():
        if not bool(torch.isfinite(images).all()):
            raise PictureError("the input tensor holds NaN or infinite values; check how it was normalised")
        yield from images
    elif images.dtype == torch.uint8:
        if images.shape[1] != 3:
            raise PictureError(
                f"expected uint8 tensors with channels first (B, 3, H, W); got {tuple(images.shape)}: "
                "permute it, or pass an array (B, H, W, 3)"
            )
        for image in images:
            yield _from_array(image.permute(1, 2, 0).cpu().numpy())
    else:
        raise PictureError(
            f"expected a float tensor (normalised input) or a uint8 tensor (pictures); got {images.dtype}; convert it"
        )


def _from_array(values: np.ndarray) -> Image.Image:
    shape = values.shape
    if values.ndim == 2:
        values = values[:, :, None]
    if values.ndim != 3 or values.shape[2] not in (1, 3, 4) or 0 in shape:
        hint = ": channels come last, transpose it" if len(shape) == 3 and shape[0] in (1, 3, 4) else ""
        raise PictureError(
            f"expected a picture array (H, W), (H, W, 3) or (H, W, 4); got shape {shape}{hint}"
        )
    if np.issubdtype(values.dtype, np.floating):
        if not np.isfinite(values).all() or values.min() < 0 or values.max() > 1:
            raise PictureError(
                f"expected float arrays in 0..1; got values from {values.min():.4g} to {values.max():.4g}: "
                "divide by 255, or pass normalised input as a torch tensor (3, H, W)"
            )
        values = deep_to_bytes(values)
    elif values.dtype == np.bool_:
        values = values.astype(np.uint8) * 255
    elif values.dtype == np.uint16:
        values = deep_to_bytes(values)
    elif values.dtype != np.uint8:
        raise PictureError(
            f"expected arrays of uint8, uint16 or floats in 0..1; got {values.dtype}; convert it"
        )
    squeezed = values[:, :, 0] if values.shape[2] == 1 else values
    return to_rgb(Image.fromarray(np.ascontiguousarray(squeezed)))


def _apply(preprocessor: Preprocessor | None, picture: Image.Image) -> Tensor:
    return _recipe(preprocessor)(picture)


def _recipe(preprocessor: Preprocessor | None) -> Preprocessor:
    if preprocessor is None:
        raise ModelError(
            "how this model wants its pictures is not known; open it with preprocess= (a Preprocessor, its library's "
            "transform, 'imagenet', 'clip' or 'half'), or pass ready normalised tensors (B, 3, H, W)"
        )
    return preprocessor


def _stretched(values: Tensor) -> Tensor:
    low, high = values.amin(), values.amax()
    return (values.float() - low) / (high - low).clamp(min=1e-12)
