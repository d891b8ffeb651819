"""Mosaics for the grid pointing game: pictures of different classes in the cells of a grid, one of them the target."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from vitscope.errors import DataError
from vitscope.options.bounds import Count, Range, Seed
from vitscope.options.door import checked

Side = Annotated[int, Range(1, 64)]
"""Cells along a side of a mosaic."""


@dataclass(frozen=True)
class MosaicPlan:
    """Which pictures make one mosaic, and in which cell the explained picture lies.

    Args:
        members: Indices of the pictures, row by row, one for each of the side² cells.
        cell: The cell of the explained picture, counted row by row from 0.

    Example:
        >>> from vitscope.worlds import MosaicPlan
        >>> MosaicPlan(members=(4, 0, 7, 2), cell=2).target
        7
    """

    members: tuple[int, ...]
    cell: int

    @property
    def target(self) -> int:
        """The index of the picture that is explained."""
        return self.members[self.cell]


@checked(DataError)
def plan_mosaics(labels: Sequence[int], side: Side = 2, seed: Seed = 0) -> list[MosaicPlan]:
    """Plan a mosaic for each picture: itself in a random cell, pictures of other classes in the other cells.

    No class is in a mosaic twice, so only the target's cell holds evidence for its class. The plans are the same
    for the same seed, and the plan of a picture does not depend on how many mosaics are asked for.

    Args:
        labels: One class for each of n pictures.
        side: Cells along a side, 2 or more.
        seed: Seed of the random cells and the random order of the other pictures.

    Returns:
        n plans, one for each picture, in order.

    Raises:
        DataError: side below 2, or fewer classes than cells.

    Example:
        >>> from vitscope.worlds import plan_mosaics
        >>> plans = plan_mosaics([0, 1, 2, 3, 3], side=2)
        >>> len(plans), [plan.target for plan in plans]
        (5, [0, 1, 2, 3, 4])

    Source: the grid pointing game, Böhle et al., CVPR 2021.
    """
    cells, classes = side * side, len(set(labels))
    if side < 2 or classes < cells:
        raise DataError(
            f"Mosaics of {side} x {side} need side >= 2 and pictures of {max(cells, 4)} classes, got {classes}; "
            "add classes or use fewer cells"
        )
    plans = []
    for target in range(len(labels)):
        rng = np.random.default_rng([seed, target])
        members, used = [target], {labels[target]}
        for other in rng.random(len(labels)).argsort(kind="stable").tolist():
            if len(members) == cells:
                break
            if labels[other] not in used:
                members.append(other)
                used.add(labels[other])
        cell = int(rng.random() * cells)
        members[0], members[cell] = members[cell], members[0]
        plans.append(MosaicPlan(tuple(members), cell))
    return plans


@checked(DataError)
def tile(tiles: Tensor, side: Side) -> Tensor:
    """Shrink side² pictures given as tensors, row by row, into one of the same size.

    Args:
        tiles: (side², 3, H, W), of any float or integer dtype.
        side: Cells along a side.

    Returns:
        (3, H, W) of the same dtype and device.

    Raises:
        DataError: Another number of pictures, or cells of less than a pixel.

    Example:
        >>> import torch
        >>> from vitscope.worlds import tile
        >>> fours = torch.arange(4.0).reshape(4, 1, 1, 1).expand(4, 3, 8, 8)
        >>> tile(fours, side=2)[0, ::4, ::4]
        tensor([[0., 1.],
                [2., 3.]])
    """
    _check_count(len(tiles), side)
    rows, columns = cuts(tiles.shape[-2], side), cuts(tiles.shape[-1], side)
    canvas = torch.empty_like(tiles[0])
    for cell, picture in enumerate(tiles):
        y, x = divmod(cell, side)
        size = (rows[y + 1] - rows[y], columns[x + 1] - columns[x])
        small = functional.interpolate(
            picture.unsqueeze(0).float(), size=size, mode="bilinear", antialias=True, align_corners=False
        )
        canvas[:, rows[y] : rows[y + 1], columns[x] : columns[x + 1]] = small[0].to(canvas.dtype)
    return canvas


@checked(DataError)
def cell_masks(size: tuple[Count, Count], side: Side) -> Tensor:
    """Masks of the cells of a mosaic, row by row.

    Args:
        size: Height and width of the mosaic, in pixels.
        side: Cells along a side.

    Returns:
        (side², height, width) bool. Every pixel is in exactly one cell; sizes of cells differ by at most a pixel.

    Raises:
        DataError: Cells of less than a pixel.

    Example:
        >>> from vitscope.worlds import cell_masks
        >>> cell_masks((4, 4), side=2)[1].int()
        tensor([[0, 0, 1, 1],
                [0, 0, 1, 1],
                [0, 0, 0, 0],
                [0, 0, 0, 0]], dtype=torch.int32)
    """
    rows, columns = cuts(size[0], side), cuts(size[1], side)
    masks = torch.zeros(side * side, *size, dtype=torch.bool)
    for cell in range(side * side):
        y, x = divmod(cell, side)
        masks[cell, rows[y] : rows[y + 1], columns[x] : columns[x + 1]] = True
    return masks


def cuts(length: int, side: int) -> list[int]:
    """Where a length of pixels is cut into `side` nearly equal parts: side + 1 places from 0 to length."""
    if side < 1 or length < side:
        raise DataError(
            f"Expected at least one pixel for each of {side} cells, got {length}; use fewer cells"
        )
    return [round(length * part / side) for part in range(side + 1)]


def _check_count(count: int, side: int) -> None:
    if count != side * side:
        raise DataError(
            f"A mosaic of {side} x {side} takes {side * side} pictures, got {count}; give as many"
        )
