"""An anatomy that the user gives is checked against the model: what does not fit is refused in one line."""

from __future__ import annotations

from typing import Any

import pytest
import timm
import torch
from torch import Tensor, nn

import vitscope as vs
from vitscope.errors import ModelError


def small() -> nn.Module:
    torch.manual_seed(0)
    return timm.create_model(
        "vit_tiny_patch16_224", img_size=64, patch_size=16, num_classes=4, depth=2, embed_dim=12, num_heads=2
    ).eval()  # 17 tokens: class and 4x4


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "classes of another width": ({"classes": 5}, "classes=5"),
    "classes below zero": ({"classes": -1}, "classes="),
    "classes as a truth": ({"classes": True}, "classes as"),
    "a grid of more tokens": ({"grid": (5, 4)}, r"grid=\(5, 4\).* 17 tokens"),
    "a grid of fewer tokens": ({"grid": (3, 4)}, r"grid=\(3, 4\).*\(4, 4\)"),
    "a grid of another form": ({"grid": (2, 8)}, r"grid=\(2, 8\).*\(4, 4\)"),
    "a grid of one number": ({"grid": 16}, "grid as"),
    "a grid of zero": ({"grid": (0, 16)}, "grid="),
    "a grid of halves": ({"grid": (4.0, 4.0)}, "grid as"),
    "a grid beyond the pixels": ({"grid": (100, 1)}, "more cells than"),
    "too many prefix tokens": ({"prefix": ("class", "register_1")}, "prefix= names 2 tokens.* leave 1"),
    "no prefix tokens": ({"prefix": ()}, "prefix= names 0 tokens.* leave 1"),
    "one prefix name twice": ({"prefix": ("class", "class")}, "twice"),
    "prefix of numbers": ({"prefix": (1,)}, "prefix as"),
    "a block that is not there": ({"blocks": ["blocks.0", "blocks.7"]}, "blocks.7"),
    "a block without attention": ({"blocks": ["blocks.0", "head"]}, "'head'.*no attention"),
    "a block inside another": ({"blocks": ["blocks.0", "blocks.0.attn", "blocks.1"]}, "blocks.0.attn"),
    "no block": ({"blocks": []}, "blocks="),
    "one block twice": ({"blocks": ["blocks.0", "blocks.0"]}, "twice"),
    "a pooling nobody knows": ({"pooling": "banana"}, "pooling 'banana'"),
    "a pooling that is not there": ({"pooling": "attention"}, "no attention pooling"),
    "a token that is not there": ({"pooling": "class+distillation"}, "pooling"),
    "a precision nobody knows": ({"precision": "float8"}, "precision"),
    "a device without values": ({"device": "meta"}, "meta"),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_does_not_fit_the_model_is_refused(what: str) -> None:
    given, words = WRONG[what]
    with pytest.raises(ModelError, match=words) as error:
        vs.open_model(small(), **given).anatomy  # noqa: B018
    assert "\n" not in str(error.value)


def test_what_fits_is_taken() -> None:
    plain = vs.open_model(small())
    x = torch.rand(1, 3, 64, 64)
    given = vs.open_model(
        small(), classes=4, grid=[4, 4], prefix=["class"], blocks=["blocks.0", "blocks.1"], pooling="class"
    )
    assert given.anatomy.layout == plain.anatomy.layout and given.anatomy.pooling == "class"
    torch.testing.assert_close(vs.explain(given, x, "gae").maps, vs.explain(plain, x, "gae").maps)
    assert [block.path for block in vs.open_model(small(), blocks=["blocks.1"]).anatomy.blocks] == [
        "blocks.1"
    ]


def test_a_pooling_that_the_output_contradicts_is_noted() -> None:
    notes = vs.open_model(small(), pooling="mean").anatomy.notes
    assert any("pooling='mean' was given, but the output is seen to read 'class'" in note for note in notes)
    assert not any("pooling" in note for note in vs.open_model(small(), pooling="class").anatomy.notes)


class Text(nn.Module):
    """A text model of 6 tokens."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embed = nn.Embedding(9, 12)
        self.blocks = nn.ModuleList(nn.TransformerEncoderLayer(12, 2, 24, batch_first=True) for _ in range(2))
        self.head = nn.Linear(12, 3)

    def forward(self, input_ids: Tensor) -> Tensor:
        x = self.embed(input_ids)
        for block in self.blocks:
            x = block(x)
        return self.head(x[:, 0])


def test_more_prefix_tokens_than_a_text_has() -> None:
    ids = {"input_ids": torch.tensor([[1, 2, 3, 4, 5, 6]])}
    vit = vs.open_model(Text().eval(), classes=3, prefix=[f"token_{i}" for i in range(7)])
    with pytest.raises(ModelError, match="prefix= names 7 tokens, but the model has 6"):
        vit.trace(ids)


@pytest.mark.parametrize("device", [None, "cpu"])
def test_a_model_without_values_is_refused(device: str | None) -> None:
    with torch.device("meta"):
        model = small()
    with pytest.raises(ModelError, match="meta device") as error:
        vs.open_model(model, device=device)
    assert "\n" not in str(error.value)
