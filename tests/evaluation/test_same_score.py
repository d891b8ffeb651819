"""The same picture, model, target and options give the same score: in a batch or alone, first or last, in one thread or
four."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch

import vitscope as vs
from vitscope.evaluation import EvaluationSet

from .conftest import random_vit

METHODS = ["gmar", "dart:refined=2", "rise:masks=4"]
METRICS = [
    "srg", "mrg", "deletion-patch", "infidelity", "road", "class-sensitivity", "max-sensitivity", "smprt", "mass",
    "saco", "positive-perturbation",
]  # fmt: skip
PROTOCOL = vs.Protocol(steps=4, random_draws=2)
Scores = dict[tuple[str, str, str], float]
COUNT = 4
LOOSE = {"road": 0.1}
"""Where patches of nearly equal relevance change places, what is painted over them changes too: on some processors the
last bits of a map depend on the size of its batch, and ROAD's imputed pictures follow."""
TIED = ("rise:masks=4", "road")
"""Of four masks many patches are nearly tied, so ROAD's order of them hangs on the last bits of the logits."""


def pictures() -> EvaluationSet:
    source = torch.Generator().manual_seed(3)
    images = torch.randn(COUNT, 3, 32, 32, generator=source)
    masks = torch.rand(COUNT, 32, 32, generator=source) > 0.8
    return EvaluationSet(list(images), [f"p{i}" for i in range(COUNT)], [0, 1, 2, 3], list(masks))


def reordered(data: EvaluationSet, order: list[int]) -> EvaluationSet:
    assert data.labels is not None and data.masks is not None
    return EvaluationSet(
        *([values[i] for i in order] for values in (data.pictures, data.keys, data.labels, data.masks))
    )


def scores(data: EvaluationSet, **more: Any) -> Scores:
    vit = random_vit(32, embed_dim=24, depth=2, num_heads=3, num_classes=5)
    board = vs.evaluate(
        vit,
        data,
        None,
        METHODS,
        METRICS,
        PROTOCOL,
        controls=("random", "inverse"),
        keep_pictures=False,
        **more,
    )
    table = board.per_image()
    return {
        (row.key, row.method, row.metric): row.value  # type: ignore[misc]
        for row in table.itertuples()
    }


@pytest.fixture(scope="module")
def alone() -> Scores:
    """Each picture in a call of its own."""
    data, found = pictures(), {}
    for index in range(COUNT):
        found.update(scores(data.part(index, index + 1)))
    return found


@pytest.fixture
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def check(found: Scores, alone: Scores) -> None:
    assert found.keys() == alone.keys()
    wrong = {
        place: (found[place], alone[place])
        for place in alone
        if place[1:] != TIED
        and found[place]
        != pytest.approx(
            alone[place], rel=LOOSE.get(place[2], 1e-4), abs=1e-2 * LOOSE.get(place[2], 1e-3), nan_ok=True
        )
    }
    assert not wrong
    # A row of n/a would be equal to anything.
    assert sum(value == value for value in alone.values()) > 0.8 * len(alone)


def test_in_a_batch(alone: Scores) -> None:
    check(scores(pictures(), batch_size=3, perturbed_batch_size=7), alone)


def test_first_or_last(alone: Scores) -> None:
    check(scores(reordered(pictures(), [3, 1, 0, 2]), batch_size=3), alone)


@pytest.mark.parametrize("count", [1, 4])
def test_in_one_thread_or_four(alone: Scores, threads: None, count: int) -> None:
    torch.set_num_threads(count)
    check(scores(pictures(), batch_size=8), alone)


def test_another_name_has_other_draws(alone: Scores) -> None:
    """Equal draws are no accident: they hang on the picture's name and the seed, and on nothing else."""
    data = pictures().part(0, 1)
    renamed = EvaluationSet(data.pictures, ["q"], data.labels, data.masks)
    found = scores(renamed)
    place = ("random", "srg")
    assert found["q", *place] != pytest.approx(alone["p0", *place])
    assert found["q", "gmar", "mass"] == pytest.approx(alone["p0", "gmar", "mass"])
