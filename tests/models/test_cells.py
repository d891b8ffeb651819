"""Cells of a patch grid on the pixels, against edges worked out by hand and against what a convolution really reads."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from vitscope.errors import ModelError
from vitscope.models.preparing.cells import Cells, Window, edges_of


@pytest.mark.parametrize(
    ("windows", "cells", "length", "edges"),
    [
        ([Window(4, 4)], 3, 12, (0, 4, 8, 12)),
        ([Window(4, 4)], 3, 15, (0, 4, 8, 12)),  # the last three pixels are read by no patch
        ([Window(14, 14)], 9, 139, (0, 14, 28, 42, 56, 70, 84, 98, 112, 126)),
        ([Window(16, 8)], 3, 32, (0, 12, 20, 32)),  # overlapping patches: centres 8, 16, 24
        ([Window(4, 4, padding=2)], 3, 9, (0, 2, 6, 9)),  # patches read -2…1, 2…5, 6…9
        ([Window(3, 2, padding=1), Window(3, 2, padding=1)], 2, 8, (0, 3, 8)),  # centres .5, 4.5
        ([Window(2, 2), Window(2, 2)], 2, 9, (0, 4, 8)),
        ([Window(3, 4, dilation=2)], 2, 10, (0, 5, 9)),  # 0, 2, 4 and 4, 6, 8: centres 2.5 and 6.5
    ],
)
def test_edges_by_hand(windows, cells, length, edges):
    assert edges_of(windows, cells, length) == edges


def test_windows_that_cannot_have_made_the_grid_give_no_edges():
    assert edges_of([Window(4, 4)], 5, 12) is None


def test_first_and_last_edge_are_what_the_convolutions_read():
    stem = nn.Sequential(nn.Conv2d(1, 2, 3, 2, 1), nn.Conv2d(2, 1, 6, 5, 1))
    picture = torch.randn(1, 1, 47, 47, requires_grad=True)
    out = stem(picture)
    out.abs().sum().backward()
    read = picture.grad[0, 0].abs().sum(1).nonzero().flatten()
    edges = edges_of([Window(3, 2, 1), Window(6, 5, 1)], out.shape[-1], 47)
    assert edges is not None
    assert (edges[0], edges[-1]) == (int(read.min()), int(read.max()) + 1)


def test_even_cells_take_the_pixels_that_proportion_gives():
    cells = Cells.even((3, 4), (10, 9))
    assert cells.rows == (0, 4, 7, 10)
    rows, columns = torch.arange(10) * 3 // 10, torch.arange(9) * 4 // 9
    assert torch.equal(cells.index(), rows[:, None] * 4 + columns[None])
    assert cells.whole


def test_kept_sums_and_spread_of_a_strip_that_no_patch_reads():
    cells = Cells((3, 5), (0, 2, 3), (1, 3, 4))  # rows 0-1 and 2; columns 1-2 and 3; columns 0 and 4 unread
    assert cells.index().tolist() == [[-1, 0, 0, 1, -1], [-1, 0, 0, 1, -1], [-1, 2, 2, 3, -1]]
    keep = torch.tensor([[False, True, True, False]])
    assert cells.kept(keep)[0, 0].tolist() == [
        [True, False, False, True, True],
        [True, False, False, True, True],
        [True, True, True, False, True],
    ]
    pixels = torch.arange(15.0).reshape(1, 3, 5)
    assert cells.sums(pixels).tolist() == [[[1 + 2 + 6 + 7, 3 + 8], [11 + 12, 13]]]
    assert cells.means(pixels).tolist() == [[[4.0, 5.5], [11.5, 13.0]]]
    spread = cells.spread(torch.tensor([[[5.0, 6.0], [7.0, 8.0]]]))
    assert spread[0].tolist() == [[5, 5, 5, 6, 5], [5, 5, 5, 6, 5], [5, 7, 7, 8, 5]]
    smooth = cells.spread(torch.tensor([[[0.0, 3.0], [0.0, 3.0]]]), "bilinear")
    # covered columns 1 to 3, two cells interpolated to three pixels: 0, 1.5, 3
    assert smooth[0, 0].tolist() == [0, 0, 1.5, 3, 0]
    assert cells.extent == (0.0, 0.2, 1.0, 0.8)
    assert not cells.whole


def test_edges_that_do_not_rise_are_refused():
    with pytest.raises(ModelError, match="rise"):
        Cells((4, 4), (0, 2, 2), (0, 4))
    with pytest.raises(ModelError, match="at most 4"):
        Cells((4, 4), (0, 5), (0, 4))
