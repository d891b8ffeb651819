"""Models of random weights whose heads are hard to show, each opened by name: ``tests.app.heads.shapes:unequal``."""

from __future__ import annotations

from typing import Any

import timm
import torch
from timm.models.vision_transformer import Block
from torch import Tensor, nn

SIZE = 32


def _seeded(make: Any) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        model: nn.Module = make()
    return model.eval()


def _vit(**options: Any) -> nn.Module:
    small = {"img_size": SIZE, "patch_size": 8, "embed_dim": 32, "num_heads": 4, "depth": 3, "num_classes": 5}
    return timm.models.VisionTransformer(**{**small, **options})


def many() -> nn.Module:
    """24 blocks of 16 heads."""
    return _seeded(lambda: _vit(depth=24, num_heads=16))


def unequal() -> nn.Module:
    """4, 1 and 2 heads."""

    def make() -> nn.Module:
        model = _vit()
        model.blocks[1] = Block(32, num_heads=1)
        model.blocks[2] = Block(32, num_heads=2)
        return model

    return _seeded(make)


class Towers(nn.Module):
    """Two ViTs that look at the same picture; their scores are added."""

    def __init__(self) -> None:
        super().__init__()
        self.num_classes = 5
        self.one, self.other = _vit(depth=2), _vit(depth=2)

    def forward(self, pictures: Tensor) -> Tensor:
        scores: Tensor = self.one(pictures) + self.other(pictures.flip(-1))
        return scores


def towers() -> nn.Module:
    """Two chains of attention."""
    return _seeded(Towers)


def class_attention() -> nn.Module:
    """Two blocks in which patches look at patches, and two in which the class token alone looks."""
    return _seeded(
        lambda: timm.create_model(
            "cait_xxs24_224", depth=2, embed_dim=32, num_heads=4, img_size=64, num_classes=5
        )
    )


def pyramid() -> nn.Module:
    """1, 2 and 4 heads over grids that shrink."""
    return _seeded(
        lambda: timm.models.pit.PoolingVisionTransformer(
            img_size=64, patch_size=16, stride=8, stem_type="overlap", base_dims=(16, 16, 16), depth=(1, 1, 1),
            heads=(1, 2, 4), mlp_ratio=2, num_classes=5,
        )
    )  # fmt: skip
