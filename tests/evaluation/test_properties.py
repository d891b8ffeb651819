"""What must hold for any picture and any map."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vitscope.evaluation import Protocol, all_metrics, get_metric
from vitscope.evaluation.case import Case, Subject
from vitscope.evaluation.removal.curves import kept_patches, ranks_of, removal_order
from vitscope.evaluation.removal.perturbation import Perturber
from vitscope.models.preparing.cells import Cells

from .conftest import CLASSES, SIZE, AdditiveModel, MakeCase, subject_of

seeds = st.integers(0, 10_000)
quick = settings(max_examples=20, deadline=None)


def batch(seed: int, count: int = 4, **chosen: Any) -> tuple[AdditiveModel, Case]:
    model = AdditiveModel(seed)
    source = torch.Generator().manual_seed(seed)
    images = torch.randn(count, 3, SIZE, SIZE, generator=source)
    classes = model(images, None).argmax(1)
    runner = Perturber(
        model,
        images,
        classes,
        Cells.even(model.grid, (SIZE, SIZE)),
        Protocol(**{"steps": 8, "random_draws": 2, **chosen}),
    )
    masks = torch.rand(count, SIZE, SIZE, generator=source) > 0.6
    return model, Case(runner, [f"{seed}-{i}" for i in range(count)], classes, masks, class_count=CLASSES)


def score(name: str, case: Case, maps: torch.Tensor) -> torch.Tensor:
    values = get_metric(name).function(Subject(case, "p", maps, signed=True))
    assert values is not None
    return values.double()


@quick
@given(seeds)
def test_the_true_contributions_are_beaten_by_no_map(seed: int) -> None:
    model, case = batch(seed, steps=16)
    truth = model.contributions(case.images, case.classes)
    best = score("srg", case, truth)
    for rival in (
        truth.abs(),
        -truth,
        truth.flip(-1),
        torch.rand(truth.shape, generator=torch.Generator().manual_seed(seed)),
    ):
        assert bool((score("srg", case, rival) <= best + 1e-5).all())
        assert bool((score("mif", case, rival) >= score("mif", case, truth) - 1e-5).all())
        assert bool((score("lif", case, rival) <= score("lif", case, truth) + 1e-5).all())
    assert bool((score("saco", case, truth) > 1 - 1e-9).all())
    assert bool((score("leave-one-out", case, truth) > 1 - 1e-9).all())
    assert bool((score("mu-fidelity", case, truth) > 0.98).all())
    assert bool((score("infidelity", case, truth) < 1e-6).all())
    assert bool((score("conservation", case, truth) < 1e-4).all())


@quick
@given(seeds)
def test_minus_a_map_has_minus_the_gain(seed: int) -> None:
    _, case = batch(seed)
    maps = torch.randn(4, 4, 4, generator=torch.Generator().manual_seed(seed))
    for name in ("srg", "leave-one-out", "mu-fidelity"):
        assert torch.allclose(score(name, case, maps), -score(name, case, -maps), atol=1e-5), name


@quick
@given(seeds, st.floats(1e-3, 1e3), st.integers(-9, 9))
def test_positive_scaling_changes_nothing(seed: int, factor: float, power: int) -> None:
    """Any factor for what is measured on patches; powers of two on pixels, where another factor would round the
    ties that bilinear upsampling makes at the border in another way."""
    _, case = batch(seed)
    maps = torch.randn(4, 4, 4, generator=torch.Generator().manual_seed(seed)).double()
    for info in all_metrics():
        if set(info.requires) - {"labels", "masks"} or info.family == "completeness":
            continue
        on_patches = info.family in ("removal", "single deletion", "saco", "subsets", "complexity")
        scaled = maps * (factor if on_patches else 2.0**power)
        first, second = score(info.name, case, maps), score(info.name, case, scaled)
        assert torch.allclose(first, second, atol=1e-5, equal_nan=True), info.name


def test_a_constant_map_gains_nothing_on_average() -> None:
    """Ties are broken at random: over 300 pictures the mean gain is within three standard errors of 0."""
    _, case = batch(3, count=300)
    gains = score("srg", case, torch.zeros(300, 4, 4))
    assert abs(float(gains.mean())) < 3 * float(gains.std()) / 300**0.5
    assert float(gains.std()) > 0.1, "an order by index would be the same for all pictures"
    random = torch.stack([score("srg", case, subject.maps) for subject in case.random_subjects()]).mean(0)
    assert abs(float(random.mean())) < 3 * float(random.std()) / 300**0.5


@quick
@given(seeds, st.integers(1, 40))
def test_orders_and_masks(seed: int, patches: int) -> None:
    source = torch.Generator().manual_seed(seed)
    maps = torch.randint(0, 4, (3, patches), generator=source).float()
    order = removal_order(maps, ["a", "b", "c"], seed)
    assert bool((order.sort(1).values == torch.arange(patches)).all())
    assert bool((maps.gather(1, order).diff(dim=1) <= 0).all())
    assert bool((ranks_of(order).gather(1, order) == torch.arange(patches)).all())
    keep = kept_patches(order, [0, patches // 2, patches])
    assert keep.sum(2).tolist() == [[patches, patches - patches // 2, 0]] * 3
    # A picture's order does not depend on its neighbours in the batch.
    alone = removal_order(maps[1:2], ["b"], seed)
    assert torch.equal(alone[0], order[1])
    assert torch.equal(removal_order(maps, ["a", "b", "c"], seed), order)


def test_ties_differ_between_pictures_and_seeds() -> None:
    flat = torch.zeros(2, 64)
    order = removal_order(flat, ["a", "b"], 0)
    assert not torch.equal(order[0], order[1])
    assert not torch.equal(order, removal_order(flat, ["a", "b"], 1))


@pytest.mark.parametrize("name", ["deletion", "insertion", "deletion-patch", "insertion-patch", "road"])
def test_the_opposite_map_is_at_the_other_side(make_case: MakeCase, name: str) -> None:
    """On the additive model the truth deletes faster and inserts faster than its opposite."""
    case = make_case(20)
    model = AdditiveModel()
    truth = model.contributions(case.images, case.classes)
    good = get_metric(name).function(subject_of(case, maps=truth))
    bad = get_metric(name).function(subject_of(case, maps=-truth))
    assert good is not None
    assert bad is not None
    better = good > bad if get_metric(name).higher_is_better else good < bad
    assert float(better.float().mean()) > 0.9
