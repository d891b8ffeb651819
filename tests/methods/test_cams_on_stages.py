"""Grad-CAM where tokens lie on no single grid: the last feature map, as in the papers, held by a literal twin."""

from __future__ import annotations

from typing import Any

import pytest
import timm
import torch
from torch import Tensor

import vitscope as vs
from vitscope.errors import MethodError

X = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def swin() -> Any:
    torch.manual_seed(0)
    size = {
        "img_size": 64,
        "patch_size": 4,
        "window_size": 2,
        "embed_dim": 12,
        "depths": (1, 2),
        "num_heads": (2, 3),
    }
    return timm.create_model("swin_tiny_patch4_window7_224", num_classes=5, **size).eval()


def literal(model: Any, last: Any, image: Tensor, name: str) -> Tensor:
    kept: list[Tensor] = []
    handle = last.register_forward_hook(lambda m, a, out: kept.append(out))
    logits = model(image[None])
    handle.remove()
    gradient = torch.autograd.grad(logits.max(), kept[0])[0][0]
    features = kept[0][0].detach()
    if features.shape[0] > features.shape[-1]:  # (C, h, w) of a CNN
        features, gradient = features.permute(1, 2, 0), gradient.permute(1, 2, 0)
    h, w, channels = features.shape
    out = torch.zeros(h, w)
    for c in range(channels):
        f, g = features[:, :, c], gradient[:, :, c]
        weight = {"gradcam": g.mean()}[name]
        out += weight * f
    return out.clamp_min(0)


@pytest.mark.parametrize("name", ["gradcam"])
def test_swin_is_explained_by_its_last_feature_map(name: str) -> None:
    model = swin()
    found = vs.explain(vs.open_model(model), X, name)
    assert found.maps.shape == (2, 8, 8)
    for index in range(2):
        torch.testing.assert_close(
            found.maps[index], literal(model, model.layers[-1], X[index], name), rtol=1e-3, atol=1e-6
        )


def test_a_cnn_too() -> None:
    torch.manual_seed(0)
    model = timm.create_model("resnet10t", num_classes=5).eval()
    found = vs.explain(vs.open_model(model, image_size=64), X, "gradcam")
    wanted = torch.stack([literal(model, model.layer4, x, "gradcam") for x in X])
    torch.testing.assert_close(found.maps, wanted, rtol=1e-3, atol=1e-6)


def test_a_block_of_a_pyramid_is_refused() -> None:
    with pytest.raises(
        MethodError, match="explained by its last feature map, not by a block; leave block= out"
    ):
        vs.explain(vs.open_model(swin()), X, "gradcam", block=1)
