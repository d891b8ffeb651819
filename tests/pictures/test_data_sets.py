"""Data sets of torch, their loaders and generators work everywhere as pictures do, also those that answer any slice."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import ConcatDataset, DataLoader, Dataset, IterableDataset, Subset, TensorDataset

import vitscope as vs
from vitscope.pictures import held

SAMPLE = vs.worlds.world("shapes").sample(3, seed=1)
LABELS = [int(label) for label in SAMPLE.labels]


@pytest.fixture(scope="module")
def vit() -> vs.Vit:
    return vs.open_model("bundled/shapes")


@pytest.fixture(scope="module")
def inputs(vit: vs.Vit) -> Tensor:
    ready: Tensor = vit.images(SAMPLE.images())
    return ready


class Endless(Dataset[Any]):
    """A data set as most are: it has a length and never raises IndexError, so that iterating it never ends."""

    def __init__(self, items: list[Any]) -> None:
        self.items, self.asked = items, 0

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Any:
        self.asked += 1
        assert self.asked < 200, "read for ever"
        return self.items[index % len(self.items)]


class Stream(IterableDataset[Any]):
    def __init__(self, items: list[Any]) -> None:
        self.items = items

    def __iter__(self) -> Iterator[Any]:
        return iter(self.items)


FORMS: dict[str, Callable[[Tensor], Any]] = {
    "data set": lambda x: Endless(list(x)),
    "data set of pairs": lambda x: Endless([(each, n) for each, n in zip(x, LABELS, strict=True)]),
    "data set of Pillow pairs": lambda x: Endless(list(zip(SAMPLE.images(), LABELS, strict=True))),
    "data set of records": lambda x: Endless(
        [{"pixel_values": each, "label": n} for each, n in zip(x, LABELS, strict=True)]
    ),
    "TensorDataset": lambda x: TensorDataset(x, torch.tensor(LABELS)),
    "TensorDataset without labels": lambda x: TensorDataset(x),
    "data sets behind each other": lambda x: ConcatDataset([TensorDataset(x[:1]), TensorDataset(x[1:])]),
    "Subset": lambda x: Subset(Endless([*x, *x]), [0, 1, 2]),
    "loader": lambda x: DataLoader(Endless(list(x)), batch_size=2),
    "loader of pairs": lambda x: DataLoader(TensorDataset(x, torch.tensor(LABELS)), batch_size=2),
    "stream": lambda x: Stream(list(x)),
    "loader of a stream": lambda x: DataLoader(Stream(list(x)), batch_size=2),
    "generator": lambda x: (each for each in x),
}
QUICK = vs.Protocol(removal="drop", steps=2, random_draws=1)


@pytest.fixture(scope="module")
def expected(vit: vs.Vit, inputs: Tensor) -> tuple[Tensor, Any, float]:
    """What the ready tensor gives: maps, how far heads look, a score."""
    board = vs.evaluate(vit, inputs, methods=["rollout"], protocol=QUICK, controls=())
    profile = vs.heads.strength(vit, inputs)["expected_distance"]
    return vs.explain(vit, inputs, "rollout").maps, profile, board.interval("rollout", "srg").value


@pytest.mark.parametrize("form", FORMS)
def test_explain_evaluate_and_heads_take_it(
    vit: vs.Vit, inputs: Tensor, expected: tuple[Tensor, Any, float], form: str
) -> None:
    make = FORMS[form]
    maps, profile, score = expected
    assert torch.allclose(vs.explain(vit, make(inputs), "rollout").maps, maps, atol=1e-6)
    assert np.allclose(vs.heads.strength(vit, make(inputs))["expected_distance"], profile, atol=1e-6)
    board = vs.evaluate(vit, make(inputs), methods=["rollout"], protocol=QUICK, controls=())
    assert board.interval("rollout", "srg").value == pytest.approx(score, rel=1e-4)


@pytest.mark.parametrize(
    "form", ["data set of pairs", "data set of records", "TensorDataset", "loader of pairs"]
)
def test_labels_that_come_with_the_pictures_are_used(vit: vs.Vit, inputs: Tensor, form: str) -> None:
    asked = vs.Protocol(removal="drop", steps=2, random_draws=1, target="label")
    made = [
        vs.evaluate(vit, images, labels, methods=["rollout"], protocol=asked, controls=())
        for images, labels in ((FORMS[form](inputs), None), (inputs, LABELS))
    ]
    first, second = (board.interval("rollout", "srg").value for board in made)
    assert first == pytest.approx(second, rel=1e-4)


def test_labels_with_some_pictures_only_are_refused(vit: vs.Vit, inputs: Tensor) -> None:
    some = Endless([(inputs[0], 1), inputs[1]])
    asked = vs.Protocol(removal="drop", steps=2, random_draws=1, target="label")
    with pytest.raises(vs.errors.EvaluationError, match="some of the pictures only; pass labels="):
        vs.evaluate(vit, some, methods=["rollout"], protocol=asked)


class WithoutLength(Dataset[Any]):
    def __getitem__(self, index: int) -> Any:
        raise AssertionError("read without knowing when to stop")


class Failing(Dataset[Any]):
    """A data set as it is when one file of many is damaged."""

    def __init__(self, items: list[Any], at: int) -> None:
        self.items, self.at = items, at

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Any:
        if index == self.at:
            raise RuntimeError("no such\nrecord")
        return self.items[index]


def test_what_has_no_end_or_no_length_is_refused_at_once(
    vit: vs.Vit, inputs: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(
        vs.errors.PictureError, match=r"WithoutLength has items, but no length; give it a __len__"
    ):
        vs.evaluate(vit, WithoutLength(), methods=["rollout"])
    one = inputs[0].nelement() * 4
    monkeypatch.setattr(held, "MOST_HELD", 5 * one)
    given = 0

    def endless() -> Iterator[Tensor]:
        nonlocal given
        for each in itertools.cycle(inputs):
            given += 1
            yield each

    class EndlessStream(IterableDataset[Any]):
        def __iter__(self) -> Iterator[Any]:
            return endless()

    for made in (endless(), EndlessStream(), DataLoader(EndlessStream(), batch_size=2)):
        given = 0
        with pytest.raises(
            vs.errors.PictureError, match=r"held in memory; pass a data set with \[i\] and len\(\)"
        ):
            vs.evaluate(vit, made, methods=["rollout"])
        assert 6 <= given <= 8


def test_a_loader_of_too_many_is_told_after_its_first_batch(
    vit: vs.Vit, inputs: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(held, "MOST_HELD", 5 * inputs[0].nelement() * 4)
    many = Endless([*inputs, *inputs])
    with pytest.raises(vs.errors.PictureError, match=r"pictures of this DataLoader .* pass its \.dataset"):
        vs.explain(vit, DataLoader(many, batch_size=2), "rollout")
    assert many.asked == 2
    assert vs.explain(vit, many, "rollout").maps.shape[0] == 6
    assert vs.explain(vit, [*inputs, *inputs], "rollout").maps.shape[0] == 6


def test_a_data_set_that_fails_is_told_and_can_be_skipped(vit: vs.Vit, inputs: Tensor) -> None:
    failing = Failing(list(inputs), at=1)
    with pytest.raises(vs.errors.PictureError) as told:
        vs.explain(vit, failing, "rollout")
    assert "Failing gives no item 1 (RuntimeError: no such record)" in str(told.value)
    assert isinstance(told.value.__cause__, RuntimeError)
    source = vs.pictures.picture_source(failing, skip=True)
    found = vs.explain(vit, source, "rollout")
    expected = vs.explain(vit, inputs[[0, 2]], "rollout")
    assert torch.allclose(found.maps, expected.maps, atol=1e-6) and list(source.skipped) == ["picture 1"]


def test_records_of_three_say_what_to_give(vit: vs.Vit, inputs: Tensor) -> None:
    triples = [(each, n, f"file {n}") for each, n in zip(inputs, LABELS, strict=True)]
    tensors = [(each, torch.tensor(n), f"file {n}") for each, n in zip(inputs, LABELS, strict=True)]
    for form in (Endless(triples), Endless(tensors), DataLoader(Endless(triples), batch_size=2), triples):
        with pytest.raises(
            vs.errors.PictureError, match=r"expected \(picture, label\).* got 3 values .*give the first"
        ):
            vs.explain(vit, form, "rollout")
