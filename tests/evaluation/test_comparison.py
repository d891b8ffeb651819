"""Boards made by hand: what is told apart, what is not, and from how many pictures on it could be."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor

import vitscope as vs
from vitscope.errors import EvaluationError
from vitscope.evaluation import Leaderboard, MethodRecord, Metric, claim
from vitscope.evaluation.metric_state import statistics_of
from vitscope.storage.recipe import Recipe


def board_of(
    values: Mapping[str, Tensor], metric: str = "srg", keys: Mapping[str, list[str]] | None = None
) -> Leaderboard:
    """A board of these values per picture, (n,) for each method."""
    states = {}
    for name, scores in values.items():
        state = Metric(metric)
        own = (keys or {}).get(name, [f"{index:04d}" for index in range(len(scores))])
        state.update_rows(own, statistics_of(scores.double()))
        states[name, metric] = state
    recipe = Recipe("evaluate", count=max(len(scores) for scores in values.values()))
    return Leaderboard(vs.Protocol(recipe=recipe), [MethodRecord(name) for name in values], [metric], states)


def ladder(rows: int, pictures: int, gap: float) -> dict[str, Tensor]:
    """Methods ``gap`` standard deviations apart on pictures that differ much more than they do."""
    source = torch.Generator().manual_seed(rows)
    hard = 1000 * torch.randn(pictures, generator=source).double()
    return {
        f"m{i:02d}": hard + i * gap + torch.randn(pictures, generator=source).double() / 2**0.5
        for i in range(rows)
    }


@pytest.mark.parametrize("rows", [14, 15, 30, 60])
def test_clear_gaps_are_found_among_any_number_of_methods(rows: int) -> None:
    """Ten standard deviations between neighbours, 40 pictures: every pair is told apart, in the right order."""
    board = board_of(ladder(rows, 40, 10))
    table = board.compare("srg")
    assert len(table) == rows * (rows - 1) // 2
    assert (table["p_holm"] < 1e-3).all()
    assert table["better"].tolist() == table["first"].tolist(), "the ranking is from the best down"
    assert (table["verdict"] == table["first"] + " is better").all()
    assert board.best("srg") == [f"m{rows - 1:02d}"]


def test_lower_is_better_turns_the_verdict() -> None:
    board = board_of(ladder(4, 40, 10), "deletion-patch")
    assert board.best("deletion-patch") == ["m00"]
    assert board.compare("deletion-patch", [("m01", "m00")])["better"].tolist() == ["m00"]
    described = board_of(ladder(4, 40, 10), "entropy").compare("entropy", [("m01", "m00")])
    assert (described["better"][0], described["verdict"][0]) == ("", "m01 is higher")


def test_the_numbers_of_a_table() -> None:
    """Three methods on eight pictures, p by hand: all eight agree 2/256; 7 of 8 agree 2 · (1 + 8) / 256."""
    a = torch.arange(8.0)
    b, c = a - 1, a - torch.tensor([1.0, 1, 1, 1, 1, 1, 1, -1])
    table = board_of({"c": c, "a": a, "b": b}).compare("srg").set_index(["first", "second"])
    assert table["difference"].to_dict() == {("a", "c"): 0.75, ("a", "b"): 1.0, ("c", "b"): 0.25}
    assert table["p"].to_dict() == {("a", "c"): 18 / 256, ("a", "b"): 2 / 256, ("c", "b"): 1.0}
    assert table["p_holm"].to_dict() == {("a", "c"): 36 / 256, ("a", "b"): 6 / 256, ("c", "b"): 1.0}
    assert table["verdict"].to_dict() == {
        ("a", "c"): "undecided",
        ("a", "b"): "a is better",
        ("c", "b"): "undecided",
    }
    assert set(table["needed"]) == {7} and set(table["n"]) == {8}


def test_too_few_pictures_say_how_many_are_needed() -> None:
    board = board_of(ladder(15, 12, 10))
    table = board.compare("srg")
    assert set(table["verdict"]) == {"n/a: 12 pictures, at least 13 needed"} and set(table["better"]) == {""}
    assert board.best("srg") == [] and board.by("srg").needed == 13, (
        "nothing is starred of which nothing can be told"
    )
    assert not board.to_pandas()["best"].any()
    page = board.to_html(command="vitscope evaluate photos")
    assert "12 pictures tell no two methods apart" in page and "Best within noise" not in page
    assert "vitscope evaluate photos" in page
    told = board_of(ladder(15, 13, 10)).compare("srg")
    assert (told["better"] != "").any(), "and so many do suffice for the first of them"
    few = board_of(ladder(3, 5, 10)).compare("srg")
    assert few["p"].isna().all() and few["p_holm"].isna().all()
    assert set(few["verdict"]) == {"n/a: 5 pictures, at least 7 needed"}
    assert "n/a: 12 pictures, at least 13 needed" in board.to_html()


def test_pairs_share_their_pictures_only() -> None:
    """a lacks the two pictures on which b is far ahead; the pair is judged on the eight that both have."""
    a, b = torch.arange(8.0) + 1, torch.cat([torch.arange(8.0), torch.tensor([500.0, 500.0])])
    undefined = torch.full((2,), torch.nan)
    for other in (torch.cat([a, undefined]), a):
        board = board_of({"a": other, "b": b})
        assert board.ranking("srg") == ["b", "a"]
        found = board.difference("a", "b", "srg")
        assert (found.difference, found.n, found.p) == (1.0, 8, 2 / 256)
        assert board.best("srg") == ["b", "a"], "where both have a value, the leader does not lead"
    shuffled = torch.randperm(8, generator=torch.Generator().manual_seed(0))
    keys = {"a": [f"{int(index):04d}" for index in shuffled]}
    assert board_of({"a": a[shuffled], "b": b}, keys=keys).difference("a", "b", "srg").p == 2 / 256
    nothing = board_of({"a": a, "b": b}, keys={"a": [f"x{index}" for index in range(8)]})
    table = nothing.compare("srg")
    assert table["n"].tolist() == [0] and table["verdict"].tolist() == [
        "n/a: no picture has a value for both"
    ]


def test_equal_methods_are_undecided() -> None:
    values = torch.rand(30, generator=torch.Generator().manual_seed(0))
    board = board_of({"a": values, "b": values + 1e-17, "c": values - 1})
    found = board.compare("srg", [("a", "b")])
    assert found["p"].tolist() == [1.0] and found["verdict"].tolist() == ["undecided"]
    assert board.best("srg") == ["a", "b"]


def test_the_leader_is_compared_as_one_of_all_pairs() -> None:
    """Eight of eight agree (p 2/256): below 5 % over 6 pairs, not over the 10 pairs of five methods."""
    first = torch.arange(8.0)
    noise = torch.tensor([1.0, -1, 2, -2, 3, -3, 4, -4])
    four = {"a": first, "b": first - 1, "c": first - noise, "d": first - noise[[2, 3, 0, 1, 6, 7, 4, 5]]}
    assert board_of(four).best("srg") == ["a", "c", "d"]
    five = {**four, "e": first - noise.flip(0)}
    assert board_of(five).best("srg") == [], "9 would be needed"


def test_ranks_are_resampled_on_the_same_pictures() -> None:
    """b is always 1 below a, while pictures differ by thousands: on any drawn pictures a is first."""
    hard = 1000 * torch.randn(20, generator=torch.Generator().manual_seed(0)).double()
    for names in (("a", "b", "c"), ("c", "b", "a")):
        values = {"a": hard, "b": hard - 1, "c": hard - 2}
        found = board_of({name: values[name] for name in names}).rank_stability("srg", 200)
        assert found["method"].tolist() == ["a", "b", "c"]
        assert found[["rank", "low", "high"]].to_numpy().tolist() == [[1, 1, 1], [2, 2, 2], [3, 3, 3]]
    # Two methods that win ten pictures each: either may be first.
    flat = torch.tensor([1.0] * 10 + [-1.0] * 10)
    found = board_of({"a": flat, "b": -flat}).rank_stability("srg", 200)
    assert found[["low", "high"]].to_numpy().tolist() == [[1, 2], [1, 2]]


def test_claims() -> None:
    clear = ladder(2, 20, 10)
    turned = {"m00": clear["m01"], "m01": clear["m00"]}
    noise = {"m00": torch.tensor([1.0, -1] * 10), "m01": torch.zeros(20)}
    few = {name: values[:5] for name, values in clear.items()}

    def verdict(*sets: dict[str, Tensor], **more: Any) -> str:
        boards = {f"p{index}": board_of(values) for index, values in enumerate(sets)}
        return claim(boards, "srg", "m01", "m00", **more).verdict

    assert verdict(clear, clear, clear) == "holds"
    assert verdict(turned, turned, turned) == "the opposite holds"
    assert (
        verdict(clear, clear, noise) == verdict(clear, clear) == verdict(clear, clear, turned) == "undecided"
    )
    assert verdict(clear, clear, clear, turned) == "undecided"
    assert verdict(clear, clear, clear, noise) == "holds"
    assert verdict(clear, few, clear) == "undecided: at least 6 pictures are needed, p1 has 5"
    # Six of six agree: p 1/32 is enough where all three must, not where three of five may.
    six = {"m00": torch.arange(6.0), "m01": torch.arange(6.0) + 1}
    tied = {"m00": torch.arange(6.0), "m01": torch.arange(6.0)}
    assert verdict(six, six, six) == "holds"
    assert verdict(six, six, six, tied, tied) == "undecided"
    assert math.isclose(claim({"a": board_of(six)}, "srg", "m01", "m00").differences["a"].p, 1 / 32)


def test_names_that_a_board_has_not_are_told() -> None:
    board = board_of(ladder(2, 8, 10))
    with pytest.raises(EvaluationError, match="no method 'm02'; did you mean m0"):
        board.difference("m00", "m02", "srg")
    with pytest.raises(EvaluationError, match="no metric 'mass'"):
        board.best("mass")
