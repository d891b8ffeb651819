"""What is evaluated on: pictures in any form with labels, masks and boxes, brought to the model's input together."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xxhash
from PIL import Image
from torch import Tensor

from vitscope.errors import EvaluationError
from vitscope.evaluation.case import Box
from vitscope.models.cells import Cells
from vitscope.models.pictures import find_pictures, read_picture
from vitscope.storage.recipe import digest_of, truth_digest


@dataclass(frozen=True)
class Batch:
    """One batch in the model's own geometry."""

    keys: list[str]
    images: Tensor
    labels: Tensor | None
    masks: Tensor | None
    boxes: list[list[Box]] | None


@dataclass(frozen=True)
class EvaluationSet:
    """Pictures and what is known about them.

    pictures: paths, Pillow images, uint8 arrays (H, W, 3), or ready tensors (3, H, W) of the model's input.
    keys: one name per picture, on which its random draws depend. masks: bool (H, W) at the size of the picture, and
    boxes (x0, y0, x1, y1) in its pixels: both go through the model's resize and crop with the picture.
    mosaics: whether the masks are the target's cells of mosaics. contents: what each picture holds, where that is
    known without making it; else ``ids`` reads every picture. skipped: by key, why a picture could not be used.
    """

    pictures: Sequence[Any]
    keys: Sequence[str]
    labels: Sequence[int] | None = None
    masks: Sequence[Any] | None = None
    boxes: Sequence[Sequence[Box]] | None = None
    mosaics: bool = False
    contents: Sequence[str] | None = None
    skipped: dict[str, str] = field(default_factory=dict, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not len(self.pictures):
            raise EvaluationError("there is no picture to evaluate on; give a folder or a list of pictures")
        for name in ("keys", "labels", "masks", "boxes"):
            values = getattr(self, name)
            if values is not None and len(values) != len(self.pictures):
                raise EvaluationError(
                    f"expected {name} for {len(self.pictures)} pictures, got {len(values)}; give one for each"
                )
        twice = [key for key, count in Counter(self.keys).items() if count > 1]
        if twice:
            raise EvaluationError(f"two pictures have the key {twice[0]!r}; give each its own")

    def __len__(self) -> int:
        return len(self.pictures)

    @cached_property
    def ids(self) -> Sequence[str]:
        """What each picture holds: xxh3-128 of the file's bytes, or of shape, type and values of what is in memory."""
        return [content_id(picture) for picture in self.pictures] if self.contents is None else self.contents

    def only(self, kinds: Collection[str]) -> EvaluationSet:
        """The same pictures with no more known about them than these of ``labels``, ``masks`` and ``boxes``."""
        return replace(
            self,
            labels=self.labels if "labels" in kinds else None,
            masks=self.masks if "masks" in kinds else None,
            boxes=self.boxes if "boxes" in kinds else None,
            contents=self.ids,
        )

    def truth(self) -> dict[str, str]:
        """Digests of what is known about the pictures, by kind, for a recipe; masks are read."""
        known = {"labels": self.labels, "masks": self.masks, "boxes": self.boxes}
        return {kind: truth_digest(self.keys, values) for kind, values in known.items() if values is not None}

    def part(self, start: int, stop: int) -> EvaluationSet:
        """A shard: pictures start..stop with all that is known about them."""
        cut = slice(start, stop)

        def cut_of(values: Sequence[Any] | None) -> Sequence[Any] | None:
            return None if values is None else values[cut]

        return EvaluationSet(
            self.pictures[cut],
            self.keys[cut],
            cut_of(self.labels),
            cut_of(self.masks),
            cut_of(self.boxes),
            self.mosaics,
            cut_of(self.ids),
        )

    def batches(self, vit: Any, size: int) -> Iterator[Batch]:
        """Batches of at most ``size`` pictures for an opened model."""
        for start in range(0, len(self), size):
            yield self._batch(vit, range(start, min(start + size, len(self))))

    def _batch(self, vit: Any, indices: range) -> Batch:
        images, masks, boxes = [], [], []
        for index in indices:
            picture = self.pictures[index]
            ready = isinstance(picture, Tensor)
            opened = None if ready else as_picture(picture)
            image = vit.images(picture.unsqueeze(0) if isinstance(picture, Tensor) else [opened])[0]
            images.append(image)
            place = None if opened is None else vit.preprocessor.geometry((opened.height, opened.width))
            if self.masks is not None:
                mask = torch.as_tensor(np.asarray(self.masks[index])).bool()
                masks.append(mask if place is None else place.mask(mask))
            if self.boxes is not None:
                known = [tuple(float(v) for v in box) for box in self.boxes[index]]
                if place is not None and known:
                    known = [tuple(box) for box in place.boxes(known).tolist()]
                # A box that the crop leaves nothing of is no box any more.
                boxes.append([b for b in known if b[2] - b[0] >= 1 and b[3] - b[1] >= 1])
        labels = None if self.labels is None else torch.tensor([int(self.labels[i]) for i in indices])
        return Batch(
            [self.keys[i] for i in indices],
            torch.stack(images),
            labels,
            torch.stack(masks) if self.masks is not None else None,
            boxes if self.boxes is not None else None,  # type: ignore[arg-type]
        )


def evaluation_set(
    images: Any,
    labels: Sequence[int] | Tensor | None = None,
    masks: Sequence[Any] | Tensor | None = None,
    boxes: Sequence[Sequence[Box]] | None = None,
    keys: Sequence[str] | None = None,
) -> EvaluationSet:
    """Pictures in any form as an evaluation set: a folder, paths, Pillow images, arrays, a tensor (B, 3, H, W)."""
    if isinstance(images, EvaluationSet):
        return images
    if hasattr(images, "pictures") and hasattr(images, "labels") and hasattr(images, "masks"):
        labels = images.labels if labels is None else labels
        masks = images.masks if masks is None else masks
        boxes = getattr(images, "boxes", None) if boxes is None else boxes
        images = images.pictures
    if isinstance(images, (str, Path)):
        images = find_pictures([images])
    elif isinstance(images, Image.Image):
        images = [images]
    pictures = list(images)
    found = picture_keys(pictures) if keys is None else list(keys)
    listed: Any = labels.tolist() if isinstance(labels, (Tensor, np.ndarray)) else labels
    known: Any = masks
    return EvaluationSet(pictures, found, listed, known, boxes)


def mean_colour(data: EvaluationSet) -> tuple[float, float, float]:
    """The mean RGB of the pictures, 0..1, each picture counted alike: ``Protocol(mean_colour=...)`` of the data set.

    Raises EvaluationError for ready tensors, whose colours only the model's preprocessing knows.
    """
    total = np.zeros(3)
    for picture in data.pictures:
        if isinstance(picture, Tensor):
            raise EvaluationError(
                "a mean colour needs pictures, got ready tensors; give mean_colour yourself"
            )
        total += np.asarray(as_picture(picture), dtype=np.float64).mean(axis=(0, 1)) / 255
    red, green, blue = (total / len(data)).tolist()
    return red, green, blue


def content_id(picture: Any) -> str:
    """What a picture holds, whatever it is called."""
    if isinstance(picture, (str, Path)):
        try:
            return str(xxhash.xxh3_128_hexdigest(Path(picture).read_bytes()))
        except OSError:
            return ""
    return digest_of(picture if isinstance(picture, Tensor) else np.asarray(picture))


def picture_keys(pictures: Sequence[Any]) -> list[str]:
    """A name for each picture that does not depend on its place: folder/file for paths, a hash of what is in memory."""
    keys, seen = [], Counter[str]()
    for picture in pictures:
        if isinstance(picture, (str, Path)):
            path = Path(picture)
            key = f"{path.absolute().parent.name}/{path.name}"
        else:
            values = (
                picture.detach().float().cpu().numpy() if isinstance(picture, Tensor) else np.asarray(picture)
            )
            key = hashlib.blake2b(np.ascontiguousarray(values).tobytes(), digest_size=6).hexdigest()
        seen[key] += 1
        keys.append(key if seen[key] == 1 else f"{key}#{seen[key]}")
    return keys


def as_picture(picture: Any) -> Image.Image:
    """Paths and arrays as Pillow images, RGB and upright."""
    if isinstance(picture, (str, Path)):
        return read_picture(picture)
    if isinstance(picture, Image.Image):
        return picture.convert("RGB")
    values = np.asarray(picture)
    if values.dtype != np.uint8 or values.ndim != 3:
        raise EvaluationError(
            f"expected pictures as paths, Pillow images, uint8 arrays (H, W, 3) or tensors (3, H, W), "
            f"got an array {values.dtype} {values.shape}; convert it"
        )
    return Image.fromarray(values)


def thumbnail(vit: Any, image: Tensor, cells: Cells) -> np.ndarray:
    """What the patches read of a picture (3, H, W), as uint8 (H, W, 3)."""
    image = image[:, cells.rows[0] : cells.rows[-1], cells.columns[0] : cells.columns[-1]]
    if vit.preprocessor is not None:
        image = vit.preprocessor.denormalise(image)
    else:
        low, high = image.min(), image.max()
        image = (image - low) / (high - low).clamp_min(1e-12)
    values: np.ndarray = (image.float().cpu() * 255).round().clamp(0, 255).byte().permute(1, 2, 0).numpy()
    return values
