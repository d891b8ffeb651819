"""A memory bank serves the model, the preparation of pictures and the precision that made it, and no other."""

from __future__ import annotations

import pytest
import timm
import torch

import vitscope as vs
from vitscope.errors import MethodError
from vitscope.methods.memory_bank import MemoryBank, build_bank


@pytest.fixture
def encoder() -> torch.nn.Module:
    torch.manual_seed(0)
    return timm.create_model("vit_tiny_patch16_224", img_size=32, num_classes=0, depth=1, embed_dim=48).eval()


def test_a_bank_knows_its_recipe_and_refuses_what_was_made_otherwise(encoder, tmp_path):
    vit = vs.open_model(encoder, preprocess="imagenet", image_size=32)
    made = build_bank(vit, torch.randn(3, 3, 32, 32))
    bank = MemoryBank.load(made.save(tmp_path / "bank"))
    assert bank.recipe == made.recipe and bank.recipe.count == 3
    bank.check(vs.open_model(encoder, preprocess="imagenet", image_size=32))
    with pytest.raises(MethodError, match=r"made otherwise .*preprocessing"):
        bank.check(vs.open_model(encoder, preprocess="half", image_size=32))
    with pytest.raises(MethodError, match=r"made otherwise .*precision"):
        bank.check(vs.open_model(encoder, preprocess="imagenet", image_size=32, precision="bf16"))
    with torch.no_grad():
        encoder.blocks[0].attn.qkv.weight += 1
    with pytest.raises(MethodError, match="was made by"):
        bank.check(vit)
