"""A model is called by its weights as they are now, whichever way they were changed."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch
from torch import nn

import vitscope as vs
from vitscope.errors import ModelError
from vitscope.models import fingerprint
from vitscope.models.opening.fingerprint import CurrentFingerprint, bit_sums, content_check

MODULE = sys.modules[
    "vitscope.models.opening.fingerprint"
]  # the room hands on the function under the same name


def build() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))


def step(module: nn.Module) -> None:
    optimiser = torch.optim.SGD(module.parameters(), lr=0.1)
    module(torch.ones(2, 3)).sum().backward()
    optimiser.step()


def write_to_data(module: nn.Module) -> None:
    module[0].weight.data[0, 0] += 1e-6  # type: ignore[index, union-attr]


def write_through_numpy(module: nn.Module) -> None:
    module[2].bias.detach().numpy()[1] = np.float32(7)  # type: ignore[union-attr]


def load_in_place(module: nn.Module) -> None:
    torch.manual_seed(1)
    module.load_state_dict(nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2)).state_dict())


def new_parameter(module: nn.Module) -> None:
    module[2].bias = nn.Parameter(torch.full((2,), 0.25))  # type: ignore[union-attr]


def swap_rows(module: nn.Module) -> None:
    module[0].weight.data = module[0].weight.data[[1, 0, 2, 3]].clone()  # type: ignore[union-attr, index]


def buffer(module: nn.Module) -> None:
    module[1].running_mean.add_(1.0)  # type: ignore[union-attr, operator]


CHANGES = [step, write_to_data, write_through_numpy, load_in_place, new_parameter, swap_rows, buffer]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_every_way_of_changing_weights_is_seen_and_undone(change) -> None:  # type: ignore[no-untyped-def]
    module, current = build(), CurrentFingerprint()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    first = current.of(module)
    assert first == fingerprint(module) == current.of(module)
    change(module)
    assert current.of(module) == fingerprint(module) != first
    module.load_state_dict(before)
    assert current.of(module) == first


def test_a_whole_pass_over_the_bytes_is_made_only_after_a_change(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    monkeypatch.setattr(MODULE, "fingerprint", lambda module: made.append(1) or fingerprint(module))
    module, current = build(), CurrentFingerprint()
    assert current.of(module) == current.of(module) and len(made) == 1
    write_to_data(module)
    assert current.of(module) == current.of(module) and len(made) == 2


def by_hand(value: torch.Tensor) -> list[int]:
    raw = value.contiguous().numpy().tobytes()
    raw += bytes(-len(raw) % 8)
    words = np.frombuffer(raw, dtype=np.uint64)
    sums = []
    for factor in (-7046029254386353131, -4417276706812531889):
        total = 0
        for place, word in enumerate(words.tolist(), start=1):
            mixed = place * factor % 2**64
            signed = mixed - 2**64 if mixed >= 2**63 else mixed
            mixed = ((signed ^ (signed >> 29)) | 1) % 2**64
            total = (total + word * mixed) % 2**64
        sums.append(total - 2**64 if total >= 2**63 else total)
    return sums


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.int8, torch.bool, torch.float64])
@pytest.mark.parametrize("size", [0, 1, 7, 8, 37])
def test_sums_of_bits_are_those_by_hand(dtype: torch.dtype, size: int) -> None:
    value = torch.randn(size, generator=torch.Generator().manual_seed(size)).mul(3).to(dtype)
    assert bit_sums([value]).tolist() == by_hand(value)


def test_sums_of_bits_in_chunks_are_those_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    value = torch.randn(1000, generator=torch.Generator().manual_seed(0))
    monkeypatch.setattr(MODULE, "_AT_ONCE", 64)
    assert bit_sums([value]).tolist() == by_hand(value)


def test_sums_of_several_tensors_are_those_of_their_bytes_in_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(0)
    values = [
        torch.randint(-9, 9, (size,), generator=generator, dtype=torch.int8) for size in (3, 0, 17, 64, 40)
    ]
    whole = torch.cat(values)
    assert bit_sums(values).tolist() == by_hand(whole)
    monkeypatch.setattr(MODULE, "_AT_ONCE", 16)
    assert bit_sums(values).tolist() == by_hand(whole)


def test_sums_of_bits_see_what_plain_sums_do_not() -> None:
    value = torch.arange(64, dtype=torch.float32).view(8, 8)
    marks = {
        tuple(bit_sums([each.contiguous()]).tolist())
        for each in (value, value.T, value.flip(0), value.flip(1))
    }
    assert len(marks) == 4
    for place in range(64):
        for bit in (1, 1 << 20, -(1 << 31)):
            changed = value.clone().view(torch.int32)
            changed.view(-1)[place] ^= bit
            assert bit_sums([changed]).tolist() != bit_sums([value]).tolist()


def test_weights_without_values_are_refused() -> None:
    with pytest.raises(ModelError, match="no values yet"):
        content_check(nn.Linear(2, 2, device="meta"))


def test_an_opened_model_is_called_by_what_it_is_now() -> None:
    vit = vs.open_model("bundled/shapes")
    before = vit.fingerprint
    weight = next(vit.model.parameters())
    weight.data[0] *= 1.5
    assert vit.fingerprint == fingerprint(vit.model) != before
