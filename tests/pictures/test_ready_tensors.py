"""Ready tensors that lie on a device: named in few transfers, by the same ids as one by one on the CPU."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from vitscope.pictures import identity, picture_source
from vitscope.pictures.identity import id_of_values, ids_on_devices

EVERYWHERE = frozenset({"meta"})
"""Takes the CPU for a device, so that what is done for one is tried on a machine without."""


def tensors(count: int, *shape: int) -> list[Tensor]:
    return list(torch.randn(count, *shape, generator=torch.Generator().manual_seed(0)))


def test_ids_of_many_are_those_of_each() -> None:
    items: list[object] = [
        *tensors(3, 3, 4, 5),
        "a path",
        *tensors(2, 3, 6, 6),
        tensors(1, 3, 4, 5)[0].half(),
    ]
    items.append(torch.zeros(3, 4, 5, dtype=torch.uint8))
    found = ids_on_devices(items, EVERYWHERE)
    assert sorted(found) == [0, 1, 2, 4, 5, 6]
    assert all(found[index] == id_of_values(items[index]) for index in found)


def test_few_at_a_time_gives_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    items = tensors(7, 3, 4, 5)
    whole = ids_on_devices(items, EVERYWHERE)
    monkeypatch.setattr(identity, "_TOGETHER", 2 * items[0].numel() * 4)
    assert [len(group) for group in identity._alike(items, EVERYWHERE)] == [2, 2, 2, 1]
    assert ids_on_devices(items, EVERYWHERE) == whole


def test_values_that_are_not_finite_are_left_to_the_check_of_each() -> None:
    items = tensors(3, 3, 4, 5)
    items[1][0, 0, 0] = torch.nan
    assert ids_on_devices(items, EVERYWHERE) == {}


def test_what_lies_near_is_read_where_it_is() -> None:
    items = tensors(2, 3, 4, 5)
    assert ids_on_devices(items) == {}
    assert list(picture_source(torch.stack(items)).ids) == [id_of_values(item) for item in items]


def test_a_tensor_that_was_found_sound_is_not_looked_through_again(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[tuple[int, ...]] = []
    monkeypatch.setattr(
        "vitscope.pictures.source.check_tensor", lambda image: looked.append(tuple(image.shape)) or image
    )
    source = picture_source(torch.stack(tensors(4, 3, 4, 5)))
    assert len(source.ids) == len(list(source.read())) == 4
    assert looked == [(3, 4, 5)] * 4


def test_ids_that_are_known_are_not_brought_over_again(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def counted(items: list[object]) -> dict[int, str]:
        asked.append(len(items))
        return ids_on_devices(items, EVERYWHERE)

    monkeypatch.setattr("vitscope.pictures.source.ids_on_devices", counted)
    source = picture_source(torch.stack(tensors(3, 3, 4, 5)))
    assert source.ids == source.ids == [id_of_values(item) for item in tensors(3, 3, 4, 5)]
    assert asked == [3]
