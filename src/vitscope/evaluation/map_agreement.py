"""How far maps of the same pictures agree: by the order of their patches, or by which are the highest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from vitscope.evaluation.rank_statistics import spearman

Measure = Literal["rank", "iou"]
TOP = 0.2
"""The share of patches that count as a map's highest."""


def map_agreement(maps: Mapping[str, Tensor], measure: Measure = "rank") -> NDArray[np.float64]:
    """Agreement of every pair of maps, mean over pictures.

    Args:
        maps: By name, (N, h, w) each, of the same pictures on the same grid.
        measure: ``rank`` is Spearman's correlation of the patches' values; ``iou`` the intersection over union of the
            highest 20 % of the patches, which is 1 for the same set and 1/9 for two that meet by chance.

    Returns:
        (M, M), symmetric; NaN where no picture has a value for both. A map that is constant or not finite has no order,
        and counts in none of its pairs.
    """
    flat = [values.flatten(1).double() for values in maps.values()]
    found = np.full((len(flat), len(flat)), np.nan)
    for row, first in enumerate(flat):
        for column in range(row, len(flat)):
            other = flat[column]
            each = spearman(first, other) if measure == "rank" else _iou(first, other)
            known = each[each.isfinite() & _ordered(first) & _ordered(other)]
            if len(known):
                found[row, column] = found[column, row] = float(known.mean())
    return found


def maps_correlation(first: NDArray[np.float32], second: NDArray[np.float32]) -> NDArray[np.float64]:
    """Spearman's correlation of two maps of each picture, patch by patch.

    Args:
        first: (N, h, w).
        second: (N, h', w') of the same pictures. Maps of another grid are brought to the finer one, bilinearly.

    Returns:
        (N,); NaN where a map is constant.
    """
    one, other = (torch.from_numpy(np.asarray(maps, np.float32)) for maps in (first, second))
    size = (max(one.shape[-2], other.shape[-2]), max(one.shape[-1], other.shape[-1]))
    found: NDArray[np.float64] = (
        spearman(_at(one, size).flatten(1), _at(other, size).flatten(1)).double().numpy()
    )
    return found


def _at(maps: Tensor, size: tuple[int, int]) -> Tensor:
    if tuple(maps.shape[-2:]) == size:
        return maps
    return functional.interpolate(maps[:, None], size=size, mode="bilinear", align_corners=False)[:, 0]


def _iou(first: Tensor, second: Tensor) -> Tensor:
    """Of the highest patches."""
    one, other = _highest(first), _highest(second)
    return (one & other).sum(-1).double() / (one | other).sum(-1)


def _ordered(values: Tensor) -> Tensor:
    """Which maps have an order: all values finite, and not all the same."""
    known = values.nan_to_num()
    return values.isfinite().all(-1) & (known.amax(-1) > known.amin(-1))


def _highest(values: Tensor) -> Tensor:
    """The patches that are among the highest, ties by their place."""
    count = max(1, round(TOP * values.shape[-1]))
    order = values.nan_to_num(nan=-float("inf")).sort(dim=-1, descending=True, stable=True).indices
    return torch.zeros_like(values, dtype=torch.bool).scatter(-1, order[..., :count], True)
