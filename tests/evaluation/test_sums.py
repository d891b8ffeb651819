"""A leaderboard on sums against the same one on rows: values, intervals, pairs, any split, files, pages, memory."""

from __future__ import annotations

import itertools
import math
import resource
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import vitscope as vs
from vitscope.errors import EvaluationError
from vitscope.evaluation import Leaderboard, MethodRecord, Metric, claim
from vitscope.evaluation.board import merging
from vitscope.evaluation.board.records import CurveRecord
from vitscope.evaluation.board.statistics import bootstrap
from vitscope.evaluation.board.sum_state import CurveSums, SumState, where_of
from vitscope.evaluation.board.summing import on_both
from vitscope.evaluation.metric_state import statistics_of
from vitscope.storage.recipe import Recipe
from vitscope.sums import poisson_bootstrap
from vitscope.sums.poisson_bootstrap import poisson_sums, poisson_weights

METHODS, METRICS = ("a", "b", "c"), ("srg", "mass")


def scores(count: int, seed: int = 0) -> dict[tuple[str, str], Tensor]:
    """Values (n,) of three methods by two metrics; some of ``b`` and others of ``c`` by mass are undefined."""
    source = torch.Generator().manual_seed(seed)
    found = {}
    for place, (metric, method) in enumerate(itertools.product(METRICS, METHODS)):
        found[method, metric] = torch.randn(count, generator=source).double() + 0.1 * place
    found["b", "mass"][5::7] = math.nan
    found["c", "mass"][3::11] = math.nan
    return found


def part(values: dict[tuple[str, str], Tensor], start: int, stop: int) -> Leaderboard:
    """The board of the pictures at these positions."""
    keys = [f"{index:07d}" for index in range(start, stop)]
    states = {}
    for (method, metric), column in values.items():
        states[method, metric] = Metric(metric)
        states[method, metric].update_rows(keys, statistics_of(column[start:stop]))
    fractions = torch.tensor([0.0, 0.5, 1.0], dtype=torch.float64)
    curves = {
        (method, "lif"): CurveRecord(
            fractions, keys, torch.stack([values[method, m][start:stop] for m in ("srg", "mass", "srg")], 1)
        )
        for method in METHODS
    }
    recipe = Recipe("evaluate", count=stop - start)
    records = [MethodRecord(name, control=name == "c", seconds=1.0) for name in METHODS]
    return Leaderboard(vs.Protocol(recipe=recipe), records, list(METRICS), states, curves=curves)


def in_parts(values: dict[tuple[str, str], Tensor], cuts: list[int]) -> Leaderboard:
    edges = [0, *cuts, len(values["a", "srg"])]
    boards = (part(values, start, stop) for start, stop in itertools.pairwise(edges) if start < stop)
    return merging.merge(boards, rows=0)


def bits(board: Leaderboard) -> dict[tuple[str, ...], tuple[bytes, ...]]:
    """Every sum of a board."""
    found = {**board.states, **board.shared, **board.curves}
    return {
        place: (
            each.sums.total.value().numpy().tobytes(),
            each.sums.samples.value().numpy().tobytes(),
        )
        for place, each in found.items()
        if isinstance(each, (SumState, CurveSums))
    }


COUNT = 2300
VALUES = scores(COUNT)
WHOLE = part(VALUES, 0, COUNT)
SUMS = in_parts(VALUES, [])


def test_values_are_those_of_rows_and_intervals_those_of_their_poisson_samples() -> None:
    places = [(method, metric) for metric in METRICS for method in METHODS]
    expected = poisson_sums([WHOLE.states[place].rows for place in places], 0)  # type: ignore[union-attr]
    for place, sums in zip(places, expected, strict=True):
        state = WHOLE.states[place]
        assert isinstance(state, Metric)
        by_rows = bootstrap(state.rows, state.info.finalise, 0, sums=sums)
        found = SUMS.interval(*place)
        assert found.value == pytest.approx(by_rows.value, rel=1e-12) and found.n == by_rows.n
        assert (found.low, found.high) == pytest.approx((by_rows.low, by_rows.high), rel=1e-12)
    table, rows = SUMS.to_pandas(), WHOLE.to_pandas()
    for column in ("method", "metric", "n", "undefined", "best", "evaluations"):
        assert table[column].tolist() == rows[column].tolist(), column
    assert np.allclose(table["start"], rows["start"], rtol=1e-12, equal_nan=True)
    assert SUMS.ranking("srg") == WHOLE.ranking("srg")
    assert SUMS.rank_correlation().equals(WHOLE.rank_correlation())


def test_one_state_alone_has_the_bits_of_poisson_sums() -> None:
    state = WHOLE.states["a", "srg"]
    assert isinstance(state, Metric)
    board = Leaderboard(
        vs.Protocol(recipe=Recipe("evaluate", count=COUNT)),
        [MethodRecord("a")],
        ["srg"],
        {("a", "srg"): state},
    )
    expected = bootstrap(state.rows, state.info.finalise, 0, sums=poisson_sums([state.rows], 0)[0])
    found = board.summed().interval("a", "srg")
    assert (found.low, found.high) == (expected.low, expected.high)


@settings(max_examples=12, deadline=None)
@given(st.sets(st.integers(1, COUNT // 512), max_size=4))
def test_parts_cut_at_blocks_give_the_bits_of_the_whole(blocks: set[int]) -> None:
    assert bits(in_parts(VALUES, [512 * block for block in sorted(blocks)])) == bits(SUMS)


@settings(max_examples=12, deadline=None)
@given(st.sets(st.integers(1, COUNT - 1), max_size=6), st.randoms(use_true_random=False))
def test_any_split_in_any_order_gives_the_whole(cuts: set[int], random: np.random.Generator) -> None:
    edges = [0, *sorted(cuts), COUNT]
    pieces = list(itertools.pairwise(edges))
    random.shuffle(pieces)  # type: ignore[arg-type]
    found = merging.merge([part(VALUES, *p) for p in pieces], [start for start, _ in pieces], rows=0)
    assert found.ranges == ((0, COUNT),)
    for one, other in itertools.permutations(METHODS, 2):
        for metric in METRICS:
            here, there = (on_both(b.states, b.shared, one, other, metric) for b in (found, SUMS))
            assert here is not None and there is not None
            assert (here.count, here.defined, here.where) == (there.count, there.defined, there.where)
            for name in ("total", "samples"):
                a, b = (getattr(each.sums, name).value() for each in (here, there))
                assert torch.allclose(a, b, rtol=1e-12, atol=1e-10)
    assert found.compare("mass")[["first", "second", "n"]].equals(
        SUMS.compare("mass")[["first", "second", "n"]]
    )


def test_the_weights_of_a_picture_belong_to_its_position() -> None:
    """By hand: pictures 600 to 610 alone weigh what the second block gives them."""
    found = part(VALUES, 600, 610).summed(600).states["a", "srg"]
    assert isinstance(found, SumState)
    weights = torch.from_numpy(poisson_weights(0, 512, 1000)[:, 88:98].astype(np.float64))
    expected = weights @ statistics_of(VALUES["a", "srg"][600:610])
    assert torch.allclose(found.sums.samples.value(), expected, rtol=1e-12)


@pytest.mark.parametrize("metric", METRICS)
def test_differences_are_of_the_pictures_that_both_have(metric: str) -> None:
    for first, second in itertools.permutations(METHODS, 2):
        rows, sums = (board.difference(first, second, metric) for board in (WHOLE, SUMS))
        assert sums.n == rows.n
        assert sums.difference == pytest.approx(rows.difference, rel=1e-10)
        width = rows.high - rows.low
        assert (sums.low, sums.high) == pytest.approx((rows.low, rows.high), abs=0.12 * width)
        one, other = (torch.nan_to_num(VALUES[m, metric], nan=math.inf) for m in (first, second))
        both = torch.isfinite(one) & torch.isfinite(other)
        assert sums.n == int(both.sum())
        # A z test on the differences of the pictures, and the sign flips of rows.
        gaps = (one - other)[both]
        z = abs(float(gaps.mean())) / float(gaps.std()) * math.sqrt(len(gaps))
        assert sums.p == pytest.approx(math.erfc(z / math.sqrt(2)), rel=0.6, abs=1e-9)
    assert set(SUMS.shared) == (
        {("a", "b", "mass"), ("b", "a", "mass"), ("a", "c", "mass"), ("c", "a", "mass")}
        | {("b", "c", "mass"), ("c", "b", "mass")}
    )


def test_methods_that_agree_are_no_evidence_and_few_pictures_have_no_p() -> None:
    values = {**VALUES, ("b", "srg"): VALUES["a", "srg"].clone()}
    board = part(values, 0, 1000).summed()
    assert board.difference("a", "b", "srg").p == 1.0
    far = {**VALUES, ("b", "srg"): VALUES["a", "srg"] + 1}
    assert 0 < part(far, 0, 1000).summed().difference("a", "b", "srg").p < 1e-100
    few = part(VALUES, 0, 5).summed()
    assert math.isnan(few.difference("a", "b", "srg").p) and few.interval("a", "srg").n == 5
    assert few.compare("srg")["verdict"].str.startswith("n/a: 5 pictures").all()
    assert claim({"one": board}, "srg", "a", "b", needed=1).holds is None


def test_a_method_that_joins_later_shares_only_what_it_has() -> None:
    """``b`` by srg is absent from the first part: then two pictures in three are shared."""
    without = part(VALUES, 0, 300)
    del without.states["b", "srg"]
    found = merging.merge([without, part(VALUES, 300, 900)], rows=0)
    assert found.difference("a", "b", "srg").n == 600 == found.difference("b", "a", "srg").n
    expected = VALUES["a", "srg"][300:900].mean() - VALUES["b", "srg"][300:900].mean()
    assert found.difference("a", "b", "srg").difference == pytest.approx(float(expected), rel=1e-10)
    assert found.interval("a", "srg").n == 900 and found.to_pandas()["undefined"].sum() >= 0
    alone = part(VALUES, 0, 300)
    del alone.states["a", "srg"]
    apart = merging.merge([without, alone], [0, 300], rows=0)  # c is in both, a and b never together
    assert apart.difference("a", "b", "srg").n == 0
    assert vs.Leaderboard.load(apart.save("apart")).difference("a", "b", "srg").n == 0


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_rows_are_kept_up_to_the_limit_and_sums_beyond(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(poisson_bootstrap, "EXACT", 1000)
    edges = list(itertools.pairwise(range(0, 1200, 100)))
    few = merging.merge(part(VALUES, *edge) for edge in edges[:10])
    assert few.ranges == () and few.per_image().equals(part(VALUES, 0, 1000).per_image())
    many = merging.merge(part(VALUES, *edge) for edge in edges)
    assert many.ranges == ((0, 1100),) and many.protocol.pictures == 1100
    assert all(isinstance(state, SumState) for state in many.states.values())
    assert many.interval("a", "srg").value == pytest.approx(
        float(VALUES["a", "srg"][:1100].mean()), rel=1e-12
    )
    assert few.merge(part(VALUES, 1000, 1100)).ranges == ((0, 1100),)
    assert [record.seconds for record in many.methods] == [1.0, 1.0, 1.0]


def test_a_picture_or_a_position_that_is_there_twice_is_refused() -> None:
    one = part(VALUES, 0, 600)
    with pytest.raises(EvaluationError, match="600 pictures are in both shards"):
        merging.merge([one, one], rows=1000)
    with pytest.raises(EvaluationError, match="from position 500 to 599"):
        one.summed().merge(part(VALUES, 500, 700).summed(500))
    with pytest.raises(EvaluationError, match="from position 0 to 599"):
        one.summed().merge(one.summed())


def test_what_needs_rows_is_refused_in_one_line() -> None:
    for ask in (SUMS.per_image, SUMS.states["a", "srg"].per_image):
        with pytest.raises(EvaluationError, match="2300 pictures keeps sums, no rows") as refused:
            ask()
        assert "\n" not in str(refused.value)
    other = part(VALUES, 0, COUNT)
    names = {"a": "d", "b": "e", "c": "f"}
    renamed = Leaderboard(
        other.protocol,
        [MethodRecord(names[record.name]) for record in other.methods],
        ["mass"],
        {
            (names[method], metric): state
            for (method, metric), state in other.states.items()
            if metric == "mass"
        },
    )
    with pytest.raises(
        EvaluationError, match="'mass' with values on other pictures cannot be joined on sums"
    ):
        SUMS.join(renamed.summed())
    with pytest.raises(EvaluationError, match="cannot be joined on sums"):
        SUMS.join(renamed)


def test_methods_of_two_boards_on_sums_are_compared_where_they_have_the_same_pictures() -> None:
    def only(names: tuple[str, ...]) -> Leaderboard:
        return Leaderboard(
            WHOLE.protocol,
            [MethodRecord(name) for name in names],
            ["srg"],
            {(name, "srg"): WHOLE.states[name, "srg"] for name in names},
        )

    joined = only(("a",)).summed().join(only(("b", "c")).summed())
    found, expected = joined.difference("a", "b", "srg"), SUMS.difference("a", "b", "srg")
    assert (found.low, found.high, found.p) == pytest.approx(
        (expected.low, expected.high, expected.p), rel=1e-8
    )


def test_it_is_saved_and_read_back(tmp_path: Path) -> None:
    WHOLE.save(tmp_path / "board")
    assert (tmp_path / "board" / "per_image.parquet").is_file()
    again = Leaderboard.load(SUMS.save(tmp_path / "board"))
    assert not (tmp_path / "board" / "per_image.parquet").exists(), "that of the board before"
    assert bits(again) == bits(SUMS) and again.ranges == SUMS.ranges
    assert again.to_pandas().equals(SUMS.to_pandas()) and again.compare("mass").equals(SUMS.compare("mass"))
    assert again.merge(part(scores(9000), COUNT, 3000)).ranges == ((0, 3000),)


def test_curves_have_means_and_bands() -> None:
    rows, sums = (board.curves["b", "lif"] for board in (WHOLE, SUMS))
    assert isinstance(sums, CurveSums)
    assert np.allclose(rows.mean(), sums.mean(), rtol=1e-12) and sums.start == pytest.approx(rows.start)
    for one, other in zip(rows.band(0), sums.band(0), strict=True):
        width = (rows.band(0)[1] - rows.band(0)[0]).max()
        assert np.abs(one - other).max() < 0.15 * width


def test_the_page_says_where_p_comes_from_and_shows_pictures() -> None:
    boards = []
    for start in range(0, 1200, 100):
        board = part(VALUES, start, start + 100)
        keys = board.states["a", "srg"].keys  # type: ignore[union-attr]
        board.pictures = {key: np.full((8, 8, 3), 7, np.uint8) for key in keys}
        board.maps = {(name, key): np.eye(4, dtype=np.float32) for name in METHODS for key in keys}
        boards.append(board)
    rows, sums = merging.merge(boards), merging.merge(boards, rows=0)
    assert set(rows.pictures) == set(sums.pictures) and len(sums.pictures) <= 8 * len(METHODS)
    page, plain = sums.to_html(), rows.to_html()
    assert "1,000 bootstrap samples" in page and "sign flips" in plain and "sign flips" not in page
    best = sums.ranking("srg")[0 if sums.ranking("srg")[0] != "c" else 1]
    state = sums.states[best, "srg"]
    assert state.values_of(sums.pictures) == rows.states[best, "srg"].values_of(rows.pictures)
    for key in state.values_of(sums.pictures):
        assert (key in page) == (key in plain)
    assert "<table" in sums._repr_html_()
    assert list(sums.rank_stability("srg")["method"]) == sums.ranking("srg")


def test_sets_of_positions() -> None:
    whole = where_of(np.arange(100, dtype=np.uint64))
    parts = where_of(np.arange(40, dtype=np.uint64)), where_of(np.arange(40, 100, dtype=np.uint64))
    assert sum(parts) % 2**64 == whole and len({whole, *parts}) == 3
    assert where_of(np.zeros(0, np.uint64)) == 0 != where_of(np.zeros(1, np.uint64))
    # splitmix64 with the seed 0 begins so.
    assert where_of(np.zeros(1, np.uint64)) == 0xE220A8397B1DCDAF


def test_memory_does_not_grow_with_the_pictures() -> None:
    """200,000 pictures in shards of 4,096: what is held is no more after them than after the first few."""
    count, size = 200_000, 4096

    def shards() -> Iterator[Leaderboard]:
        for start in range(0, count, size):
            stop = min(count, start + size)
            keys = [f"{index:07d}" for index in range(start, stop)]
            source = torch.Generator().manual_seed(start)
            states = {}
            for method, metric in itertools.product(METHODS, METRICS):
                states[method, metric] = Metric(metric)
                states[method, metric].update_rows(
                    keys, statistics_of(torch.rand(len(keys), generator=source))
                )
            recipe = Recipe("evaluate", count=len(keys))
            records = [MethodRecord(name) for name in METHODS]
            yield Leaderboard(vs.Protocol(recipe=recipe), records, list(METRICS), states)

    merging.merge(itertools.islice(shards(), 2), rows=0)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = merging.merge(shards())
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert grown < 200, f"{grown:.0f} MiB"
    assert found.ranges == ((0, count),) and found.interval("a", "mass").n == count
    assert found.interval("a", "mass").value == pytest.approx(0.5, abs=0.003)
    assert sum(state.sums.samples.high.numel() for state in found.states.values()) == 6 * 2000  # type: ignore[union-attr]
