"""From the model's input back to a picture's own pixels: resize, crop and padding undone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from vitscope.errors import PictureError
from vitscope.models.preparing.geometry import Geometry
from vitscope.pictures import Batch
from vitscope.tracing import Vit

Extent = tuple[float, float, float, float]


class Mapped(Protocol):
    """Maps (B, h, w), with what is known of their pictures."""

    @property
    def maps(self) -> Tensor:
        """Of B pictures."""

    @property
    def metadata(self) -> Mapping[str, Any]:
        """With ``originals``, where they are known."""

    @property
    def extent(self) -> Extent:
        """The part of the model's input that the maps cover."""


def originals_of(vit: Vit, batch: Batch) -> list[dict[str, Any]] | None:
    """Of each picture its size, the model's input, scale and offset (vertical, horizontal), and its file, if it is one;
    None for ready tensors, of which only the input is known."""
    if vit.preprocessor is None or any(isinstance(picture.image, Tensor) for picture in batch.pictures):
        return None
    found = []
    for picture in batch.pictures:
        assert not isinstance(picture.image, Tensor)
        known = vit.preprocessor.geometry((picture.image.height, picture.image.width))
        item = getattr(picture.source, "items", ())[picture.position]
        found.append(
            {
                "size": list(known.original),
                "input": list(known.input),
                "scale": list(known.scale),
                "offset": list(known.offset),
                "file": str(item) if isinstance(item, Path) else None,
            }
        )
    return found


def geometry_of(explanation: Mapped, index: int) -> Geometry:
    """How a picture came to the model's input. Raises PictureError where only the input is known."""
    known = explanation.metadata.get("originals")
    if known is None:
        raise PictureError(
            "these maps were made of ready inputs, so the pictures before resize and crop are not known; explain files "
            "or Pillow images"
        )
    return _geometry(known[index])


def _geometry(known: Mapping[str, Any]) -> Geometry:
    size, seen, scale, offset = (known[name] for name in ("size", "input", "scale", "offset"))
    return Geometry((size[0], size[1]), (seen[0], seen[1]), (scale[0], scale[1]), (offset[0], offset[1]))


def extent_on_original(explanation: Mapped, index: int) -> Extent:
    """The part of a picture that its map covers: top, left, bottom, right as shares of its sides; below 0 or above 1
    where the model's input was padded."""
    known = geometry_of(explanation, index)
    edges = []
    for place, share in enumerate(explanation.extent):
        axis = place % 2
        edges.append(
            (share * known.input[axis] - known.offset[axis]) / known.scale[axis] / known.original[axis]
        )
    return edges[0], edges[1], edges[2], edges[3]


def on_original(explanation: Mapped, index: int) -> Tensor:
    """A map on a picture's own pixels: (H, W) float32, the value of the patch that each pixel's centre lies in, NaN
    where no patch lies (what the model's crop left out).

    Raises PictureError where the picture's own size is not known."""
    known = geometry_of(explanation, index)
    values = explanation.maps[index].detach().float().cpu()
    if values.dim() != 2:
        raise PictureError("a film has more than one map; take maps[index] by its steps")
    extent, places = extent_on_original(explanation, index), []
    for axis in (0, 1):
        centres = (torch.arange(known.original[axis], dtype=torch.float64) + 0.5) / known.original[axis]
        share = (centres - extent[axis]) / (extent[axis + 2] - extent[axis])
        place = (share * values.shape[axis]).floor().long()
        places.append((place.clamp(0, values.shape[axis] - 1), (share >= 0) & (share < 1)))
    (rows, row_inside), (columns, column_inside) = places
    found = values[rows][:, columns]
    return torch.where(row_inside[:, None] & column_inside[None], found, torch.full_like(found, torch.nan))
