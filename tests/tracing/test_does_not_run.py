"""A forward that fails is told by its true reason, and the remedy that is named is carried out."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import timm
import torch
from torch import Tensor, nn

import vitscope as vs
from vitscope.errors import ModelError


def vit(**options: Any) -> nn.Module:
    torch.manual_seed(0)
    settings = {
        "img_size": 32,
        "patch_size": 8,
        "embed_dim": 24,
        "depth": 2,
        "num_heads": 2,
        "num_classes": 3,
    }
    return timm.models.vision_transformer.VisionTransformer(**{**settings, **options}).eval()


def pictures(*shape: int) -> Tensor:
    return torch.randn(*(shape or (2, 3, 32, 32)), generator=torch.Generator().manual_seed(1))


class Wrapped(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = vit()


class WithAge(Wrapped):
    def forward(self, images: Tensor, age: Tensor) -> Tensor:
        out: Tensor = self.inner(images) + age[:, None]
        return out


class ByName(Wrapped):
    def forward(self, *, images: Tensor) -> Tensor:
        out: Tensor = self.inner(images)
        return out


class Broken(Wrapped):
    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.inner(x)
        return {"a": out}["b"]


def refused(model: nn.Module, given: Any, **options: Any) -> str:
    with pytest.raises(ModelError) as caught:
        vs.explain(vs.open_model(model, classes=3, **options), given, "gae", target=1)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def works(model: nn.Module, given: Any, **options: Any) -> None:
    x = given["images"] if isinstance(given, dict) else given
    found = vs.explain(vs.open_model(model, classes=3, **options), given, "gae", target=1)
    alone = vs.explain(vs.open_model(vit(), classes=3), x, "gae", target=1)
    torch.testing.assert_close(torch.as_tensor(found.maps), torch.as_tensor(alone.maps))


def test_an_argument_that_is_missing() -> None:
    said = refused(WithAge(), pictures())
    assert (
        "it also wants age" in said
        and '{"images": pictures, "age": ...}' in said
        and "image_size" not in said
    )
    works(WithAge(), {"images": pictures(), "age": torch.ones(2)})


def test_arguments_by_name_only() -> None:
    said = refused(ByName(), pictures())
    assert 'by name only; give {"images": pictures}' in said
    works(ByName(), {"images": pictures()})


def test_an_argument_that_it_does_not_have() -> None:
    said = refused(ByName(), {"images": pictures(), "mask": torch.ones(2)})
    assert "no argument 'mask', those it has: images" in said
    works(ByName(), {"images": pictures()})


def test_other_channels() -> None:
    said = refused(vit(), pictures(2, 1, 32, 32))
    assert "takes 3 channels and the pictures have 1" in said and "image_size" not in said
    works(vit(), pictures(2, 1, 32, 32).repeat(1, 3, 1, 1))


def test_another_size() -> None:
    said = refused(vit(), pictures(2, 3, 48, 48))
    assert "give pictures of that size (image_size=32)" in said
    works(vit(), pictures(), image_size=32)


def test_several_kinds_of_numbers() -> None:
    mixed = vit()
    mixed.blocks[1].half()
    said = refused(mixed, pictures())
    assert "several kinds of numbers" in said and "in one with" not in said
    works(mixed.float(), pictures())


def test_anything_else_is_said_with_its_place_and_size_is_not_blamed() -> None:
    said = refused(Broken(), pictures())
    assert "KeyError: 'b'" in said and "image_size" not in said
    with pytest.raises(ModelError, match="KeyError: 'b'"):
        print(vs.open_model(Broken()).anatomy)


def test_only_a_grid_that_shrinks_is_said_to_shrink() -> None:
    anatomy = vs.open_model(vit()).anatomy

    def with_tokens(*counts: int) -> str | None:
        blocks = tuple(
            replace(block, tokens=count) for block, count in zip(anatomy.blocks, counts, strict=True)
        )
        return replace(anatomy, blocks=blocks).why_no_tokens()

    assert with_tokens(17, 17) is None
    assert with_tokens(65, 17) == "its token grid shrinks from stage to stage (65, 17 tokens)"
    assert "different numbers of tokens (17, 65)" in str(with_tokens(17, 65))
    assert "no grid of patches was found" in str(replace(anatomy, layout=None).why_no_tokens())
