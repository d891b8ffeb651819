"""Loose input at the border, one strict form inside: pictures in any accepted form to (B, C, H, W)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from vitscope.errors import ModelError, PictureError
from vitscope.models.preparing.preprocessor import Preprocessor
from vitscope.options.door import checked
from vitscope.pictures.bands import Bands, shown_channels
from vitscope.pictures.forms import take_apart
from vitscope.pictures.memory import check_tensors
from vitscope.pictures.read import MAX_PIXELS
from vitscope.pictures.source import PictureSource


@checked(ModelError)
def to_batch(images: Any, preprocessor: Preprocessor | None, *, max_pixels: int = MAX_PIXELS) -> Tensor:
    """Pictures as the model's input (B, C, H, W), float32, on the CPU or where they were.

    Every form that :func:`vitscope.pictures.picture_source` takes; integer tensors (B, N) are the token ids of a text
    model and handed on unchanged, as is a ready float tensor (B, C, H, W) or, of films, (B, T, C, H, W). For a
    preprocessor of other than one or three channels, arrays (H, W, C), uint8 tensors (C, H, W) and picture files of C
    channels keep them as they are.

    Args:
        images: The pictures.
        preprocessor: How they are prepared; None where only ready tensors come.
        max_pixels: Larger pictures are refused before they are decoded.

    Returns:
        The batch.

    Raises:
        PictureError: Something cannot be used.
        ModelError: A picture comes and there is no preprocessor.

    Example:
        >>> import vitscope as vs
        >>> from vitscope.models import as_preprocessor, to_batch
        >>> to_batch(vs.worlds.demo_pictures(2).images(), as_preprocessor("half", (96, 96))).shape
        torch.Size([2, 3, 96, 96])
    """
    if isinstance(images, Tensor) and images.ndim == 2 and not images.is_floating_point():
        return images
    if isinstance(images, Tensor) and images.ndim in (4, 5) and images.is_floating_point():
        check_tensors(images if images.ndim == 4 else images.flatten(0, 1))
        if len(images):
            return images
    if _are_ready(images):
        return check_tensors(_stacked(images))
    ready = [
        item if isinstance(item, Tensor) else _recipe(preprocessor)(item)
        for item in _opened(images, max_pixels, preprocessor)
    ]
    shapes = sorted({tuple(item.shape) for item in ready})
    if len(shapes) > 1:
        raise PictureError(
            f"the tensors of one batch must have one shape, got {', '.join(map(str, shapes[:4]))}; pass them one by one"
        )
    return _stacked(ready)


@checked(ModelError)
def to_pictures(
    images: Any, preprocessor: Preprocessor | None, *, max_pixels: int = MAX_PIXELS
) -> list[Image.Image]:
    """The same input as RGB pictures of the model's input size, for drawing on: one per picture, (H, W) of the model.

    Of other than three channels, those of :func:`vitscope.pictures.bands.shown_channels` are drawn.

    A ready tensor is turned back with the preprocessor's mean and deviation, or, without a preprocessor, stretched
    between its own smallest and largest value.

    Args:
        images: As for :func:`to_batch`.
        preprocessor: How they are prepared.
        max_pixels: Larger pictures are refused before they are decoded.

    Returns:
        A Pillow picture for each.

    Raises:
        PictureError: Something cannot be used.
        ModelError: A picture comes and there is no preprocessor.

    Example:
        >>> import vitscope as vs
        >>> from vitscope.models import as_preprocessor, to_pictures
        >>> to_pictures(vs.worlds.demo_pictures(1).images(), as_preprocessor("half", (64, 64)))[0].size
        (64, 64)
    """
    shown = []
    for item in _opened(images, max_pixels, preprocessor):
        if isinstance(item, Tensor):
            shown.append(Image.fromarray(drawable(item.detach(), preprocessor).numpy()))
        else:
            shown.append(_recipe(preprocessor).display(item))
    return shown


def drawable(image: Tensor, preprocessor: Preprocessor | None) -> Tensor:
    """A ready tensor (C, H, W) as uint8 (H, W, 3) on the CPU, turned back with the preprocessor or stretched."""
    return all_drawable(image[None], preprocessor)[0]


def all_drawable(images: Tensor, preprocessor: Preprocessor | None) -> Tensor:
    """Ready tensors (B, C, H, W) as uint8 (B, H, W, 3) on the CPU, each as :func:`drawable` makes it.

    The arithmetic is done where they are, so that bytes are moved and not floats."""
    channels = images.shape[1]
    shown = list(shown_channels(channels))
    if preprocessor is not None and preprocessor.channels == channels:
        unit = preprocessor.denormalise(images)
        if len(shown) < channels:
            unit = unit[:, shown]
    else:
        unit = torch.stack([_stretched(image[shown]) for image in images])
    values = unit.mul_(255).round_().clamp_(0, 255)
    pictures = torch.empty(len(values), *values.shape[2:], 3, dtype=torch.uint8, device=values.device)
    for channel in range(3):
        pictures[..., channel].copy_(values[:, min(channel, values.shape[1] - 1)])
    return pictures.cpu()


def _opened(
    images: Any, max_pixels: int, preprocessor: Preprocessor | None
) -> Iterator[Image.Image | Bands | Tensor]:
    """One after the other: RGB pictures, pictures of other channels, and ready float tensors (C, H, W)."""
    source = (
        images
        if isinstance(images, PictureSource)
        else PictureSource(take_apart(images).pictures, None, max_pixels=max_pixels)
    )
    for index in range(len(source)):
        yield source.open(index, 3 if preprocessor is None else preprocessor.channels).image


def _recipe(preprocessor: Preprocessor | None) -> Preprocessor:
    if preprocessor is None:
        raise ModelError(
            "how this model wants its pictures is not known; open it with preprocess= (a Preprocessor, its library's "
            "transform, {'size': 224, 'mean': 0.5, 'std': 0.5} with the numbers of its training, 'imagenet', 'clip' or "
            "'half'), or pass ready normalised tensors (B, C, H, W)"
        )
    return preprocessor


def _stretched(values: Tensor) -> Tensor:
    low, high = values.amin(), values.amax()
    return (values.float() - low) / (high - low).clamp(min=1e-12)


def _are_ready(images: Any) -> bool:
    """A list of float tensors (C, H, W), all of one shape, kind and device."""
    if not (isinstance(images, list) and images and isinstance(images[0], Tensor)):
        return False
    first = images[0]
    return (
        first.is_floating_point()
        and first.ndim == 3
        and all(isinstance(each, Tensor) for each in images)
        and {(each.shape, each.dtype, each.device) for each in images}
        == {(first.shape, first.dtype, first.device)}
    )


def _stacked(items: list[Tensor]) -> Tensor:
    """Tensors (C, H, W) of one shape as a batch, which lies in memory as they do: channels last stays channels last."""
    first = items[0]
    if (whole := _rows_of_one(items)) is not None:
        return whole
    strides, dense = first.stride(), torch.empty_like(first).stride()
    if first.is_contiguous() or strides != dense or any(item.stride() != strides for item in items):
        return torch.stack(items)
    batch = first.new_empty_strided((len(items), *first.shape), (first.numel(), *strides))
    for row, item in zip(batch, items, strict=True):
        row.copy_(item)
    return batch


def _rows_of_one(items: list[Tensor]) -> Tensor | None:
    """The tensor (B, C, H, W) whose rows in their order these are, without a copy; None when they are of several."""
    first, size = items[0], items[0].element_size()
    if first.layout != torch.strided or first.requires_grad or len(items) == 1:
        return None
    step = (items[1].data_ptr() - first.data_ptr()) // size
    base = first.untyped_storage().data_ptr()
    for place, item in enumerate(items):
        here = item.data_ptr() == first.data_ptr() + place * step * size
        alike = item.stride() == first.stride() and item.dtype == first.dtype and not item.requires_grad
        if not (here and alike and item.untyped_storage().data_ptr() == base):
            return None
    if step < first.numel():  # repeated or overlapping rows
        return None
    return first.as_strided((len(items), *first.shape), (step, *first.stride()))
