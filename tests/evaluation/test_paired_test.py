"""Sign flips: counted by hand and by scipy, their tail, their size under the null, and the influences they flip."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy import stats

from vitscope.errors import EvaluationError
from vitscope.evaluation.board import paired_test
from vitscope.evaluation.board.paired_test import (
    influences,
    p_in_words,
    paired_p,
    pictures_needed,
    sign_flip_p,
)
from vitscope.evaluation.metric import mean_of
from vitscope.evaluation.metrics.box_accuracy import max_box_accuracy_of
from vitscope.evaluation.metrics.segmentation import mean_iou_of, pxap_of


def tensor(values: object) -> torch.Tensor:
    return torch.as_tensor(values, dtype=torch.float64)


def test_counted_by_hand() -> None:
    # Sums of ±3 ±2 ±1 ±1 that are 5 or more: 7, and 5 twice (one of the ones turned); as many are −5 or less.
    for order in itertools.permutations([3.0, 2.0, 1.0, -1.0]):
        assert sign_flip_p(tensor(order)) == 6 / 16
    # 4 of 5 hits agree: 1 + 5 of 32, both ways; a picture without a difference says nothing.
    assert sign_flip_p(tensor([1, 1, 1, 1, -1])) == sign_flip_p(tensor([1, 0, 1, 1, 0, 1, -1])) == 12 / 32
    assert sign_flip_p(-tensor([1, 1, 1, 1, -1])) == 12 / 32, "two-sided"
    assert sign_flip_p(tensor([1, 1, 1, 1])) == 2 / 16
    assert sign_flip_p(tensor([2.0, -2, 1, -1])) == 1
    assert sign_flip_p(torch.zeros(9)) == 1
    # Kept in single precision, three tenths and a tenth still are four tenths.
    assert sign_flip_p(torch.tensor([0.3, 0.1, 0.4, -0.4])) == sign_flip_p(tensor([3, 1, 4, -4]))


@pytest.mark.parametrize("seed", range(4))
def test_few_pictures_are_as_scipy_s_permutation_test(seed: int) -> None:
    source = np.random.default_rng(seed)
    first, second = source.normal(size=11) + 0.5, source.normal(size=11)
    reference = stats.permutation_test(
        (first, second), lambda a, b, axis: (a - b).mean(axis), permutation_type="samples", n_resamples=1e6,
        vectorized=True,
    )  # fmt: skip
    assert paired_p(tensor(first), tensor(second)) == pytest.approx(reference.pvalue, rel=1e-12)
    assert paired_p(tensor(second), tensor(first)) == pytest.approx(reference.pvalue, rel=1e-12)


@pytest.mark.parametrize("count", [30, 61, 400])
def test_many_hits_are_as_the_binomial_tail(count: int) -> None:
    """Differences of one size are coins: the exact tail is binomial, from 1 down to the smallest p there is."""
    for agreeing in {*range(count // 2 + 1, count, max(1, count // 15)), count - 1, count}:
        values = torch.ones(count, dtype=torch.float64)
        values[agreeing:] = -1
        exact = 2 * stats.binom.sf(agreeing - 1, count, 0.5)
        assert sign_flip_p(values * 0.1) == pytest.approx(min(1.0, exact), rel=0.03)
    assert sign_flip_p(torch.ones(count)) == 2.0 ** (1 - count)


@pytest.mark.parametrize("kind", ["normal", "heavy", "tied"])
def test_the_tail_beyond_counting_is_that_of_counting(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    source = np.random.default_rng(3)
    draw: Callable[[], np.ndarray] = {
        "normal": lambda: source.normal(size=24),
        "heavy": lambda: source.standard_t(2, size=24),
        "tied": lambda: source.integers(-3, 4, size=24) / 10,
    }[kind]
    pairs = []
    for shift in np.repeat([0.3, 0.5, 0.8, 1.2], 4):
        values = tensor(draw() + (round(shift, 1) if kind == "tied" else shift))
        monkeypatch.setattr(paired_test, "EXACT", 24)
        exact = sign_flip_p(values)
        monkeypatch.setattr(paired_test, "EXACT", 4)
        pairs.append((exact, sign_flip_p(values)))
    small = [approximate / exact for exact, approximate in pairs if exact < 0.1]
    assert len(small) > 5 and min(exact for exact, _ in pairs) < 1e-5
    assert min(small) > 0.6 and max(small) < 1.25
    assert np.median(small) == pytest.approx(1, abs=0.05)


def test_resolution_has_no_floor() -> None:
    """A bootstrap of 4000 samples ends at 1/2000; these are as small as the pictures say, and as t says."""
    values = torch.randn(200, generator=torch.Generator().manual_seed(0)).double() + 0.6
    reference = stats.ttest_1samp(values.numpy(), 0).pvalue
    assert reference < 1e-12
    assert math.log(sign_flip_p(values)) == pytest.approx(math.log(reference), rel=0.05)
    assert 0 < sign_flip_p(torch.rand(100_000, generator=torch.Generator().manual_seed(0)) - 0.1) < 1e-300


@pytest.mark.parametrize(
    ("comparisons", "needed"), [(0, 6), (1, 6), (2, 7), (105, 13), (1770, 17), (4950, 18)]
)
def test_how_many_pictures_can_tell_anything(comparisons: int, needed: int) -> None:
    """2^(1 − n) times the comparisons below .05, n by hand: 2^5 = 32 > 20, 2^12 = 4096 > 2100, 2^16 > 35400 …"""
    assert pictures_needed(comparisons) == needed


def test_with_too_few_pictures_there_is_no_p() -> None:
    assert math.isnan(paired_p(torch.ones(5), torch.zeros(5)))
    assert paired_p(torch.ones(6), torch.zeros(6)) == 2 / 64
    assert math.isnan(paired_p(torch.ones(9), torch.full((9,), torch.nan)))
    assert [p_in_words(p) for p in (math.nan, 0.5, 0.0123, 1e-4, 9.9e-5, 1e-300)] == [
        "n/a", "0.5", "0.012", "0.0001", "< 1e-4", "< 1e-4",
    ]  # fmt: skip


NULLS: dict[str, Callable[[np.random.Generator, int], np.ndarray]] = {
    "normal": lambda source, n: source.normal(size=n),
    "hits": lambda source, n: source.integers(0, 2, n) - source.integers(0, 2, n),
    "zeros": lambda source, n: source.normal(size=n) * (source.random(n) < 0.5),
    "ties": lambda source, n: np.round(source.normal(size=n) * 2) / 2,
    "skewed scores": lambda source, n: np.exp(source.normal(size=n)) - np.exp(source.normal(size=n)),
    "heavy tails": lambda source, n: source.standard_cauchy(n),
    "skewed differences": lambda source, n: source.gamma(4, size=n) - 4,
}


@pytest.mark.parametrize("kind", NULLS)
def test_size(kind: str) -> None:
    """Where there is nothing to find, at most one in twenty is found (300 draws each, so at most 8 %)."""
    source = np.random.default_rng(7)
    for count in (5, 10, 30, 100):
        drawn = [NULLS[kind](source, count) for _ in range(300)]
        found = np.mean([paired_p(tensor(d), torch.zeros(count).double()) < 0.05 for d in drawn])
        assert found <= (0.11 if kind == "skewed differences" else 0.08), count
        if kind in ("normal", "skewed scores", "heavy tails") and count >= 10:
            assert found >= 0.02, count
        if count == 5:
            assert found == 0


def segmented(source: np.random.Generator, count: int) -> torch.Tensor:
    """Counts of a segmentation with random errors on 100 pixels, (n, 6)."""
    objects = source.integers(20, 60, count)
    met, added = source.binomial(objects, 0.7), source.binomial(100 - objects, 0.2)
    columns = [
        100 - objects - added + met,
        objects * 0 + 100,
        100 - objects - added,
        100 - met,
        met,
        objects + added,
    ]
    return tensor(np.stack(columns, 1))


def test_size_of_a_metric_of_the_whole_set() -> None:
    source = np.random.default_rng(0)
    for count in (10, 40):
        ps = [
            paired_p(*(influences(segmented(source, count), mean_iou_of) for _ in range(2)))
            for _ in range(300)
        ]
        assert 0.02 <= np.mean(np.array(ps) < 0.05) <= 0.08


def test_an_influence_is_how_the_value_moves_when_a_picture_weighs_more() -> None:
    source = torch.Generator().manual_seed(0)
    values = torch.rand(9, generator=source).double()
    rows = torch.stack([values, torch.ones(9).double()], 1)
    assert torch.allclose(influences(rows, mean_of), values, atol=1e-12), "of a mean: the picture's own value"
    # By hand: means 2/2 of pictures that count once, once and not at all for half of the draws.
    halves = tensor([[1.0, 1], [2, 1], [1.5, 0.5]])  # value 4.5 / 2.5 = 1.8, slope (1, −1.8) / 2.5
    assert influences(halves, mean_of).tolist() == pytest.approx(
        [1.8 + 3 * (1 - 1.8) / 2.5, 1.8 + 3 * (2 - 1.8) / 2.5, 1.8 + 3 * (1.5 - 0.9) / 2.5]
    )
    counts = segmented(np.random.default_rng(1), 7)
    histograms = torch.randint(0, 5, (7, 2000), generator=source).double()
    boxes = torch.cat(
        [torch.randint(0, 2, (7, 300), generator=source).double(), torch.ones(7, 1).double()], 1
    )
    boxes[:, [17, 117, 217]] = 1  # one threshold is clearly the best, or the slope is not defined
    for rows, finalise in ((counts, mean_iou_of), (histograms, pxap_of), (boxes, max_box_accuracy_of)):
        found, step = influences(rows, finalise), 1e-6
        assert float(found.mean()) == pytest.approx(float(finalise(rows.sum(0))))
        for index in range(7):
            more = finalise(rows.sum(0) + step * rows[index]) - finalise(rows.sum(0) - step * rows[index])
            expected = float(finalise(rows.sum(0))) + 7 * float(more) / (2 * step)
            assert float(found[index]) == pytest.approx(expected, abs=1e-6)
    with pytest.raises(EvaluationError, match="torch operations"):
        influences(rows, lambda sums: sums.detach().sum())
    with torch.inference_mode():
        assert torch.equal(influences(histograms, pxap_of), influences(histograms.clone(), pxap_of))
