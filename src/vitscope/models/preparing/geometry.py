"""Where the pixels of a picture land in the model's input, and back: one scale and one offset per axis."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from vitscope.errors import PictureError


@dataclass(frozen=True)
class Geometry:
    """The map from a picture's own pixels to the model's input: ``input = original * scale + offset``.

    Coordinates are continuous and measured from the top left corner of the top left pixel, so a box edge at the
    right border of a picture W pixels wide is W. The picture is the upright one: after its EXIF rotation.

    original: (H, W) of the picture; input: (H, W) of what the model sees; scale and offset: (vertical, horizontal).

    Example:
        >>> from vitscope.models import Preprocessor
        >>> recipe = Preprocessor((96, 96), mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
        >>> geometry = recipe.geometry((192, 288))  # halved, then cropped at both sides
        >>> geometry.scale, geometry.offset
        ((0.5, 0.5), (0.0, -24.0))
        >>> geometry.boxes([48, 0, 148, 192]).tolist()
        [0.0, 0.0, 50.0, 96.0]
    """

    original: tuple[int, int]
    input: tuple[int, int]
    scale: tuple[float, float]
    offset: tuple[float, float]

    def points(self, points: Any) -> Tensor:
        """Original (..., 2) x, y to input coordinates (..., 2), float32; may fall outside the input."""
        return _pairs(points) * self._scale_xy + self._offset_xy

    def boxes(self, boxes: Any, *, clip: bool = True) -> Tensor:
        """Boxes (..., 4) as x0, y0, x1, y1 of the original to input coordinates, float32.

        With ``clip`` they are cut at the input's border; a box wholly cropped away has no area left.
        """
        corners = torch.as_tensor(boxes, dtype=torch.float32)
        if corners.shape[-1] != 4:
            raise PictureError(f"expected boxes (..., 4) as x0, y0, x1, y1; got shape {tuple(corners.shape)}")
        moved = self.points(corners.reshape(*corners.shape[:-1], 2, 2))
        if clip:
            height, width = self.input
            moved = torch.minimum(moved.clamp(min=0), torch.tensor([float(width), float(height)]))
        return moved.reshape(*corners.shape)

    def mask(self, mask: Any) -> Tensor:
        """A mask (H, W) of the original to the input's pixels (h, w), nearest pixel; what is padding becomes 0."""
        values = torch.as_tensor(mask)
        if tuple(values.shape[-2:]) != self.original:
            raise PictureError(
                f"expected a mask of the picture's own size {self.original[0]}×{self.original[1]} (rows × columns); "
                f"got {tuple(values.shape)}"
            )
        rows, row_inside = self._nearest(0)
        columns, column_inside = self._nearest(1)
        picked = values[..., rows, :][..., columns]
        inside = row_inside[:, None] & column_inside[None, :]
        return torch.where(inside, picked, torch.zeros_like(picked))

    @property
    def _scale_xy(self) -> Tensor:
        return torch.tensor([self.scale[1], self.scale[0]])

    @property
    def _offset_xy(self) -> Tensor:
        return torch.tensor([self.offset[1], self.offset[0]])

    def _nearest(self, axis: int) -> tuple[Tensor, Tensor]:
        """For each input row or column: the original one under its centre, and whether there is one."""
        centres = (
            torch.arange(self.input[axis], dtype=torch.float64) + 0.5 - self.offset[axis]
        ) / self.scale[axis]
        index = centres.floor().long()
        inside = (index >= 0) & (index < self.original[axis])
        return index.clamp(0, self.original[axis] - 1), inside


def _pairs(points: Any) -> Tensor:
    pairs = torch.as_tensor(points, dtype=torch.float32)
    if pairs.shape[-1] != 2:
        raise PictureError(f"expected points (..., 2) as x, y; got shape {tuple(pairs.shape)}")
    return pairs
