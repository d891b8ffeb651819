"""Removal by pixels: what stands in the place of a removed cell, and the composites themselves, in batches."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

IMAGENET_COLOUR = (0.485, 0.456, 0.406)


def colour_picture(images: Tensor, colour: Tensor) -> Tensor:
    """A picture of one colour, (3,) in the model's normalised space, for each picture: (B, 3, H, W)."""
    return colour.to(images).view(1, -1, 1, 1).expand_as(images)


def blurred(images: Tensor, sigma: float | None = None) -> Tensor:
    """Gaussian blur with mirrored borders, (B, 3, H, W); σ defaults to 1/16 of the shorter side."""
    if sigma is None:
        sigma = min(images.shape[-2:]) / 16
    radius = max(1, min(math.ceil(3 * sigma), min(images.shape[-2:]) - 1))
    place = torch.arange(-radius, radius + 1, device=images.device, dtype=images.dtype)
    line = torch.exp(-place.square() / (2 * sigma**2))
    return _separable(functional.pad(images, (radius,) * 4, mode="reflect"), line / line.sum(), padding=0)


def rise_blur(images: Tensor, size: int = 11, sigma: float = 5.0) -> Tensor:
    """The blur from which RISE's insertion starts: a cut 11×11 Gaussian of σ 5, zeros outside the picture.

    The published kernel is a Gaussian filter with mirrored borders applied to a point inside an 11×11 square,
    so what falls outside of the square is folded back in; it is built the same way here.
    """
    radius = int(4 * sigma + 0.5)
    offsets = torch.arange(-radius, radius + 1)
    weight = torch.exp(-offsets.double().square() / (2 * sigma**2))
    weight = weight / weight.sum()
    line = torch.zeros(size, dtype=torch.float64)
    for offset, part in zip(offsets.tolist(), weight.tolist(), strict=True):
        # Mirror with the edge repeated (d c b a | a b c d | d c b a), period 2 * size.
        place = (size // 2 + offset) % (2 * size)
        line[min(place, 2 * size - 1 - place)] += part
    return _separable(images, line.to(images), padding=size // 2)


def _separable(images: Tensor, line: Tensor, padding: int) -> Tensor:
    channels = images.shape[1]
    column = line.view(1, 1, -1, 1).expand(channels, 1, -1, 1)
    row = line.view(1, 1, 1, -1).expand(channels, 1, 1, -1)
    images = functional.conv2d(images, column, padding=(padding, 0), groups=channels)
    return functional.conv2d(images, row, padding=(0, padding), groups=channels)


def composite(images: Tensor, fill: Tensor, keep: Tensor) -> Tensor:
    """``images`` where ``keep`` (M, 1, H, W), ``fill`` elsewhere."""
    return torch.where(keep, images, fill)


def unit_range(maps: Tensor) -> Tensor:
    """Min-max to [0, 1] per map over the last two axes; a constant map becomes ones, so it changes nothing."""
    low = maps.amin(dim=(-2, -1), keepdim=True)
    span = maps.amax(dim=(-2, -1), keepdim=True) - low
    return torch.where(
        span > 0, (maps - low) / span.clamp_min(torch.finfo(maps.dtype).tiny), torch.ones_like(maps)
    )
