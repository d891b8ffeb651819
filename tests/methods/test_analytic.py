"""A ViT with hand-set weights whose attribution is known in closed form.

Patches are 4x4 pixels; a patch token holds the mean of its three colour channels; the class token starts at zero.
The only block lets every token attend uniformly (queries are zero) and adds the attended values; the head reads the
class token, one colour per class. So logit_c = sum_n x[n, c] / N, and the share of patch n is exactly x[n, c] / N.
"""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import vitscope as vs

GRID = (4, 5)
P = 20
N = P + 1


class Block(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        heads = x[:, None]
        return x + F.scaled_dot_product_attention(torch.zeros_like(heads), heads, heads)[:, 0]


class AnalyticViT(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 3, 4, 4, bias=False)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, 3))
        self.block = Block()
        self.head = nn.Linear(3, 3, bias=False)
        with torch.no_grad():
            self.patches.weight.zero_()
            for channel in range(3):
                self.patches.weight[channel, channel] = 1 / 16
            self.head.weight.copy_(torch.eye(3))

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.patches(images).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.cls_token.expand(len(tokens), -1, -1), tokens], 1)
        return self.head(self.block(tokens)[:, 0])


@pytest.fixture(scope="module")
def vit() -> vs.Vit:
    return vs.open_model(AnalyticViT().eval(), image_size=(16, 20), blocks=["block"])


@pytest.fixture(scope="module")
def colours() -> Tensor:
    """Colour amounts per patch, (2, 20, 3), from 0 to 1."""
    return torch.rand(2, P, 3, generator=torch.Generator().manual_seed(5))


@pytest.fixture(scope="module")
def images(colours: Tensor) -> Tensor:
    grid = colours.transpose(1, 2).reshape(2, 3, *GRID)
    return grid.repeat_interleave(4, 2).repeat_interleave(4, 3)


def test_its_anatomy(vit):
    assert vit.anatomy.layout.grid == GRID
    assert vit.anatomy.layout.prefix == ("class",)
    assert vit.anatomy.pooling == "class"
    assert vit.anatomy.classes == 3


@pytest.mark.parametrize("c", [0, 1, 2])
def test_exact_methods_give_the_true_shares(vit, images, colours, c):
    truth = colours[..., c] / N
    assert torch.allclose(vit.forward(images)[:, c], truth.sum(1), atol=1e-6)
    found = vs.explain(vit, images, ["daam", "gae", "attcat"], target=c)
    assert torch.allclose(found["daam"].maps.flatten(1), truth, atol=1e-6)
    assert torch.allclose(found["gae"].maps.flatten(1), truth, atol=1e-6)
    # the head attends with 1/N, so attention times (token x gradient) is the share once more over N
    assert torch.allclose(found["attcat"].maps.flatten(1), truth / N, atol=1e-7)
    assert torch.allclose(
        vs.explain(vit, images, "input-x-gradient", target=c).maps.flatten(1), truth, atol=1e-6
    )


def test_attention_alone_knows_nothing_of_the_colours(vit, images):
    found = vs.explain(vit, images, ["raw-attention", "rollout"])
    assert torch.allclose(found["raw-attention"].maps, torch.full((2, *GRID), 1 / N))
    assert torch.allclose(found["rollout"].maps, torch.full((2, *GRID), 0.5 / N))


@pytest.mark.parametrize("c", [0, 2])
def test_removal_follows_the_closed_form(vit, images, colours, c):
    """Without patch n the mean runs over N - 1 tokens: (S - x[n]) / (N - 1)."""
    x = colours[..., c]
    without = (x.sum(1, keepdim=True) - x) / (N - 1)
    drop = vs.explain(vit, images, "leave-one-out", target=c).maps.flatten(1)
    assert torch.allclose(drop, x.sum(1, keepdim=True) / N - without, atol=1e-6)


def test_classes_differ_as_the_colours_do(vit, images, colours):
    maps = [vs.explain(vit, images, "daam", target=c).maps.flatten(1) for c in range(3)]
    for c in range(3):
        assert torch.equal(maps[c].argmax(1), colours[..., c].argmax(1))
