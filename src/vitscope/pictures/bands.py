"""Pictures of any number of channels that are not colours: several wavelengths, several sequences of a scan."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from vitscope.errors import PictureError
from vitscope.pictures.modes import upright


@dataclass(frozen=True, eq=False)
class Bands:
    """A picture of C channels, none of which is taken for a colour or for transparency.

    values: (H, W, C) float32 in 0..1, not rounded to 8 bits."""

    values: np.ndarray

    @property
    def height(self) -> int:
        """Rows of pixels."""
        return int(self.values.shape[0])

    @property
    def width(self) -> int:
        """Columns of pixels."""
        return int(self.values.shape[1])

    @property
    def channels(self) -> int:
        """Number of channels."""
        return int(self.values.shape[2])


def as_bands(values: np.ndarray) -> Bands:
    """An array (H, W, C) of uint8, uint16 (65,535 is 1), bool or floats in 0..1. Raises PictureError for others."""
    if values.ndim != 3 or 0 in values.shape:
        raise PictureError(f"expected an array (H, W, C) of several channels; got shape {values.shape}")
    if values.dtype in (np.uint8, np.uint16):
        return Bands(values.astype(np.float32) / np.iinfo(values.dtype).max)
    if values.dtype == np.bool_:
        return Bands(values.astype(np.float32))
    if not np.issubdtype(values.dtype, np.floating):
        raise PictureError(
            f"expected arrays of uint8, uint16 or floats in 0..1; got {values.dtype}; scale it to 0..1"
        )
    low, high = float(values.min()), float(values.max())
    if not (low >= 0 and high <= 1):  # also where a value is NaN
        raise PictureError(
            f"expected float arrays in 0..1; got values from {low:.4g} to {high:.4g}: scale each channel to 0..1, or "
            "pass normalised input as a torch tensor (C, H, W)"
        )
    return Bands(values.astype(np.float32))


def shown_channels(channels: int) -> tuple[int, ...]:
    """Which channels a drawing shows: the first three as red, green and blue; of fewer, the first one as grey."""
    return (0, 1, 2) if channels >= 3 else (0,)


def describe_shown(channels: int) -> str:
    """What a drawing must say of itself; '' for one or three channels, where nothing is left out.

    Example:
        >>> describe_shown(12)
        'the picture shows channels 0, 1, 2 of 12'
    """
    if channels in (1, 3):
        return ""
    shown = shown_channels(channels)
    return f"the picture shows channel{'s' * (len(shown) > 1)} {', '.join(map(str, shown))} of {channels}"


def bands_in(item: Any, channels: int | None) -> Bands | None:
    """A picture in memory with all of its channels, where they are as many as the model takes; None for others.

    channels: of the model; None takes any number that no picture of colours, greys or transparency has."""
    if isinstance(item, Bands):
        return item
    if channels in (1, 3):
        return None
    if isinstance(item, Image.Image):
        item = np.asarray(upright(item))
    elif isinstance(item, Tensor) and item.dtype == torch.uint8 and item.ndim == 3:
        item = item.permute(1, 2, 0).cpu().numpy()
    if not isinstance(item, np.ndarray) or item.ndim != 3:
        return None
    wanted = item.shape[2] not in (0, 1, 3, 4) if channels is None else item.shape[2] == channels
    return as_bands(item) if wanted else None
