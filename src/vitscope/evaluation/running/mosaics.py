"""Mosaics for the grid pointing game, made from a labelled set in the model's own geometry."""

from __future__ import annotations

import torch
from torch import Tensor

from vitscope.errors import EvaluationError
from vitscope.evaluation.running.dataset import EvaluationSet
from vitscope.pictures.on_demand import OnDemand
from vitscope.storage.recipe import digest_of
from vitscope.tracing import Vit
from vitscope.worlds.mosaics import MosaicPlan, cell_masks, plan_mosaics, tile


def mosaics_of(vit: Vit, data: EvaluationSet, seed: int, side: int = 2) -> EvaluationSet:
    """One mosaic per picture: the picture in a drawn cell, pictures of other classes, all different, in the rest.

    Raises EvaluationError without labels or with fewer classes than cells.
    """
    if data.labels is None:
        raise EvaluationError("grid pointing makes mosaics of pictures of different classes; pass labels=")
    labels = [int(label) for label in data.labels]
    plans = plan_mosaics(labels, side, seed)
    source = data.source
    first = data.first(vit)
    masks = cell_masks((int(first.shape[-2]), int(first.shape[-1])), side)

    def mosaic(plan: MosaicPlan) -> Tensor:
        """(3, H, W), ready for the model."""
        tiles = [vit.images([source.open(place).image])[0] for place in plan.members]
        return tile(torch.stack(tiles), side)

    return EvaluationSet(
        OnDemand(plans, mosaic),
        list(data.keys),
        labels,
        [masks[plan.cell] for plan in plans],
        mosaics=True,
        skip=data.skip,
        contents=[
            digest_of([side, plan.cell, [(data.keys[place], data.ids[place]) for place in plan.members]])
            for plan in plans
        ],
    )
