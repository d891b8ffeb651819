"""From a picture to a model's input, exactly as the model's own library does it."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from vitscope.errors import ModelError, PictureError, nearest
from vitscope.models.preparing.geometry import Geometry
from vitscope.models.quick_imports import without_compiler
from vitscope.pictures.bands import Bands, shown_channels
from vitscope.pictures.modes import to_rgb

ResizeRule = Literal["short", "cover", "contain", "squash", "none"]
"""``short``: the shorter side becomes ``resize_to``, the other is cut to whole pixels (torchvision's Resize(int));
``cover`` / ``contain``: keeps the shape and just covers / fits into ``resize_to``, rounded (timm's ResizeKeepRatio);
``squash``: exactly ``resize_to``; ``none``: not resized."""

CropRule = Literal["round", "floor"]
"""How half a pixel of a centre crop is rounded: to even as torchvision does, or down as transformers does."""

Resampler = Literal["pillow", "torch", "torch-float"]
"""``pillow`` resizes the 8-bit picture with Pillow, ``torch`` the 8-bit tensor with antialiasing (transformers),
``torch-float`` the tensor already scaled to 0..1 (DINOv3's processor)."""

FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
    "box": Image.Resampling.BOX,
    "hamming": Image.Resampling.HAMMING,
}

# A 60,000×1 picture resized by its shorter side would need more memory than any machine has; above this many pixels
# only the part that survives the crop is computed.
MAX_RESIZED_PIXELS = 50_000_000


@dataclass(frozen=True)
class Preprocessor:
    """Resize, centre crop (or pad with ``fill``), scale to 0..1, normalise. Frozen, so a protocol can hold it.

    size: (H, W) of the model's input; resize_to: (H, W) aimed at before the crop, None for ``size``;
    mean, std: per channel, of values in 0..1: three for colours, one for greys, as many as a model of other channels
    has; interpolation: a key of ``FILTERS``.

    Example:
        >>> from PIL import Image
        >>> from vitscope.models import Preprocessor
        >>> recipe = Preprocessor((224, 224), mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5), resize_to=(256, 256))
        >>> recipe(Image.new("RGB", (500, 375), "white")).shape
        torch.Size([3, 224, 224])
    """

    size: tuple[int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    resize: ResizeRule = "short"
    resize_to: tuple[int, int] | None = None
    interpolation: str = "bicubic"
    crop: CropRule = "round"
    fill: tuple[int, int, int] = (0, 0, 0)
    resampler: Resampler = "pillow"

    def __post_init__(self) -> None:
        for name, value in (("size", self.size), ("resize_to", self.resize_to or self.size)):
            if len(value) != 2 or min(value) < 1:
                raise ModelError(f"expected {name} as (height, width) in pixels, at least 1; got {value!r}")
        for name, choices in (("resize", ResizeRule), ("crop", CropRule), ("resampler", Resampler)):
            allowed = choices.__args__  # type: ignore[attr-defined]
            if getattr(self, name) not in allowed:
                raise ModelError(
                    f"unknown {name} rule {getattr(self, name)!r} for pictures; use one of {', '.join(allowed)}"
                )
        if self.interpolation not in FILTERS:
            close = ", ".join(nearest(self.interpolation, FILTERS))
            raise ModelError(f"unknown interpolation {self.interpolation!r}; did you mean {close}?")
        if not self.mean or len(self.mean) != len(self.std) or min(self.std) <= 0:
            raise ModelError(
                f"expected one mean and one positive deviation for each channel; got {self.mean} and {self.std}"
            )

    @property
    def channels(self) -> int:
        """Number of channels C of the model's pictures."""
        return len(self.mean)

    def __call__(self, picture: Image.Image | Bands) -> Tensor:
        """One picture, any mode, to the model's input (C, H, W), float32, normalised.

        Raises PictureError for a picture that has not the channels of this recipe; for one channel, colours
        become greys."""
        mean, std = self.mean_std()
        return (self._unit(picture) - mean) / std

    def display(self, picture: Image.Image | Bands) -> Image.Image:
        """The picture that the model sees, (H, W) RGB, not normalised: what overlays are drawn on.

        Of other than three channels, see ``vitscope.pictures.bands.shown_channels``."""
        values = self._unit(picture).mul(255).round_().clamp_(0, 255).to(torch.uint8)
        shown = values[list(shown_channels(self.channels))].expand(3, -1, -1)
        return Image.fromarray(shown.permute(1, 2, 0).contiguous().numpy())

    def denormalise(self, images: Tensor) -> Tensor:
        """Inputs (B, C, H, W) or (C, H, W) back to values in 0..1, same shape and device, float32."""
        mean, std = self.mean_std()
        return (images.float() * std.to(images.device)).add_(mean.to(images.device)).clamp_(0, 1)

    def mean_std(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation, each (C, 1, 1), float32."""
        return torch.tensor(self.mean).view(-1, 1, 1), torch.tensor(self.std).view(-1, 1, 1)

    def with_size(self, size: tuple[int, int]) -> Preprocessor:
        """The same recipe for another input size (H, W): the same share of the picture is cropped away."""
        old = self.resize_to or self.size
        scaled = (
            math.floor(size[0] * old[0] / self.size[0] + 1e-6),
            math.floor(size[1] * old[1] / self.size[1] + 1e-6),
        )
        rule = self.resize
        if rule == "short" and scaled[0] != scaled[1]:
            rule = "cover"
        return dataclasses.replace(self, size=size, resize_to=scaled, resize=rule)

    def geometry(self, original: tuple[int, int]) -> Geometry:
        """Where the pixels of an upright picture of ``original`` (H, W) land in the model's input."""
        resized = self.resized(original)
        offset = tuple(float(pad - cut) for pad, cut in (self._place(resized, axis) for axis in (0, 1)))
        return Geometry(
            original=original,
            input=self.size,
            scale=(resized[0] / original[0], resized[1] / original[1]),
            offset=(offset[0], offset[1]),
        )

    def resized(self, original: tuple[int, int]) -> tuple[int, int]:
        """(H, W) before the crop of a picture of ``original`` (H, W)."""
        height, width = original
        target = self.resize_to or self.size
        if self.resize == "none":
            resized = original
        elif self.resize == "squash":
            resized = target
        elif self.resize == "short":
            side = target[0]
            # Whole-number arithmetic in this order is torchvision's; another order differs by a pixel.
            resized = (
                (int(side * height / width), side) if width <= height else (side, int(side * width / height))
            )
        else:
            ratios = (height / target[0], width / target[1])
            ratio = min(ratios) if self.resize == "cover" else max(ratios)
            resized = (max(1, round(height / ratio)), max(1, round(width / ratio)))
        return resized

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for records; ``Preprocessor(**fields)`` makes it again from tuples."""
        return dataclasses.asdict(self)

    def describe(self) -> str:
        """One line for people."""
        target = self.resize_to or self.size
        how = {
            "short": f"shorter side to {target[0]}",
            "cover": f"to cover {target[0]}×{target[1]}",
            "contain": f"to fit into {target[0]}×{target[1]}",
            "squash": f"to {target[0]}×{target[1]}",
            "none": "not resized",
        }[self.resize]
        mean = ", ".join(f"{value:.3g}" for value in self.mean)
        std = ", ".join(f"{value:.3g}" for value in self.std)
        return (
            f"{how} ({self.interpolation}), centre crop {self.size[0]}×{self.size[1]}, "
            f"mean ({mean}), deviation ({std})"
        )

    def _place(self, resized: tuple[int, int], axis: int) -> tuple[int, int]:
        """Pixels padded before and pixels cut off before, on one axis; one of the two is 0."""
        spare = resized[axis] - self.size[axis]
        if spare < 0:
            return -spare // 2, 0
        return 0, spare // 2 if self.crop == "floor" else round(spare / 2)

    def _unit(self, picture: Image.Image | Bands) -> Tensor:
        """Resized and cropped, (C, H, W) in 0..1."""
        if isinstance(picture, Bands):
            return self._unit_of_bands(picture)
        if self.channels not in (1, 3):
            raise PictureError(
                f"the model takes pictures of {self.channels} channels, and one of red, green and blue came; pass "
                f"arrays (H, W, {self.channels}), or normalised tensors (B, {self.channels}, H, W)"
            )
        picture = to_rgb(picture)
        picture = picture.convert("L") if self.channels == 1 else picture
        resized = self.resized((picture.height, picture.width))
        if resized[0] * resized[1] > MAX_RESIZED_PIXELS and self.resize != "none":
            return self._pad(_tensor(self._window(picture, resized)).float() / 255, resized)
        if self.resampler == "pillow":
            if picture.size != (resized[1], resized[0]):
                picture = picture.resize((resized[1], resized[0]), FILTERS[self.interpolation])
            values = _tensor(picture)
        else:
            values = _tensor(picture)
            values = values.float() / 255 if self.resampler == "torch-float" else values
            values = _resize_tensor(values, resized, self.interpolation)
        cropped = self._crop(values if values.is_floating_point() else values.float() / 255)
        return cropped

    def _unit_of_bands(self, picture: Bands) -> Tensor:
        """Each channel by itself, resized by Pillow in float32 as 8-bit pictures are, without rounding."""
        if picture.channels != self.channels:
            raise PictureError(
                f"the model takes pictures of {self.channels} channels, and one of {picture.channels} came; channels "
                "come last in an array: choose or reorder them with array[..., [0, 1, 2]]"
            )
        resized = self.resized((picture.height, picture.width))
        large = resized[0] * resized[1] > MAX_RESIZED_PIXELS and self.resize != "none"
        planes = []
        for channel in range(self.channels):
            plane = Image.fromarray(np.ascontiguousarray(picture.values[:, :, channel]))
            if large:
                plane = self._window(plane, resized)
            elif plane.size != (resized[1], resized[0]):
                plane = plane.resize((resized[1], resized[0]), FILTERS[self.interpolation])
            planes.append(np.asarray(plane))
        values = torch.from_numpy(np.stack(planes)).clamp(0, 1)
        return self._pad(values, resized) if large else self._crop(values)

    def _window(self, picture: Image.Image, resized: tuple[int, int]) -> Image.Image:
        """Resized and cropped in one step: Pillow's ``box`` gives the pixels that resizing first would give."""
        top, left = (self._place(resized, axis)[1] for axis in (0, 1))
        height, width = min(self.size[0], resized[0] - top), min(self.size[1], resized[1] - left)
        down, across = picture.height / resized[0], picture.width / resized[1]
        box = (left * across, top * down, (left + width) * across, (top + height) * down)
        box = (box[0], box[1], min(box[2], picture.width), min(box[3], picture.height))
        return picture.resize((width, height), FILTERS[self.interpolation], box=box)

    def _crop(self, values: Tensor) -> Tensor:
        height, width = self.size
        resized = (values.shape[1], values.shape[2])
        top, left = (self._place(resized, axis)[1] for axis in (0, 1))
        return self._pad(values[:, top : top + height, left : left + width], resized)

    def _pad(self, values: Tensor, resized: tuple[int, int]) -> Tensor:
        """Laid on ``fill`` where the resized picture (H, W) is smaller than the input."""
        height, width = self.size
        if tuple(values.shape[1:]) == self.size:
            return values.contiguous()
        top, left = (self._place(resized, axis)[0] for axis in (0, 1))
        fill = torch.tensor(self.fill, dtype=torch.float32) / 255
        fill = fill if self.channels == 3 else fill.mean().expand(self.channels)
        canvas = fill.view(-1, 1, 1).repeat(1, height, width)
        canvas[:, top : top + values.shape[1], left : left + values.shape[2]] = values
        return canvas


def _tensor(picture: Image.Image) -> Tensor:
    values = torch.from_numpy(np.array(picture))
    return values[None] if values.ndim == 2 else values.permute(2, 0, 1).contiguous()


def _resize_tensor(values: Tensor, size: tuple[int, int], interpolation: str) -> Tensor:
    with without_compiler():
        from torchvision.transforms import InterpolationMode
        from torchvision.transforms.v2 import functional

    resized: Tensor = functional.resize_image(
        values, list(size), interpolation=InterpolationMode(interpolation), antialias=True
    )
    return resized
