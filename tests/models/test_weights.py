"""Weights files: safe, forgiving about wrappers, exact about what does not fit."""

from __future__ import annotations

import argparse
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from vitscope.errors import WeightsError
from vitscope.models.opening.weight_files import read_weights
from vitscope.models.opening.weights import load_weights, without_prefix


class Small(nn.Module):
    def __init__(self, classes: int = 5, width: int = 4) -> None:
        super().__init__()
        self.body = nn.Linear(3, width)
        self.pos_embed = nn.Parameter(torch.zeros(1, 7, width))
        self.head = nn.Linear(width, classes)


@pytest.fixture
def state() -> dict[str, torch.Tensor]:
    torch.manual_seed(3)
    return {name: torch.randn_like(value) for name, value in Small().state_dict().items()}


def refused(*arguments: Any, **options: Any) -> str:
    with pytest.raises(WeightsError) as caught:
        load_weights(*arguments, model="small", **options)
    assert "\n" not in str(caught.value) and ";" in str(caught.value)
    return str(caught.value)


def fits(module: nn.Module, state: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(value, state[name]) for name, value in module.state_dict().items())


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".bin", ".ckpt", ".tar"])
@pytest.mark.parametrize(
    "wrap", [(), ("model",), ("state_dict",), ("checkpoint", "model"), ("module", "state_dict")]
)
def test_checkpoints_and_wrappers(
    tmp_path: Path, state: dict[str, torch.Tensor], suffix: str, wrap: tuple[str, ...]
) -> None:
    content: dict[str, Any] = dict(state)
    for key in reversed([key for key in wrap if key != "checkpoint"]):
        content = {"epoch": 3, "optimizer": {"lr": 0.1}, key: content}
    torch.save(content, tmp_path / f"weights{suffix}")
    module = Small()
    load_weights(module, tmp_path / f"weights{suffix}", model="small")
    assert fits(module, state)


def test_safetensors_in_half_precision(tmp_path: Path, state: dict[str, torch.Tensor]) -> None:
    half = {name: value.half() for name, value in state.items()}
    save_file(half, tmp_path / "half.safetensors")
    module = Small()
    load_weights(module, str(tmp_path / "half.safetensors"), model="small")
    assert module.head.weight.dtype == torch.float32
    assert fits(module, {name: value.float() for name, value in half.items()})


@pytest.mark.parametrize("prefix", ["module.", "model.", "_orig_mod.", "module.model.", "student.backbone."])
def test_prefixes_come_off(state: dict[str, torch.Tensor], prefix: str) -> None:
    module = Small()
    load_weights(module, {prefix + name: value for name, value in state.items()}, model="small")
    assert fits(module, state)


def test_a_prefix_that_belongs_to_the_model_stays(state: dict[str, torch.Tensor]) -> None:
    wrapped = {f"model.{name}": value for name, value in state.items()}
    assert without_prefix(wrapped, wrapped) == wrapped


def test_pickles_with_code_are_refused(tmp_path: Path, state: dict[str, torch.Tensor]) -> None:
    touched = tmp_path / "touched"

    class Evil:
        def __reduce__(self) -> Any:
            return (Path.touch, (touched,))

    for name, content in {
        "evil.pth": {"model": state, "more": Evil()},
        "namespace.pth": {"model": state, "args": argparse.Namespace(lr=1)},
        "module.pt": Small(),
    }.items():
        torch.save(content, tmp_path / name)
        message = refused(Small(), tmp_path / name)
        assert "could run code" in message and ".safetensors" in message
    assert "argparse.Namespace" in refused(Small(), tmp_path / "namespace.pth")
    with (tmp_path / "plain.bin").open("wb") as stream:
        pickle.dump(Evil(), stream)
    refused(Small(), tmp_path / "plain.bin")
    assert not touched.exists()


def test_torchscript_archives_are_refused(tmp_path: Path) -> None:
    torch.jit.script(nn.Linear(2, 2)).save(tmp_path / "scripted.pt")
    assert "TorchScript" in refused(Small(), tmp_path / "scripted.pt")


def test_broken_files(tmp_path: Path, state: dict[str, torch.Tensor]) -> None:
    save_file(state, tmp_path / "whole.safetensors")
    torch.save(state, tmp_path / "whole.pth")
    for suffix in (".safetensors", ".pth"):
        content = (tmp_path / f"whole{suffix}").read_bytes()
        (tmp_path / f"cut{suffix}").write_bytes(content[: len(content) // 2])
        assert "damaged" in refused(Small(), tmp_path / f"cut{suffix}")
        (tmp_path / f"text{suffix}").write_text("hello, these are no weights\n" * 9)
        refused(Small(), tmp_path / f"text{suffix}")
        (tmp_path / f"empty{suffix}").touch()
        assert "0 bytes" in refused(Small(), tmp_path / f"empty{suffix}")
        (tmp_path / f"lfs{suffix}").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
        assert "git lfs pull" in refused(Small(), tmp_path / f"lfs{suffix}")
    assert "does not exist" in refused(Small(), tmp_path / "nowhere.pth")
    assert "is a folder" in refused(Small(), tmp_path)
    (tmp_path / "weights.h5").write_bytes(b"x")
    assert ".safetensors" in refused(Small(), tmp_path / "weights.h5")


def test_nothing_useful_inside(tmp_path: Path) -> None:
    torch.save({"epoch": 3}, tmp_path / "numbers.pth")
    assert "no tensors" in refused(Small(), tmp_path / "numbers.pth")
    torch.save([torch.zeros(3)], tmp_path / "list.pth")
    assert "expected a mapping" in refused(Small(), tmp_path / "list.pth")


def test_mismatches_name_keys_counts_and_remedy(state: dict[str, torch.Tensor]) -> None:
    module = Small()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    lacking = {name: value for name, value in state.items() if name != "head.bias"}
    message = refused(module, {**lacking, "extra.a": torch.zeros(1), "extra.b": torch.zeros(1)})
    assert "1 missing (head.bias)" in message and "2 unexpected (extra.a, extra.b)" in message
    ten = Small(classes=10).state_dict()
    message = refused(module, ten)
    assert (
        "head.weight file 10×4 model 5×4" in message and "10 classes" in message and "num_classes" in message
    )
    assert "image_size" in refused(module, {**state, "pos_embed": torch.zeros(1, 17, 4)})
    message = refused(module, Small(width=8).state_dict())
    assert "of another shape" in message and ", ...)" in message and "made for" in message
    assert "no key in common" in refused(module, {"conv.weight": torch.zeros(1)})
    assert fits(module, before)


def test_not_a_number(state: dict[str, torch.Tensor]) -> None:
    state["head.bias"][2] = torch.nan
    message = refused(Small(), state)
    assert "NaN" in message and "head.bias" in message


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (lambda v: v + torch.inf, "infinite values"),
        (lambda v: v.index_fill(0, torch.tensor([1]), -torch.inf), "infinite values"),
        (lambda v: (v * 100).to(torch.int8), "integers, truths or 8-bit floats"),
        (lambda v: (v * 100).to(torch.int64), "integers, truths or 8-bit floats"),
        (lambda v: v > 0, "integers, truths or 8-bit floats"),
        (lambda v: v.to(torch.float8_e4m3fn), "integers, truths or 8-bit floats"),
        (lambda v: v.double() + 1e300, "too large for the model's numbers"),
        (lambda v: v.to(torch.complex64), "complex numbers"),
    ],
)
def test_numbers_that_cannot_be_weights(state: dict[str, torch.Tensor], harm: Any, words: str) -> None:
    module = Small()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    message = refused(module, {**state, "head.weight": harm(state["head.weight"])})
    assert words in message and "first in head.weight (1 tensors)" in message
    assert fits(module, before), "nothing was changed"


def test_numbers_that_only_look_odd_are_taken() -> None:
    """Half and double precision, counters stored as floats, and masks of minus infinity that the model has too."""

    class Masked(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = torch.nn.Linear(2, 2)
            self.register_buffer("mask", torch.full((2, 2), -torch.inf).triu(1))
            self.register_buffer("steps", torch.tensor(3))

    given = Masked().state_dict()
    odd = {
        **given,
        "linear.weight": given["linear.weight"].half(),
        "linear.bias": given["linear.bias"].double(),
    }
    module = Masked()
    load_weights(module, {**odd, "steps": torch.tensor(7.0)}, model="masked")
    assert int(module.state_dict()["steps"]) == 7 and bool(module.state_dict()["mask"].isinf().any())
    assert "fractions" in refused(Masked(), {**odd, "steps": torch.tensor(7.5)})


def test_conversion_is_tried_and_may_fail(state: dict[str, torch.Tensor]) -> None:
    module = Small()
    renamed = {name.replace("body", "trunk"): value for name, value in state.items()}
    load_weights(
        module,
        renamed,
        model="small",
        adapt=lambda found, _: {name.replace("trunk", "body"): value for name, value in found.items()},
    )
    assert fits(module, state)

    def fails(found: dict[str, torch.Tensor], _: nn.Module) -> dict[str, torch.Tensor]:
        raise KeyError("blocks.0")

    assert "trunk.weight" in refused(Small(), renamed, adapt=fails)


def test_read_weights_gives_tensors_only(tmp_path: Path, state: dict[str, torch.Tensor]) -> None:
    torch.save({"model": {**state, "version": 2}}, tmp_path / "w.pth")
    assert set(read_weights(tmp_path / "w.pth")) == set(state)
