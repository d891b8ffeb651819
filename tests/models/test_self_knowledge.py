"""Class names and preparation of pictures are found inside wrappers, never guessed where two parts disagree."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import timm
import torch
from torch import Tensor, nn
from transformers import ViTConfig, ViTForImageClassification

import vitscope as vs

NAMES = ["cat", "dog", "lung"]
X = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def hugging(names: list[str] = NAMES) -> nn.Module:
    torch.manual_seed(0)
    config = ViTConfig(
        hidden_size=24, num_hidden_layers=1, num_attention_heads=2, intermediate_size=48, image_size=32, patch_size=16,
        id2label=dict(enumerate(names)), label2id={name: index for index, name in enumerate(names)},
    )  # fmt: skip
    return ViTForImageClassification(config).eval()


def timmed(mean: float = 0.25) -> nn.Module:
    torch.manual_seed(0)
    sizes = {"img_size": 32, "depth": 1, "embed_dim": 24, "num_heads": 2, "num_classes": 3}
    overlay = {"mean": (mean,) * 3, "label_names": NAMES}
    return timm.create_model("vit_tiny_patch16_224", pretrained_cfg_overlay=overlay, **sizes).eval()


class Plain(nn.Module):
    """A wrapper that returns the scores."""

    def __init__(self, inner: nn.Module, name: str = "net", **attributes: Any) -> None:
        super().__init__()
        self.add_module(name, inner)
        self.name = name
        for key, value in attributes.items():
            setattr(self, key, value)

    def forward(self, x: Tensor) -> Tensor:
        out = getattr(self, self.name)(x)
        return getattr(out, "logits", out)


class Adapter(nn.Module):
    """As peft wraps: the model two levels in, its attributes and configuration handed through."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.base_model = nn.Module()
        self.base_model.model = inner
        self.config = inner.config
        self.peft_config = {"default": SimpleNamespace(peft_type="LORA")}

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(self.base_model.model, name)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.base_model.model(*args, **kwargs)


def test_behind_adapters() -> None:
    vit = vs.open_model(Adapter(hugging()))
    assert vit.class_names == NAMES and vit.image_size == (32, 32) and vit.family == "vit"
    assert vit.loaded.notes == ["class names taken from 'base_model.model'"]
    assert vit.trace(X, "class:lung").classes.tolist() == [2, 2]


@pytest.mark.parametrize("name", ["model", "net", "backbone"])
@pytest.mark.parametrize("make", [hugging, timmed])
def test_in_training_modules_and_plain_wrappers(name: str, make: Any) -> None:
    for inner, place in ((make(), name), (nn.DataParallel(make()), f"{name}.module")):
        vit = vs.open_model(Plain(inner, name))
        assert vit.class_names == NAMES and vit.image_size == (32, 32)
        assert f"class names taken from '{place}'" in vit.loaded.notes
        found = vs.explain(vit, X, "gae", target="class:dog")
        assert found.classes is not None and found.classes.tolist() == [1, 1]
        assert f"class names taken from '{place}'" in found.metadata["notes"]


def test_preparation_is_found_in_the_wrapper_and_compiled_parts() -> None:
    compiled = torch.compile(timmed())
    vit = vs.open_model(Plain(compiled, "model"))
    assert vit.preprocessor is not None and vit.preprocessor.mean == (0.25, 0.25, 0.25)
    assert "preparation of pictures taken from 'model._orig_mod'" in vit.loaded.notes


def test_what_the_training_module_keeps_itself() -> None:
    bare = hugging(["LABEL_0", "LABEL_1", "LABEL_2"])
    assert vs.open_model(Plain(bare)).class_names is None
    assert vs.open_model(Plain(bare, hparams={"class_names": NAMES})).class_names == NAMES
    assert vs.open_model(Plain(bare, class_names=tuple(NAMES))).class_names == NAMES
    assert vs.open_model(Plain(hugging(), hparams={"id2label": dict(enumerate(NAMES))})).class_names == NAMES


def test_where_two_disagree_nothing_is_taken_silently() -> None:
    swapped = vs.open_model(Plain(hugging(), hparams={"class_names": ["dog", "cat", "lung"]}))
    assert swapped.class_names is None
    assert any("disagree about the class names" in note for note in swapped.loaded.notes)
    both = nn.ModuleDict({"a": timmed(0.25), "b": timmed(0.5)})
    vit = vs.open_model(both, image_size=32)
    assert vit.preprocessor is None
    assert any("'a' and 'b' disagree about the preparation" in note for note in vit.loaded.notes)
    alike = vs.open_model(nn.ModuleDict({"a": timmed(), "b": timmed()}), image_size=32)
    assert alike.preprocessor is not None


def test_a_head_of_the_wrapper_takes_the_names_away() -> None:
    vit = vs.open_model(nn.Sequential(Plain(hugging()), nn.Linear(3, 3)))
    assert vit.class_names is None
    assert any("'1' outside it may change" in note for note in vit.loaded.notes)
