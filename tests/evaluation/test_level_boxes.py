"""Boxes around the parts of a map above many thresholds, against labelling every cut with scipy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import Tensor

from vitscope.evaluation.level_boxes import boxes_above
from vitscope.evaluation.removal.curves import most_relevant, removal_order
from vitscope.evaluation.removal.pixels import unit_range

THRESHOLDS = [step / 100 for step in range(100)]


def labelled(values: np.ndarray, threshold: float) -> list[tuple[int, ...]]:
    """The boxes of one cut."""
    parts, _ = ndimage.label(values >= threshold, structure=np.ones((3, 3)))
    return sorted((x.start, y.start, x.stop, y.stop) for y, x in ndimage.find_objects(parts))


def enlarged(grid: Tensor, size: tuple[int, int], mode: str = "bilinear") -> Tensor:
    return torch.nn.functional.interpolate(grid[:, None], size=size, mode=mode)[:, 0]


def maps_of(kind: str) -> Tensor:
    """Kinds of maps that differ in their ties: none, large flat grounds, cells, few values, one value."""
    source = torch.Generator().manual_seed(0)
    grid = torch.randn(4, 6, 5, generator=source)
    return {
        "noise": torch.rand(3, 20, 23, generator=source),
        "smooth": enlarged(grid, (48, 40)),
        "smooth, no negative": enlarged(grid.clamp_min(0), (48, 40)),
        "cells": enlarged(grid.clamp_min(0), (48, 40), "nearest"),
        "few values": (3 * torch.rand(3, 30, 30, generator=source)).round(),
        "one value": torch.ones(2, 9, 9),
        "a row": torch.rand(3, 1, 40, generator=source),
        "a column": torch.rand(3, 40, 1, generator=source),
    }[kind]


KINDS = [
    *("noise", "smooth", "smooth, no negative", "cells", "few values", "one value", "a row", "a column"),
]


@pytest.mark.parametrize("kind", KINDS)
def test_every_part_of_every_cut_has_its_box(kind: str) -> None:
    maps = unit_range(maps_of(kind))
    for values, boxes in zip(maps.numpy(), boxes_above(maps, THRESHOLDS), strict=True):
        for threshold, found in zip(THRESHOLDS, boxes, strict=True):
            there = sorted(tuple(int(side) for side in box) for box in found if any(box))
            assert there == labelled(values, threshold), threshold


@pytest.mark.parametrize("kind", KINDS)
def test_the_most_relevant_pixel_is_the_first_of_the_order(kind: str) -> None:
    maps = maps_of(kind)
    keys = [f"picture {place}" for place in range(len(maps))]
    for seed in range(5):
        assert torch.equal(most_relevant(maps, keys, seed), removal_order(maps, keys, seed)[:, 0])
