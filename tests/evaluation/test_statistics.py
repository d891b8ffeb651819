"""Bootstrap, Holm and Kendall, against scipy and against what is known."""

from __future__ import annotations

import math

import pytest
import torch
from scipy import stats

from vitscope.evaluation.board.statistics import (
    bootstrap,
    holm,
    kendall,
    resampled_sums,
    resampling_weights,
)
from vitscope.evaluation.metric import mean_of


def rows(values: torch.Tensor) -> torch.Tensor:
    return torch.stack([values.double(), torch.ones(len(values), dtype=torch.float64)], dim=1)


def test_interval_of_a_mean() -> None:
    values = torch.randn(200, generator=torch.Generator().manual_seed(0)) * 2 + 5
    found = bootstrap(rows(values), mean_of, seed=0)
    half = 1.96 * float(values.std()) / 200**0.5
    assert found.value == pytest.approx(float(values.mean()), abs=1e-6)
    assert found.low == pytest.approx(found.value - half, abs=0.06)
    assert found.high == pytest.approx(found.value + half, abs=0.06)
    assert found.n == 200
    assert bootstrap(rows(values), mean_of, seed=0) == found


def test_coverage() -> None:
    inside = 0
    for seed in range(100):
        values = torch.randn(60, generator=torch.Generator().manual_seed(seed))
        found = bootstrap(rows(values), mean_of, seed=1)
        inside += found.low <= 0 <= found.high
    assert inside >= 87


def test_degenerate_samples() -> None:
    assert bootstrap(torch.zeros(0, 0), mean_of, 0).n == 0
    assert math.isnan(bootstrap(torch.zeros(3, 2), mean_of, 0).value)
    one = bootstrap(rows(torch.tensor([2.0])), mean_of, 0)
    assert (one.value, one.n) == (2, 1)
    assert math.isnan(one.low)
    assert resampling_weights(7, 0, 50).sum(1).tolist() == [7] * 50


def test_holm() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    known = holm([float("nan"), 0.02])
    assert math.isnan(known[0])
    assert known[1] == 0.02


def test_kendall() -> None:
    first, second = [1.0, 2, 3, 4, 4], [1.0, 3, 2, 5, 4]
    assert kendall(first, second) == pytest.approx(stats.kendalltau(first, second).statistic)
    assert kendall([1.0, float("nan"), 2], [3.0, 1, 4]) == 1
    assert math.isnan(kendall([1.0], [2.0]))
    assert math.isnan(kendall([1.0, 1.0], [2.0, 3.0]))


def test_many_pictures_are_resampled_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same samples whatever the blocks are, so no number depends on the memory that is spent on it."""
    values = torch.rand(13, 2, generator=torch.Generator().manual_seed(0))
    expected = resampling_weights(13, 4, 50) @ values.double()
    assert torch.equal(resampled_sums(values, 4, 50), expected)
    for block in (1, 30, 200):
        monkeypatch.setattr("vitscope.evaluation.board.statistics.BLOCK", block)
        assert torch.allclose(resampled_sums(values, 4, 50), expected, atol=1e-12)
