"""Any split of the pictures, in any order: every metric gives what it gives on the whole."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from functools import cache
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import vitscope as vs
from vitscope.errors import EvaluationError
from vitscope.evaluation import EvaluationSet, Leaderboard, Metric, MetricInfo, all_metrics
from vitscope.evaluation.running.checkpoint import Evaluation
from vitscope.evaluation.running.mosaics import mosaics_of
from vitscope.evaluation.running.plan import Plan
from vitscope.evaluation.running.recipe import bind
from vitscope.evaluation.running.subjects import contestants
from vitscope.progress import CountedStage
from vitscope.tracing.recipe import model_identity

from .conftest import random_vit

COUNT = 3
PROTOCOL = vs.Protocol(steps=3, random_draws=2, target="label")


def pictures(count: int = COUNT) -> EvaluationSet:
    source = torch.Generator().manual_seed(5)
    images = torch.randn(4, 3, 32, 32, generator=source)
    masks = torch.rand(4, 32, 32, generator=source) > 0.8
    boxes = [
        [(2.0, 3.0, 20.0, 12.0)],
        [(10.0, 1.0, 30.0, 26.0), (0.0, 0.0, 6.0, 6.0)],
        [],
        [(0.0, 8.0, 32.0, 16.0)],
    ]
    whole = EvaluationSet(list(images), ["d", "a", "c", "b"], [0, 1, 2, 3], list(masks), boxes)
    return whole.part(0, count)


class Runs:
    """One analysis of the pictures, each range of them run once; batches of one, so that every cut has the same."""

    def __init__(self, infos: list[MetricInfo], data: EvaluationSet, target: str | int) -> None:
        self.vit = random_vit(32, embed_dim=24, depth=2, num_heads=3, num_classes=5)
        self.data = data
        rows = contestants(self.vit, ["dart"], {}, ["random"])
        protocol = vs.Protocol(steps=3, random_draws=2, target=target)
        first = next(data.batches(self.vit, 1)).images
        bound = bind(protocol, self.vit, model_identity(self.vit), data, rows, infos, first)
        plan = Plan(bound, rows, infos, batch_size=1)
        self.analysis = Evaluation(plan, CountedStage(None, "evaluating", len(data)))
        self.prepared = self.analysis.prepare(self.vit, data)
        self.run = cache(self._run)

    def _run(self, start: int, stop: int) -> Leaderboard:
        return self.analysis.decode(
            self.analysis.encode(self.analysis.run(self.prepared, self.data.part(start, stop)))
        )

    def merge(self, parts: Sequence[Leaderboard]) -> Leaderboard:
        return self.analysis.merge(self.prepared, parts)


@pytest.fixture(scope="module")
def direct() -> Runs:
    return Runs([info for info in all_metrics() if "mosaics" not in info.requires], pictures(), "label")


@pytest.fixture(scope="module")
def mosaics() -> Runs:
    vit = random_vit(32, embed_dim=24, depth=2, num_heads=3, num_classes=5)
    infos = [info for info in all_metrics() if "mosaics" in info.requires]
    return Runs(infos, mosaics_of(vit, pictures(4), 0, 2).part(0, COUNT), "label")


def sorted_rows(state: Metric) -> torch.Tensor:
    return state.rows[torch.tensor(sorted(range(len(state.keys)), key=state.keys.__getitem__))]


def check(runs: Runs, cuts: set[int], order: list[int]) -> None:
    whole = runs.run(0, COUNT)
    edges = [0, *sorted(cuts), COUNT]
    parts = [runs.run(start, stop) for start, stop in itertools.pairwise(edges)]
    merged = runs.merge(parts)
    assert merged.protocol == whole.protocol and merged.evaluations == whole.evaluations
    assert merged.total_evaluations == whole.total_evaluations
    for place, state in whole.states.items():
        assert merged.states[place].keys == state.keys
        assert torch.equal(merged.states[place].rows, state.rows), place  # in shard order: the same bits
    for place, curve in whole.curves.items():
        assert torch.equal(merged.curves[place].values, curve.values), place
    shuffled = [parts[i] for i in order if i < len(parts)]
    mixed, folded = runs.merge(shuffled), shuffled[0]
    for part in shuffled[1:]:
        folded = folded.merge(part)
    for other in (mixed, folded):
        assert other.protocol == whole.protocol and other.total_evaluations == whole.total_evaluations
        assert other.states.keys() == whole.states.keys() and set(other.maps) == set(whole.maps)
        for place, state in whole.states.items():
            assert torch.equal(sorted_rows(other.states[place]), sorted_rows(state)), place
            one, two = other.interval(*place), whole.interval(*place)
            assert (one.value, one.low, one.high) == pytest.approx(
                (two.value, two.low, two.high), rel=1e-6, abs=1e-6, nan_ok=True
            ), place
            assert one.n == two.n


cuts = st.sets(st.integers(1, COUNT - 1))
orders = st.permutations(range(COUNT))
few = settings(max_examples=12, deadline=None)


@few
@given(cuts, orders)
def test_every_metric_of_any_split_is_that_of_the_whole(
    direct: Runs, cuts: set[int], order: list[int]
) -> None:
    check(direct, cuts, order)


@few
@given(cuts, orders)
def test_mosaics_of_any_split_are_those_of_the_whole(mosaics: Runs, cuts: set[int], order: list[int]) -> None:
    check(mosaics, cuts, order)


def test_every_metric_had_a_value(direct: Runs, mosaics: Runs) -> None:
    """What is tested above is not a table of n/a."""
    families = {info.family for info in all_metrics()}
    boards = [runs.run(0, COUNT) for runs in (direct, mosaics)]
    valued = {
        state.info.family for board in boards for (method, _), state in board.states.items()
        if method == "dart" and state.compute() == state.compute()
    }  # fmt: skip
    assert families == valued


def test_mosaics_of_other_pictures_do_not_mix() -> None:
    """Two halves evaluated apart have mosaics of their own pictures, so they are not the whole's."""
    vit = random_vit(32, embed_dim=24, depth=2, num_heads=3, num_classes=5)
    images = torch.randn(8, 3, 32, 32, generator=torch.Generator().manual_seed(5))
    labels, boards = [0, 1, 2, 3, 4, 0, 1, 2], []
    for part in (slice(0, 4), slice(4, 8)):
        boards.append(
            vs.evaluate(vit, images[part], labels[part], ["daam"], ["grid-pointing"], PROTOCOL, controls=())
        )
    with pytest.raises(EvaluationError, match="mosaics of"):
        boards[0].merge(boards[1])


def test_a_metric_adds_many_shards_in_linear_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each key is looked up a fixed number of times, however many shards came before."""

    class Counted(str):
        looked = 0

        def __hash__(self) -> int:
            Counted.looked += 1
            return super().__hash__()

    def shard(index: int) -> Metric:
        state = Metric("srg")
        state.update_rows([Counted(f"{index}/{i}") for i in range(5)], torch.ones(5, 2))
        return state

    costs = []
    for count in (50, 200):
        whole, Counted.looked = Metric("srg"), 0
        for index in range(count):
            whole.merge(shard(index))
        assert len(whole.keys) == 5 * count and whole.compute() == 1
        costs.append(Counted.looked / count)
    assert costs[1] <= costs[0] * 1.1
    with pytest.raises(EvaluationError, match="in both shards"):
        whole.merge(shard(7))
    whole.update_rows(["new"], torch.ones(1, 2))
    other: Any = Metric("srg")
    other.update_rows(["new"], torch.ones(1, 2))
    with pytest.raises(EvaluationError, match="in both shards"):
        whole.merge(other)
