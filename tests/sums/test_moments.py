"""Streaming mean and spread, by hand: in any batches, in any order of parts."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from vitscope.sums.moments import Moments

VALUES = torch.tensor([[1.0, 0.0], [3.0, 0.0], [10.0, 6.0], [2.0, 2.0]])
"""Means 4 and 2; squared deviations 9 + 1 + 36 + 4 = 50 and 4 + 4 + 16 + 0 = 24."""


def part(*rows: int) -> Moments:
    made = Moments()
    made.add(VALUES[list(rows)])
    return made


@pytest.mark.parametrize("cut", [(4,), (1, 3), (3, 1), (2, 2), (1, 1, 1, 1), (0, 4)])
def test_any_split_and_order_of_parts(cut: tuple[int, ...]) -> None:
    edges = [0, *itertools.accumulate(cut)]
    for order in itertools.permutations(range(len(cut))):
        whole = Moments()
        for place in order:
            whole.merge(part(*range(edges[place], edges[place + 1])))
        assert whole.count == 4
        assert whole.mean.tolist() == pytest.approx([4, 2])
        assert whole.squares.tolist() == pytest.approx([50, 24])
        assert whole.spread().tolist() == pytest.approx([math.sqrt(50 / 3), math.sqrt(8)])


def test_one_value_has_no_spread() -> None:
    assert part(2).spread().isnan().all() and part(2).mean.tolist() == [10, 6]
