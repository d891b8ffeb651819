"""Transformer attribution against the relevance pass of Chefer et al. 2021 written out by hand, and its invariants."""

from __future__ import annotations

import pytest
import timm
import torch
from torch import Tensor, nn

import vitscope as vs
from tests.zoo import ZOO, inputs, open_zoo, scores_in
from vitscope.errors import MethodError
from vitscope.tracing.calls.guard import quiet
from vitscope.tracing.passes.positive_relevance import ZPlusSurgeon, _ZPlusInterceptor, relevance_sites


def safe(a: Tensor, b: Tensor) -> Tensor:
    return torch.where(b.abs() < 1e-9, torch.zeros_like(a), a / b)


def linear_back(x: Tensor, layer: nn.Linear, R: Tensor) -> Tensor:
    """z+: R_i = sum_j (x_i w_ji)+ / sum_k (x_k w_jk)+ R_j, over the pairs of equal sign."""
    out = torch.zeros_like(x)
    for n in range(len(x)):
        products = (x[n][None] * layer.weight).clamp(min=0)  # (out, in)
        out[n] = (products * safe(R[n], products.sum(1))[:, None]).sum(0)
    return out


def sum_back(a: Tensor, b: Tensor, R: Tensor) -> tuple[Tensor, Tensor]:
    part_a, part_b = a * safe(R, a + b), b * safe(R, a + b)
    size = part_a.sum().abs() + part_b.sum().abs()
    share_a, share_b = part_a.sum().abs() / size * R.sum(), part_b.sum().abs() / size * R.sum()
    return part_a * share_a / part_a.sum(), part_b * share_b / part_b.sum()


class Handwritten:
    """Forward, gradient of A (by autograd) and relevance of A (by hand) of a timm DeiT, one picture."""

    def __init__(self, model: nn.Module, image: Tensor, target: int) -> None:
        H = model.blocks[0].attn.num_heads
        x = model._pos_embed(model.patch_embed(image[None]))[0].detach()
        kept = []
        for block in model.blocks:
            n1 = block.norm1(x)
            q, k, v = (t.unflatten(1, (H, -1)).transpose(0, 1) for t in block.attn.qkv(n1).chunk(3, 1))
            scores = q @ k.transpose(1, 2)
            A = (scores / q.shape[-1] ** 0.5).softmax(-1).requires_grad_()
            A.retain_grad()
            T = A @ v
            joined = T.transpose(0, 1).flatten(1)
            first = block.attn.proj(joined)
            y = x + first
            n2 = block.norm2(y)
            u = nn.functional.gelu(block.mlp.fc1(n2))
            second = block.mlp.fc2(u)
            kept.append((block, x, n1, q, k, v, scores, A, T, joined, first, y, n2, u, second))
            x = y + second
        final = model.norm(x)
        model.head(final[0])[target].backward()
        start = torch.zeros(model.head.out_features)
        start[target] = 1.0
        with torch.no_grad():
            R = torch.zeros_like(x)
            R[0] = linear_back(final[:1], model.head, start[None])[0]
            self.terms: list[Tensor] = []
            for block, x, n1, q, k, v, scores, A, T, joined, first, y, n2, u, second in reversed(kept):
                skip, R = sum_back(y, second, R)
                R = skip + linear_back(n2, block.mlp.fc1, linear_back(u, block.mlp.fc2, R))
                skip, R = sum_back(x, first, R)
                S = safe(linear_back(joined, block.attn.proj, R).unflatten(1, (H, -1)).transpose(0, 1), T)
                R_A = A * (S @ v.transpose(1, 2)) / 2
                R_v = v * (A.transpose(1, 2) @ S) / 2
                S = safe(R_A, scores)
                R_q, R_k = q * (S @ k) / 2, k * (S.transpose(1, 2) @ q) / 2
                stacked = torch.cat([t.transpose(0, 1).flatten(1) for t in (R_q, R_k, R_v)], 1)
                R = skip + linear_back(n1, block.attn.qkv, stacked)
                self.terms.insert(0, (A.grad * R_A).clamp(min=0).mean(0))
        rollout = torch.eye(len(x))
        for term in self.terms:
            rollout = rollout + term @ rollout
        self.row = rollout[0]


@pytest.fixture(scope="module")
def small() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(8)
        model = timm.create_model(
            "deit_tiny_patch16_224", img_size=(48, 64), embed_dim=24, depth=3, num_heads=3, num_classes=7
        ).eval()
        for parameter in model.parameters():
            nn.init.normal_(parameter, std=0.3)
            parameter.requires_grad_(False)
    return model


@pytest.fixture(scope="module")
def images() -> Tensor:
    return torch.randn(2, 3, 48, 64, generator=torch.Generator().manual_seed(4))


def test_interception_equals_the_relevance_pass_by_hand(small, images):
    vit = vs.open_model(small, image_size=(48, 64))
    e = vs.explain(vit, images, "transformer-attribution", 4)
    for i, image in enumerate(images):
        row = Handwritten(small, image, 4).row[1:]
        error = (e.maps[i].flatten() - row).abs().max() / row.abs().max()
        assert error < 1e-3, float(error)
        alone = vs.explain(vit, images[i : i + 1], "transformer-attribution", 4)
        assert torch.allclose(alone.maps[0], e.maps[i], rtol=1e-3, atol=1e-7)
    other = vs.explain(vit, images, "transformer-attribution", 1)
    assert not torch.allclose(e.maps, other.maps)
    assert (e.maps >= 0).all()


@pytest.mark.parametrize(
    "name",
    ["timm-deit", "timm-dinov2-registers", "timm-beit", "hf-dinov2-eager", "torchvision-vit", "timm-siglip"],
)
def test_relevance_reaches_every_attention_and_values_stay(name):
    vit, given = open_zoo(name), inputs(name)
    trace = vit.trace(given, 0 if ZOO[name].classes else lambda output: output[:, 0])
    found = relevance_sites(vit.model, trace.anatomy, trace.inputs, trace.sites, trace.resolved)
    for site in found.values():
        assert site.output_gradient.isfinite().all() and site.output_gradient.abs().sum() > 0
    with quiet(vit.model, gradient=True), _ZPlusInterceptor(ZPlusSurgeon()):
        output = scores_in(vit.model(given))
    if name == "torchvision-vit":  # nn.MultiheadAttention is opened, its products run in another order
        assert torch.allclose(output, scores_in(trace.output), atol=1e-5)
    else:
        assert torch.equal(output.detach(), scores_in(trace.output).detach())


def test_what_has_no_rule_is_refused():
    with pytest.raises(MethodError, match="pictures first"):
        vs.explain(
            open_zoo("encoder-tokens-first"), inputs("encoder-tokens-first"), "transformer-attribution"
        )
    with pytest.raises(MethodError, match="no relevance rule"):
        vs.explain(open_zoo("hand-bmm"), inputs("hand-bmm"), "transformer-attribution")
