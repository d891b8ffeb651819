"""Opened pictures, one and several: pixels together with what is known of them, in the model's own geometry."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import torch
from PIL import Image
from torch import Tensor

from vitscope.pictures.bands import Bands
from vitscope.pictures.masks import Mask
from vitscope.pictures.truth import Box

if TYPE_CHECKING:
    from vitscope.pictures.source import PictureSource


class Opened(Protocol):
    """What a batch needs of an opened model."""

    @property
    def preprocessor(self) -> Any: ...
    def images(self, images: Any) -> Tensor: ...


@dataclass(frozen=True, eq=False)
class Picture:
    """One picture that was read: upright RGB, of the model's other channels, or a tensor (C, H, W) ready for the model.

    mask: bool (H, W), and boxes, in pixels of ``image``. position: its place in the source.
    """

    source: PictureSource
    position: int
    image: Image.Image | Bands | Tensor
    label: int | None = None
    mask: Mask | None = None
    boxes: list[Box] | None = None
    target: Any = None

    @property
    def key(self) -> str:
        """Its name among the pictures of the run."""
        return self.source.keys[self.position]

    @property
    def id(self) -> str:
        """The hash of its content."""
        return self.source.id(self.position)


@dataclass(frozen=True, eq=False)
class Batch:
    """Some pictures as the model takes them.

    pictures: (B) as they were read. images: (B, 3, H, W) on the model's device. labels: (B,) long, None unless all are
    known. masks: (B, H, W) bool, and boxes, moved with the pictures through resize and crop; a box that the crop leaves
    nothing of is dropped. targets: what is to be explained of each, None when nothing is said.
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
        """The name of each picture."""
        return [picture.key for picture in self.pictures]

    @property
    def ids(self) -> list[str]:
        """The content hash of each picture."""
        return [picture.id for picture in self.pictures]

    @property
    def positions(self) -> list[int]:
        """The place of each picture in its source; skipped ones are counted."""
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
