"""Pictures that are in memory already: Pillow images, arrays and tensors, checked and brought to one form."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from vitscope.errors import PictureError, brief
from vitscope.options.door import checked
from vitscope.pictures.modes import deep_to_bytes, to_rgb, upright
from vitscope.pictures.read import MAX_PIXELS, check_size

EXPECTED = "expected a path, a Pillow image, an array (H, W, 3) or a tensor (3, H, W), or several of one kind"


@checked(PictureError)
def as_picture(value: Any, *, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Turn one Pillow image, array or uint8 tensor into an upright 8-bit RGB image; the value itself is not changed.

    Args:
        value: A Pillow image; an array (H, W), (H, W, 1), (H, W, 3) or (H, W, 4) of uint8, uint16, bool, or floats in
            0..1; or a uint8 tensor (1, H, W), (3, H, W) or (4, H, W).
        max_pixels: The largest number of pixels (height times width) that a Pillow image may have.

    Returns:
        The RGB image, H x W pixels (a rotation in the EXIF data of a Pillow image is applied).

    Raises:
        PictureError: Another type, shape or range of values, or an image that cannot be decoded.

    Example:
        >>> import numpy as np
        >>> import vitscope as vs
        >>> vs.pictures.as_picture(np.full((2, 4), 0.5)).getpixel((3, 1))
        (128, 128, 128)
    """
    if isinstance(value, Image.Image):
        check_size(value, max_pixels, "the picture")
        try:
            value.load()
        except Exception as error:
            raise PictureError(
                f"a Pillow image cannot be decoded ({brief(error)}); is its file damaged or closed? load() it first"
            ) from error
        return to_rgb(upright(value))
    if isinstance(value, np.ndarray):
        return _from_array(value)
    if isinstance(value, Tensor):
        if check_tensor(value).dtype == torch.uint8:
            return _from_array(np.ascontiguousarray(value.permute(1, 2, 0).cpu().numpy()))
        raise PictureError(
            "expected a picture, got a float tensor, which is ready input for a model; pass uint8"
        )
    raise PictureError(f"{EXPECTED}; got {type(value).__name__}")


def check_tensor(image: Tensor) -> Tensor:
    """A tensor (C, H, W): floats are ready input for the model, uint8 a picture. Raises PictureError for others."""
    if image.ndim != 3 or 0 in image.shape:
        raise PictureError(f"expected a tensor (3, H, W) or (B, 3, H, W); got shape {tuple(image.shape)}")
    if image.device.type == "meta":
        raise PictureError(
            "the input tensor has no values (device meta); make it on a device that holds some"
        )
    if image.is_floating_point():
        # a sum of finite numbers may overflow, one with NaN or infinity is never finite; it is many times as fast
        if not bool(image.detach().sum().isfinite()) and not bool(torch.isfinite(image).all()):
            raise PictureError("the input tensor holds NaN or infinite values; check how it was normalised")
    elif image.dtype != torch.uint8:
        raise PictureError(
            f"expected a float tensor (normalised input) or a uint8 tensor (pictures); got {image.dtype}; convert it"
        )
    elif image.shape[0] not in (1, 3, 4):
        raise PictureError(
            f"expected uint8 tensors with channels first (B, 3, H, W); got {tuple(image.shape)}: "
            "permute it, or pass an array (B, H, W, 3)"
        )
    return image


def check_tensors(images: Tensor) -> Tensor:
    """Several at once, float (B, C, H, W), as ``check_tensor`` checks each: one sum where there is no fault."""
    values = images.device.type != "meta" and 0 not in images.shape
    if not (values and bool(images.detach().sum().isfinite())):
        for image in images:
            check_tensor(image)
    return images


def _from_array(values: np.ndarray) -> Image.Image:
    shape = values.shape
    if values.ndim == 2:
        values = values[:, :, None]
    if values.ndim != 3 or values.shape[2] not in (1, 3, 4) or 0 in shape:
        hint = ": channels come last, transpose it" if len(shape) == 3 and shape[0] in (1, 3, 4) else ""
        raise PictureError(
            f"expected a picture array (H, W), (H, W, 3) or (H, W, 4), or as many channels as the model takes with one "
            f"mean and deviation for each (preprocess=); got shape {shape}{hint}"
        )
    if np.issubdtype(values.dtype, np.floating):
        if not np.isfinite(values).all() or values.min() < 0 or values.max() > 1:
            with np.errstate(all="ignore"):
                low, high = float(values.min()), float(values.max())
            raise PictureError(
                f"expected float arrays in 0..1; got values from {low:.4g} to {high:.4g}: "
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
