"""Where the patches of real architectures lie, and that every use of a map takes the same cells."""

from __future__ import annotations

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from transformers import Dinov2Config, Dinov2ForImageClassification

import vitscope as vs
from vitscope.rendering import overlay

# 7 x 9 patches of 14 pixels cover 98 x 126 of 100 x 139 pixels.
SIZE, GRID, COVERED = (100, 139), (7, 9), (98, 126)


@pytest.fixture(scope="module")
def dinov2() -> torch.nn.Module:
    torch.manual_seed(0)
    config = Dinov2Config(
        hidden_size=48, num_hidden_layers=2, num_attention_heads=4, mlp_ratio=2, image_size=56, patch_size=14,
        num_labels=5,
    )  # fmt: skip
    model = Dinov2ForImageClassification(config).eval()
    for parameter in model.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return model


@pytest.fixture(scope="module")
def picture() -> torch.Tensor:
    return torch.randn(1, 3, *SIZE, generator=torch.Generator().manual_seed(1))


def test_saliency_adds_the_pixels_that_each_patch_reads(dinov2, picture):
    leaf = picture.clone().requires_grad_()
    dinov2(leaf).logits[0, 1].backward()
    assert (
        float(leaf.grad[..., 98:, :].abs().sum() + leaf.grad[..., 126:].abs().sum()) == 0
    )  # read by no patch
    by_patch = leaf.grad.abs().sum(1)[0, :98, :126].reshape(7, 14, 9, 14).sum((1, 3))
    found = vs.explain(vs.open_model(dinov2), picture, "saliency", target=1)
    torch.testing.assert_close(found.maps[0], by_patch, rtol=1e-4, atol=1e-5)
    assert found.extent == pytest.approx((0, 0, 98 / 100, 126 / 139))
    assert any(
        "the last 2 rows of pixels and the last 13 columns" in note for note in found.metadata["notes"]
    )


def test_occlusion_takes_away_the_pixels_of_one_patch(dinov2, picture):
    found = vs.explain(vs.open_model(dinov2), picture, "occlusion", target=1).maps[0]
    for row, column in ((0, 0), (3, 8), (6, 4)):
        changed = picture.clone()
        changed[..., row * 14 : row * 14 + 14, column * 14 : column * 14 + 14] = 0
        with torch.no_grad():
            drop = dinov2(picture).logits[0, 1] - dinov2(changed).logits[0, 1]
        assert float(found[row, column]) == pytest.approx(float(drop), abs=1e-5)


def test_removal_by_pixels_changes_the_same_cell(dinov2):
    cells = vs.open_model(dinov2).anatomy_for(SIZE).layout.cells
    keep = torch.ones(1, 63, dtype=torch.bool)
    keep[0, 3 * 9 + 8] = False
    gone = (~cells.kept(keep)[0, 0]).nonzero()
    assert gone.amin(0).tolist() == [42, 112]
    assert (gone.amax(0) + 1).tolist() == [56, 126]


def test_the_map_is_drawn_where_its_patches_lie(dinov2, picture):
    found = vs.explain(vs.open_model(dinov2), picture, "uniform", target=1)
    values = np.arange(found.maps[0].numel(), dtype=np.float32).reshape(found.maps[0].shape)
    grey = Image.new("RGB", (139, 100), (128, 128, 128))
    drawn = np.asarray(overlay(values, grey, extent=found.extent, colour_bar=False, notes=False))
    plain = np.asarray(overlay(values, grey, style="picture", colour_bar=False, notes=False))
    inside = (drawn != plain).any(-1)
    rows, columns = inside.any(1).nonzero()[0], inside.any(0).nonzero()[0]
    scale = 336 / 139
    assert columns[-1] - columns[0] + 1 == round(126 * scale)
    # the top row carries the word "constant", so only the lower edge is read
    assert rows[-1] + 1 - (np.asarray(plain).shape[0] - round(100 * scale)) / 2 == pytest.approx(
        98 * scale, abs=1
    )


@pytest.mark.parametrize(
    ("name", "options", "size", "rows"),
    [
        ("vit_tiny_patch16_224", {"img_size": 64}, (64, 64), (0, 16, 32, 48, 64)),
        # four 3 x 3 convolutions of stride 2 and padding 1: the first patch looks at the upper left corner
        ("xcit_nano_12_p16_224", {"img_size": 64}, (64, 64), (0, 9, 25, 41, 64)),
    ],
)
def test_cells_of_an_architecture(name, options, size, rows):
    model = timm.create_model(name, pretrained=False, num_classes=3, **options).eval()
    assert vs.open_model(model).anatomy_for(size).layout.cells.rows == rows


def test_padding_inside_the_model_is_followed():
    model = timm.create_model(
        "vit_tiny_patch16_224",
        img_size=64,
        depth=1,
        num_classes=3,
        dynamic_img_size=True,
        dynamic_img_pad=True,
    )
    cells = vs.open_model(model.eval()).anatomy_for((40, 64)).layout.cells
    assert cells.rows == (0, 16, 32, 40)  # the model adds eight rows of zeros below
    assert cells.whole
