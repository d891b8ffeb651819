"""Mosaics for the grid pointing game."""

from __future__ import annotations

import pytest
import torch

from vitscope.errors import DataError
from vitscope.worlds import cell_masks, plan_mosaics, tile


@pytest.mark.parametrize("side", [2, 3])
def test_no_class_is_twice_in_a_mosaic_and_every_picture_has_its_turn(side: int) -> None:
    labels = [index % 11 for index in range(50)]
    plans = plan_mosaics(labels, side, seed=4)
    assert [plan.target for plan in plans] == list(range(50))
    for plan in plans:
        assert len({labels[member] for member in plan.members}) == side * side
    assert len({plan.cell for plan in plans}) == side * side
    assert plan_mosaics(labels, side, seed=4) == plans != plan_mosaics(labels, side, seed=5)


@pytest.mark.parametrize(("side", "size"), [(2, (7, 9)), (3, (10, 10)), (1, (4, 4))])
def test_cells_part_the_picture(side: int, size: tuple[int, int]) -> None:
    masks = cell_masks(size, side)
    assert torch.equal(masks.sum(dim=0), torch.ones(size, dtype=torch.long))
    areas = masks.sum(dim=(1, 2))
    assert areas.max() <= (size[0] // side + 1) * (size[1] // side + 1)


def test_tensors_are_tiled_row_by_row_as_their_mean() -> None:
    tiles = torch.arange(4.0).view(4, 1, 1, 1).expand(4, 3, 8, 8)
    mosaic = tile(tiles, 2)
    literal = torch.zeros(3, 8, 8)
    for row in range(8):
        for column in range(8):
            literal[:, row, column] = (row // 4) * 2 + column // 4
    assert torch.allclose(mosaic, literal)
    noise = torch.rand(4, 3, 8, 8)
    assert torch.allclose(tile(noise, 2)[:, :4, :4].mean(), noise[0].mean(), atol=0.02)


@pytest.mark.parametrize(
    ("labels", "side", "says"),
    [
        ([0, 1, 2], 2, "4 classes, got 3"),
        ([0] * 20, 3, "9 classes, got 1"),
        ([0, 1], 1, "side >= 2"),
        ([], 2, "got 0"),
    ],
)
def test_too_few_classes_are_refused(labels: list[int], side: int, says: str) -> None:
    with pytest.raises(DataError, match=says):
        plan_mosaics(labels, side)


def test_impossible_mosaics_are_refused() -> None:
    with pytest.raises(DataError, match="takes 9 pictures"):
        tile(torch.zeros(4, 3, 8, 8), 3)
    with pytest.raises(DataError, match="at least one pixel"):
        cell_masks((2, 2), 3)
