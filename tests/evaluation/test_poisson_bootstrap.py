"""The bootstrap of very many pictures: its draws by hand, its agreement with the exact one, and what it depends on."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

import vitscope as vs
from vitscope.evaluation import Leaderboard, MethodRecord, Metric
from vitscope.evaluation.board import statistics
from vitscope.evaluation.board.statistics import bootstrap, resampled_sums
from vitscope.evaluation.metric import mean_of
from vitscope.storage.recipe import Recipe
from vitscope.sums.poisson_bootstrap import poisson_sums, poisson_weights


def rows(count: int, seed: int = 0, shift: float = 0.3) -> torch.Tensor:
    values = torch.randn(count, generator=torch.Generator().manual_seed(seed)).double() + shift
    return torch.stack([values, torch.ones_like(values)], 1)


def test_the_draws_are_poisson_numbers() -> None:
    drawn = np.concatenate([poisson_weights(3, start, 400) for start in range(0, 5120, 512)], axis=1).astype(
        float
    )
    assert drawn.shape == (400, 5120)
    assert drawn.mean() == pytest.approx(1, abs=0.003) and drawn.var() == pytest.approx(1, abs=0.005)
    for number in range(5):
        share = math.exp(-1) / math.factorial(number)
        assert (drawn == number).mean() == pytest.approx(share, abs=0.001)
    # Pictures and samples know nothing of each other.
    assert abs(np.corrcoef(drawn[:, 0], drawn[:, 1])[0, 1]) < 0.2
    assert abs(np.corrcoef(drawn[0], drawn[1])[0, 1]) < 0.06


def test_sums_by_hand() -> None:
    """Three blocks, the last of 76 pictures; the counts come from comparing two bytes with the distribution."""
    first, second = rows(1100), torch.cat([rows(1100, 1), rows(1100, 2)], 1)
    pmf = [math.exp(-1) / math.factorial(k) for k in range(12)]
    edges = [round(65536 * sum(pmf[: k + 1])) for k in range(12)]
    expected = [np.zeros((7, 2)), np.zeros((7, 4))]
    for start in (0, 512, 1024):
        words = np.random.Philox(key=[9, start]).random_raw(7 * 512 // 4).tolist()
        pieces = [word >> shift & 0xFFFF for word in words for shift in (0, 16, 32, 48)]
        counts = np.array([next(k for k in range(12) if piece < edges[k]) for piece in pieces]).reshape(
            7, 512
        )
        for place in range(start, min(start + 512, 1100)):
            for sums, values in zip(expected, (first, second), strict=True):
                sums += np.outer(counts[:, place - start], values[place].numpy())
    found = poisson_sums([first, second], 9, 7)
    for sums, values in zip(found, expected, strict=True):
        assert np.allclose(sums.numpy(), values, rtol=1e-12)


def test_it_agrees_with_the_exact_bootstrap_on_ten_thousand_rows() -> None:
    for seed in range(3):
        values = rows(10_000, seed)
        exact = bootstrap(values, mean_of, seed)
        poisson = bootstrap(values, mean_of, seed, sums=poisson_sums([values], seed)[0])
        width = exact.high - exact.low
        assert poisson.value == exact.value
        assert abs(poisson.low - exact.low) < 0.08 * width and abs(poisson.high - exact.high) < 0.08 * width
        assert width == pytest.approx(2 * 1.96 / 100, rel=0.06)


def test_differences_are_paired() -> None:
    one = rows(3000)
    other = torch.stack([one[:, 0] + 0.25, one[:, 1]], 1)
    first, second = poisson_sums([one, other], 0)
    assert torch.allclose(mean_of(second) - mean_of(first), torch.tensor(0.25).double(), atol=1e-12)
    # Each on its own draws the same, so a table made in two steps is paired as well.
    assert torch.equal(poisson_sums([one], 0)[0], first) and torch.equal(poisson_sums([other], 0)[0], second)
    assert not torch.equal(poisson_sums([one], 1)[0], first)


def board(keys: list[str], methods: dict[str, torch.Tensor]) -> Leaderboard:
    states = {}
    for name, values in methods.items():
        states[name, "srg"] = Metric("srg")
        states[name, "srg"].update_rows(keys, values)
    recipe = Recipe("evaluate", count=len(keys))
    return Leaderboard(vs.Protocol(recipe=recipe), [MethodRecord(name) for name in methods], ["srg"], states)


@pytest.mark.parametrize("exact", [10, 10_000], ids=["poisson", "exact"])
def test_intervals_do_not_depend_on_the_order_of_shards(exact: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("statistics", "intervals", "row_pairs"):
        monkeypatch.setattr(f"vitscope.evaluation.board.{module}.EXACT", exact)
    keys = [f"{index:04d}" for index in range(1200)]
    values = {"a": rows(1200), "b": rows(1200, 1, 0.2)}
    order = torch.randperm(1200, generator=torch.Generator().manual_seed(0))
    first = board(keys, values)
    second = board([keys[i] for i in order], {name: each[order] for name, each in values.items()})
    for name in values:
        one, other = first.interval(name, "srg"), second.interval(name, "srg")
        assert (one.low, one.high) == pytest.approx((other.low, other.high), rel=1e-9)
        assert one.low < one.value < one.high
    one, other = (each.difference("a", "b", "srg") for each in (first, second))
    assert (one.low, one.high) == pytest.approx((other.low, other.high), rel=1e-9)
    ranks = [each.rank_stability("srg", 200).to_dict("list") for each in (first, second)]
    assert ranks[0] == ranks[1]


def test_very_many_pictures_take_poisson_samples_and_fewer_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statistics, "EXACT", 1000)
    few, many = rows(1000), rows(1001)
    assert torch.equal(resampled_sums(many, 2, 4000), poisson_sums([many], 2, 1000)[0])
    assert torch.equal(resampled_sums(many, 2, 50), poisson_sums([many], 2, 50)[0])
    # n of n: the counts of a sample add up to n.
    assert torch.equal(resampled_sums(few, 2, 50)[:, 1], torch.full((50,), 1000.0).double())


def test_all_states_of_a_board_are_resampled_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[int] = []
    made = poisson_weights
    monkeypatch.setattr(
        "vitscope.sums.poisson_bootstrap.poisson_weights",
        lambda seed, start, resamples: drawn.append(start) or made(seed, start, resamples),
    )
    monkeypatch.setattr("vitscope.evaluation.board.intervals.EXACT", 100)
    keys = [f"{index:04d}" for index in range(1100)]
    made_of = board(keys, {name: rows(1100, seed) for seed, name in enumerate("abcd")})
    alone = {name: bootstrap(rows(1100, seed), mean_of, 0, sums=poisson_sums([rows(1100, seed)], 0)[0])
             for seed, name in enumerate("abcd")}  # fmt: skip
    drawn.clear()
    for name in "abcd":
        found, expected = made_of.interval(name, "srg"), alone[name]
        assert (found.low, found.high) == pytest.approx((expected.low, expected.high), rel=1e-9)
    assert drawn == [0, 512, 1024]
