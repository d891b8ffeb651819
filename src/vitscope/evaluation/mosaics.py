"""Mosaics for the grid pointing game, made from a labelled set in the model's own geometry."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, overload

import torch
from torch import Tensor
from torch.nn import functional

from vitscope.errors import EvaluationError
from vitscope.evaluation.dataset import EvaluationSet, as_picture
from vitscope.evaluation.draws import generator


class _MosaicPictures(Sequence[Tensor]):
    """Mosaics (3, H, W), ready for the model, made when they are asked for."""

    def __init__(self, vit: Any, data: EvaluationSet, plans: Sequence[Sequence[int]], side: int) -> None:
        self._vit, self._data, self._plans, self._side = vit, data, plans, side

    def __len__(self) -> int:
        return len(self._plans)

    @overload
    def __getitem__(self, index: int) -> Tensor: ...
    @overload
    def __getitem__(self, index: slice) -> _MosaicPictures: ...
    def __getitem__(self, index: int | slice) -> Tensor | _MosaicPictures:
        if isinstance(index, slice):
            return _MosaicPictures(self._vit, self._data, self._plans[index], self._side)
        tiles = []
        for place in self._plans[index]:
            picture = self._data.pictures[place]
            ready = picture.unsqueeze(0) if isinstance(picture, Tensor) else [as_picture(picture)]
            tiles.append(self._vit.images(ready)[0])
        return tile(torch.stack(tiles), self._side)


def tile(tiles: Tensor, side: int) -> Tensor:
    """side² pictures (side², 3, H, W), row by row, shrunk into one of the same size: (3, H, W)."""
    height, width = tiles.shape[-2:]
    rows, columns = _cuts(height, side), _cuts(width, side)
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
    """The cells of a mosaic as masks, row by row: (side², H, W) bool."""
    rows, columns = _cuts(size[0], side), _cuts(size[1], side)
    masks = torch.zeros(side * side, *size, dtype=torch.bool)
    for cell in range(side * side):
        y, x = divmod(cell, side)
        masks[cell, rows[y] : rows[y + 1], columns[x] : columns[x + 1]] = True
    return masks


def mosaics_of(vit: Any, data: EvaluationSet, seed: int, side: int = 2) -> EvaluationSet:
    """One mosaic per picture: the picture in a drawn cell, pictures of other classes, all different, in the rest.

    Raises EvaluationError without labels or with fewer classes than cells.
    """
    if data.labels is None:
        raise EvaluationError("grid pointing makes mosaics of pictures of different classes; pass labels=")
    labels = [int(label) for label in data.labels]
    cells = side * side
    if len(set(labels)) < cells:
        raise EvaluationError(
            f"mosaics of {side}×{side} need pictures of at least {cells} classes, got {len(set(labels))}; "
            "add pictures or use fewer cells"
        )
    plans, targets = [], []
    for place, key in enumerate(data.keys):
        source = generator(key, seed, "mosaic")
        chosen = [place]
        for other in torch.randperm(len(labels), generator=source).tolist():
            if len(chosen) == cells:
                break
            if labels[other] not in {labels[taken] for taken in chosen}:
                chosen.append(other)
        cell = int(torch.randint(cells, (1,), generator=source))
        chosen[0], chosen[cell] = chosen[cell], chosen[0]
        plans.append(chosen)
        targets.append(cell)
    first = vit.images(
        data.pictures[0].unsqueeze(0)
        if isinstance(data.pictures[0], Tensor)
        else [as_picture(data.pictures[0])]
    )
    masks = cell_masks((int(first.shape[-2]), int(first.shape[-1])), side)
    return EvaluationSet(
        _MosaicPictures(vit, data, plans, side),
        list(data.keys),
        labels,
        [masks[cell] for cell in targets],
        mosaics=True,
    )


def _cuts(length: int, side: int) -> list[int]:
    return [round(length * part / side) for part in range(side + 1)]
