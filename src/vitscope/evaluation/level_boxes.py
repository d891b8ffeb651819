"""Boxes around the connected parts of maps above many thresholds at once, without labelling each cut anew.

From each pixel a path leads to the largest of its neighbours and so on to a peak; the pixels of one peak are its hill.
What of a hill lies above a threshold hangs together, since paths only rise. So the parts above a threshold are hills,
joined where two of them touch above it: some dozen hills of an enlarged map in place of its fifty thousand pixels.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

_FAR = torch.iinfo(torch.int32).max


def boxes_above(maps: Tensor, thresholds: Sequence[float]) -> list[NDArray[np.float64]]:
    """The boxes around the 8-connected parts of each of the maps (B, H, W) where its values reach a threshold.

    thresholds: T of them, rising. Returns for each map (T, K, 4), half-open x0, y0, x1, y1 in pixels; K is the number
    of its hills, and where a threshold has fewer parts the rest are empty boxes of zeros. The maps must be finite.
    """
    edges = torch.tensor(thresholds, dtype=maps.dtype, device=maps.device)
    levels = torch.bucketize(maps, edges, right=True)  # how many thresholds a value reaches
    hills, counts = _hills(maps)
    sides = _sides_of_hills(hills, levels, sum(counts), len(thresholds)).cpu()
    groups = torch.from_numpy(_groups(hills, levels, sum(counts), len(thresholds)))
    joined = torch.full_like(sides, _FAR).scatter_reduce_(2, groups.expand_as(sides), sides, "amin")
    x0, y0, x1, y1 = joined[0], joined[1], -joined[2], -joined[3]
    boxes = torch.stack([x0, y0, x1, y1], -1).where((x0 < _FAR)[..., None], 0).double()
    return [part.numpy() for part in boxes.split(counts, dim=1)]


def _hills(maps: Tensor) -> tuple[Tensor, list[int]]:
    """The hill of each pixel, (B, H, W), numbered over all maps in their order, and how many each map has."""
    # Of equal values the first is taken, so no path goes round in a circle.
    peaks = functional.max_pool2d(maps[:, None], 3, 1, 1, return_indices=True)[1].flatten(1)
    while not torch.equal(peaks, further := peaks.gather(1, peaks)):
        peaks = further
    tops = peaks == torch.arange(peaks.shape[1], device=maps.device)
    number = tops.flatten().cumsum(0).view_as(peaks) - 1
    return number.gather(1, peaks).view(maps.shape), tops.sum(1).tolist()


def _sides_of_hills(hills: Tensor, levels: Tensor, count: int, steps: int) -> Tensor:
    """Around what reaches each threshold of each hill: left, top, minus right, minus bottom, (4, T, K) int32; a large
    number where nothing does."""
    height, width = hills.shape[-2:]
    place = (levels * count + hills).flatten()
    y = torch.arange(height, dtype=torch.int32, device=hills.device)[:, None].expand(hills.shape)
    x = torch.arange(width, dtype=torch.int32, device=hills.device).expand(hills.shape)
    found = []
    for side in (x, y, -x - 1, -y - 1):
        lowest = torch.full(((steps + 1) * count,), _FAR, dtype=torch.int32, device=hills.device)
        lowest.scatter_reduce_(0, place, side.flatten(), "amin")
        # What reaches a threshold reaches those below it.
        found.append(lowest.view(steps + 1, count).flip(0).cummin(0).values.flip(0)[1:])
    return torch.stack(found)


def _groups(hills: Tensor, levels: Tensor, count: int, steps: int) -> NDArray[np.int64]:
    """For each threshold the first of the hills that each hill is joined with above it, (T, K)."""
    first, second, reached = _passes(hills, levels, count)
    group = np.arange(count)
    groups = np.empty((steps, count), dtype=np.int64)
    bounds = np.searchsorted(
        -reached, -np.arange(steps + 1), side="left"
    )  # how many passes are above each level
    for step in reversed(range(steps)):
        fresh = slice(bounds[step + 1], bounds[step])
        if fresh.start < fresh.stop:
            joined = (np.ones(fresh.stop - fresh.start), (group[first[fresh]], group[second[fresh]]))
            touching = scipy.sparse.coo_array(joined, shape=(count, count))
            parts = scipy.sparse.csgraph.connected_components(touching, directed=False)[1]
            group = np.unique(parts, return_index=True)[1][parts][group]
        groups[step] = group
    return groups


def _passes(
    hills: Tensor, levels: Tensor, count: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Pairs of hills that touch, and the highest level at which they do, (M,) each; from the highest down."""
    height, width = hills.shape[-2:]
    hill, level = hills.flatten(), levels.flatten()
    keys, heights = [], []
    for right, down in ((1, 0), (-1, 1), (0, 1), (1, 1)):
        apart = right + down * width
        here = (hill[: len(hill) - apart] != hill[apart:]).nonzero().squeeze(1)
        x, y = here % width + right, here // width % height + down
        here = here[(x >= 0) & (x < width) & (y < height)]  # others are of the other border or the next map
        one, other = hill[here], hill[here + apart]
        keys.append(torch.minimum(one, other) * count + torch.maximum(one, other))
        heights.append(torch.minimum(level[here], level[here + apart]))
    pairs, which = torch.cat(keys).unique(return_inverse=True)
    highest = torch.zeros_like(pairs).scatter_reduce_(0, which, torch.cat(heights), "amax")
    highest, order = highest.sort(descending=True)
    pairs = pairs[order]
    return (pairs // count).cpu().numpy(), (pairs % count).cpu().numpy(), highest.cpu().numpy()
