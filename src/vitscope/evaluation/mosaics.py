"""Mosaics for the grid pointing game, made from a labelled set in the model's own geometry."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, overload

import torch
from torch import Tensor

from vitscope.data.mosaics import MosaicPlan, cell_masks, plan_mosaics, tile
from vitscope.errors import EvaluationError
from vitscope.evaluation.dataset import EvaluationSet, as_picture


class _MosaicPictures(Sequence[Tensor]):
    """Mosaics (3, H, W), ready for the model, made when they are asked for."""

    def __init__(self, vit: Any, data: EvaluationSet, plans: Sequence[MosaicPlan], side: int) -> None:
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
        for place in self._plans[index].members:
            picture = self._data.pictures[place]
            ready = picture.unsqueeze(0) if isinstance(picture, Tensor) else [as_picture(picture)]
            tiles.append(self._vit.images(ready)[0])
        return tile(torch.stack(tiles), self._side)


def mosaics_of(vit: Any, data: EvaluationSet, seed: int, side: int = 2) -> EvaluationSet:
    """One mosaic per picture: the picture in a drawn cell, pictures of other classes, all different, in the rest.

    Raises EvaluationError without labels or with fewer classes than cells.
    """
    if data.labels is None:
        raise EvaluationError("grid pointing makes mosaics of pictures of different classes; pass labels=")
    labels = [int(label) for label in data.labels]
    plans = plan_mosaics(labels, side, seed)
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
        [masks[plan.cell] for plan in plans],
        mosaics=True,
    )
