"""Heads of models with sigmoids: one logit is a yes or a no; several labels have no one prediction."""

from __future__ import annotations

import math

import pytest
import timm
import torch

import vitscope as vs
from vitscope.errors import VitscopeError


def model(classes: int) -> torch.nn.Module:
    torch.manual_seed(0)
    made = timm.models.vision_transformer.VisionTransformer(
        img_size=32, patch_size=8, embed_dim=24, depth=2, num_heads=2, num_classes=classes
    ).eval()
    for parameter in made.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return made


def test_one_logit_against_numbers_worked_out_by_hand():
    """Switch off head 1 of block 0 by zeroing its columns of the projection, and compare sigmoids."""
    plain, pictures = model(1), torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    vit, labels = vs.open_model(plain), [1, 0, 1]
    tables = [
        vs.heads.importance(vit, pictures[i : i + 1], labels=labels[i : i + 1], gradient=False)
        for i in range(3)
    ]
    with torch.no_grad():
        before = plain(pictures)[:, 0].tolist()
        plain.blocks[0].attn.proj.weight[:, 12:] = 0
        after = plain(pictures)[:, 0].tolist()
    for picture, (z, w) in enumerate(zip(before, after, strict=True)):
        p, q = 1 / (1 + math.exp(-z)), 1 / (1 + math.exp(-w))
        row = tables[picture].to_pandas().query("block == 0 and head == 1").iloc[0]
        yes = (p - q) if z > 0 else (q - p)  # the probability of what was predicted
        assert row["probability_drop_top"] == pytest.approx(yes, abs=1e-6)
        label = (p - q) if picture != 1 else (q - p)
        assert row["probability_drop_label"] == pytest.approx(label, abs=1e-6)
        m = (p + q) / 2
        entropy = [-x * math.log2(x) - (1 - x) * math.log2(1 - x) for x in (m, p, q)]
        assert row["js_divergence"] == pytest.approx(entropy[0] - (entropy[1] + entropy[2]) / 2, abs=1e-6)
        assert row["flip"] == float((z > 0) != (w > 0))


def test_several_labels_have_no_one_prediction():
    vit = vs.open_model(model(3), probability="sigmoid")
    pictures = torch.randn(2, 3, 32, 32)
    with pytest.raises(VitscopeError, match="each of its 3 labels a probability of its own"):
        vs.heads.importance(vit, pictures)
    with pytest.raises(VitscopeError, match="each of its 3 labels a probability of its own"):
        vs.heads.cumulative_pruning(vit, pictures, vs.heads.importance(vs.open_model(model(3)), pictures))
