"""Opened pictures, one and several: pixels together with what is known of them, in the model's own geometry."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from PIL import Image
from torch import Tensor

from vitscope.pictures.bands import Bands
from vitscope.pictures.masks import Mask
from vitscope.pictures.truth import Box


class Opened(Protocol):
    """What a batch needs from an opened model."""

    @property
    def preprocessor(self) -> Any: ...
    def images(self, images: Any) -> Tensor: ...


class NamedPictures(Protocol):
    """What a picture asks of the source that it comes from: its names, and what is to be explained."""

    targets: Sequence[Any] | None

    @property
    def keys(self) -> Sequence[str]:
        """The name of each picture."""

    def id(self, index: int) -> str:
        """The content hash of one picture."""


@dataclass(frozen=True, eq=False)
class Picture:
    """One picture that was read, with what is known of it.

    Args:
        source: Where it comes from.
        position: Its place in the source, from 0.
        image: Upright RGB image; an array with the model's number of channels; or a float tensor (C, H, W) that is
            ready for the model.
        label: Its class, None when unknown.
        mask: (H, W) bool, in pixels of ``image``, None when unknown.
        boxes: (x0, y0, x1, y1) each, in pixels of ``image``, None when unknown.
        target: What is to be explained of it, None for the default.
        file_size: How many bytes its file has, None for a picture that was in memory.

    Example:
        >>> import vitscope as vs
        >>> picture = vs.pictures.picture_source(vs.worlds.world("shapes").sample(4, seed=1)).open(2)
        >>> picture.position, picture.label, picture.image.size, picture.mask.shape
        (2, 5, (96, 96), (96, 96))
    """

    source: NamedPictures
    position: int
    image: Image.Image | Bands | Tensor
    label: int | None = None
    mask: Mask | None = None
    boxes: list[Box] | None = None
    target: Any = None
    file_size: int | None = None

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the upright picture, in pixels."""
        if isinstance(self.image, Tensor):
            return int(self.image.shape[-2]), int(self.image.shape[-1])
        return self.image.height, self.image.width

    @property
    def key(self) -> str:
        """The name of the picture, unique in its source; its random draws depend on it."""
        return self.source.keys[self.position]

    @property
    def id(self) -> str:
        """The hash of the picture's content."""
        return self.source.id(self.position)


@dataclass(frozen=True, eq=False)
class Batch:
    """Some pictures in the form that the model takes, with their labels, masks and boxes.

    Masks and boxes are moved with the pictures through resize and crop. A box of which the crop leaves nothing is
    dropped.

    Args:
        pictures: The B pictures as they were read.
        images: (B, C, H, W) float, preprocessed, on the model's device.
        labels: (B,) long, None unless all are known.
        masks: (B, H, W) bool in pixels of ``images``, None when unknown.
        boxes: For each picture a list of (x0, y0, x1, y1) in pixels of ``images``, None when unknown.
        targets: What is to be explained of each picture, None for the default.

    Example:
        >>> import vitscope as vs
        >>> vit = vs.open_model("bundled/shapes")
        >>> source = vs.pictures.picture_source(vs.worlds.world("shapes").sample(3, seed=1))
        >>> [tuple(batch.images.shape) for batch in source.batches(vit, size=2)]
        [(2, 3, 96, 96), (1, 3, 96, 96)]
    """

    pictures: Sequence[Picture]
    images: Tensor
    labels: Tensor | None
    masks: Tensor | None
    boxes: list[list[Box]] | None
    targets: list[Any] | None

    def __len__(self) -> int:
        return len(self.pictures)

    @property
    def keys(self) -> list[str]:
        """The names of the B pictures."""
        return [picture.key for picture in self.pictures]

    @property
    def ids(self) -> list[str]:
        """The content hashes of the B pictures."""
        return [picture.id for picture in self.pictures]

    @property
    def positions(self) -> list[int]:
        """The place of each of the B pictures in its source, from 0; skipped pictures are counted."""
        return [picture.position for picture in self.pictures]


def batch_of(vit: Opened, pictures: Sequence[Picture]) -> Batch:
    """Pictures as one batch for a model. Raises PictureError for ready tensors of different shapes."""
    images = vit.images([picture.image for picture in pictures])
    labels = [picture.label for picture in pictures if picture.label is not None]
    masks = [_mask(vit, picture) for picture in pictures if picture.mask is not None]
    boxes = [_boxes(vit, picture) for picture in pictures if picture.boxes is not None]
    known = pictures[0].source.targets is not None
    return Batch(
        pictures,
        images,
        torch.tensor(labels) if len(labels) == len(pictures) else None,
        torch.stack(masks) if masks else None,
        boxes if boxes else None,
        [picture.target for picture in pictures] if known else None,
    )


def _mask(vit: Opened, picture: Picture) -> Tensor:
    mask = torch.from_numpy(picture.mask)
    if isinstance(picture.image, Tensor):
        return mask
    moved: Tensor = vit.preprocessor.geometry((picture.image.height, picture.image.width)).mask(mask)
    return moved


def _boxes(vit: Opened, picture: Picture) -> list[Box]:
    known = picture.boxes or []
    if known and not isinstance(picture.image, Tensor):
        geometry = vit.preprocessor.geometry((picture.image.height, picture.image.width))
        known = [(float(a), float(b), float(c), float(d)) for a, b, c, d in geometry.boxes(known).tolist()]
    return [box for box in known if box[2] - box[0] >= 1 and box[3] - box[1] >= 1]
