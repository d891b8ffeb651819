"""Mosaics for the grid pointing game: pictures of different classes in the cells of a grid, one of them the target."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from vitscope.errors import DataError


@dataclass(frozen=True)
class MosaicPlan:
    """Which pictures make one mosaic: indices row by row, and the cell of the one that is explained."""

    members: tuple[int, ...]
    cell: int

    @property
    def target(self) -> int:
        """The index of the picture that is explained."""
        return self.members[self.cell]


@dataclass(frozen=True)
class Mosaics:
    """Mosaics, the class to explain of each (n,), and the mask of its cell (n, H, W)."""

    pictures: list[Image.Image]
    labels: Tensor
    masks: Tensor
    plans: tuple[MosaicPlan, ...]


def plan_mosaics(labels: Sequence[int], side: int = 2, seed: int = 0) -> list[MosaicPlan]:
    """One mosaic of side x side per picture: the picture in a random cell, pictures of other classes in the rest.

    No class is in a mosaic twice, so only the target's cell holds evidence for its class. Equal for equal seed, and
    the plan of a picture does not depend on how many mosaics are asked for.

    Raises:
        DataError: side below 2, or fewer classes than cells.
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


def make_mosaics(
    pictures: Sequence[Image.Image],
    labels: Sequence[int],
    side: int = 2,
    size: tuple[int, int] = (224, 224),
    seed: int = 0,
) -> Mosaics:
    """One mosaic (height, width) per picture, each cell the centre of its picture, resized.

    Raises:
        DataError: no label for each picture, fewer classes than cells, or cells of less than a pixel.
    """
    if len(pictures) != len(labels):
        raise DataError(
            f"Expected a label for each of {len(pictures)} pictures, got {len(labels)}; give one for each"
        )
    plans = plan_mosaics(labels, side, seed)
    masks = cell_masks(size, side)
    return Mosaics(
        [tile_pictures([pictures[member] for member in plan.members], side, size) for plan in plans],
        torch.tensor([int(label) for label in labels]),
        torch.stack([masks[plan.cell] for plan in plans]),
        tuple(plans),
    )


def tile_pictures(pictures: Sequence[Image.Image], side: int, size: tuple[int, int]) -> Image.Image:
    """side * side pictures, row by row, as one picture (height, width); each is cut to its cell's shape and resized."""
    rows, columns = cuts(size[0], side), cuts(size[1], side)
    _check_count(len(pictures), side)
    canvas = Image.new("RGB", (size[1], size[0]))
    for cell, picture in enumerate(pictures):
        y, x = divmod(cell, side)
        width, height = columns[x + 1] - columns[x], rows[y + 1] - rows[y]
        scale = min(picture.width / width, picture.height / height)
        left, top = (picture.width - width * scale) / 2, (picture.height - height * scale) / 2
        window = (left, top, left + width * scale, top + height * scale)
        small = picture.convert("RGB").resize((width, height), Image.Resampling.BICUBIC, box=window)
        canvas.paste(small, (columns[x], rows[y]))
    return canvas


def tile(tiles: Tensor, side: int) -> Tensor:
    """side * side pictures (side², 3, H, W), row by row, shrunk into one of the same size (3, H, W)."""
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


def cell_masks(size: tuple[int, int], side: int) -> Tensor:
    """The cells of a mosaic (height, width), row by row, as masks (side², H, W) bool."""
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
