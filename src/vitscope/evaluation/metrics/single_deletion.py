"""Single deletion: does the map order the regions as removing each of them alone does?

The grid is cut into 4×4 cells (or into single patches: the leave-one-patch-out oracle). Spearman correlation
between the relevance summed per cell and the drop of the score when that cell alone is removed.
"""

from __future__ import annotations

import torch
from torch import Tensor

from vitscope.evaluation.case import Case, Subject
from vitscope.evaluation.metric import register_metric
from vitscope.evaluation.rank_statistics import spearman

_CITATION = "Bluecher et al. 2024; Alvarez-Melis and Jaakkola 2018 (correlation with single removals)"


def cells_of(grid: tuple[int, int], cells: int | None) -> Tensor:
    """The cell of each patch, (P,): cells × cells rectangles of nearly equal size; None is one cell per patch."""
    height, width = grid
    if cells is None:
        return torch.arange(height * width)
    rows = torch.arange(height) * min(cells, height) // height
    columns = torch.arange(width) * min(cells, width) // width
    return (rows.unsqueeze(1) * min(cells, width) + columns.unsqueeze(0)).flatten()


def single_drops(case: Case, cell: Tensor) -> Tensor:
    """Drop of the score when each cell alone is removed: (B, cells). Shared by all methods."""

    def make() -> Tensor:
        count, patches = int(cell.max()) + 1, len(cell)
        device = case.images.device
        keep = cell.to(device).view(1, patches) != torch.arange(count, device=device).view(-1, 1)
        index = torch.arange(len(case), device=device).repeat_interleave(count)
        quantity = case.protocol.score
        left = case.perturber.remove(index, keep.repeat(len(case), 1)).score(quantity).view(len(case), count)
        return case.perturber.clean().score(quantity).view(-1, 1) - left

    return case.once(("single drops", int(cell.max()) + 1), make)


def _rank_correlation(subject: Subject, cells: int | None) -> Tensor:
    cell = cells_of(subject.case.perturber.grid, cells).to(subject.maps.device)
    drops = single_drops(subject.case, cell)
    sums = torch.zeros_like(drops, dtype=torch.float64).index_add_(1, cell, subject.flat.double())
    return spearman(sums, drops)


@register_metric(
    "single-deletion",
    family="single deletion",
    title="rank correlation with removing each of 4×4 cells alone",
    citation=_CITATION,
    higher_is_better=True,
    chance=0.0,
)
def single_deletion(subject: Subject) -> Tensor:
    """Spearman correlation over 4×4 cells, (B,)."""
    return _rank_correlation(subject, 4)


@register_metric(
    "leave-one-out",
    family="single deletion",
    title="rank correlation with removing each patch alone",
    citation=_CITATION,
    higher_is_better=True,
    chance=0.0,
)
def leave_one_out(subject: Subject) -> Tensor:
    """Spearman correlation with the leave-one-patch-out oracle over all patches, (B,)."""
    return _rank_correlation(subject, None)
