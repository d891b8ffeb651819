"""``libra=True`` on every method that reads the model's own gradient: forward kept, way back changed, contract kept."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import vitscope as vs
from tests.methods.test_contract import LOOSE, SLOW, alike, applying, pick, request, target_for
from tests.methods.written import close, small_vit
from tests.zoo import ZOO, inputs, open_zoo
from vitscope.methods import MethodInfo
from vitscope.methods.gradcam import by_tokens

RELU_ALONE = {"resnet"}
"""Without norm over tokens, softmax or smooth activation: relu's constant gate [u > 0] is its derivative anyway."""


def empty(explanation: vs.Explanation) -> bool:
    """True where the method found nothing: zeros, or a chain that is still its start after every block."""
    flow = explanation.flow
    return not bool(explanation.maps.any()) or (flow is not None and bool((flow == flow[:, :1]).all()))


def all_linear_behind(name: str, info: MethodInfo) -> bool:
    """From the last feature map, which gradcam reads where there is no grid of tokens, to the score all is linear."""
    return info.name == "gradcam" and not ZOO[name].text and not by_tokens(open_zoo(name).anatomy)


def takers(name: str) -> list[MethodInfo]:
    return [info for info in applying(name) if info.takes_libra and info.name not in SLOW]


def explain(name: str, batch, infos: list[MethodInfo], libra: bool) -> dict[str, vs.Explanation]:
    wanted = {method: {**options, "libra": libra} for method, options in request(infos).items()}
    return vs.explain(open_zoo(name), batch, wanted, target=target_for(name), keep_pictures=False)


@pytest.mark.parametrize("name", list(ZOO))
def test_libra_keeps_the_forward_and_changes_the_way_back(name):
    infos, batch = takers(name), inputs(name)
    if not infos:
        pytest.skip("no method on the model's own gradient applies here")
    plain, libra = explain(name, batch, infos, False), explain(name, batch, infos, True)
    single = explain(name, pick(batch, [1]), infos, True)
    for info in infos:
        one, other = plain[info.name], libra[info.name]
        assert other.options["libra"] is True
        assert torch.equal(one.scores, other.scores), info.name
        if one.logits is not None:
            assert torch.equal(one.logits, other.logits), info.name
        assert torch.isfinite(other.maps).all(), info.name
        assert other.maps.shape == one.maps.shape, info.name
        changed = not torch.equal(one.maps, other.maps)
        assert changed or empty(one) or name in RELU_ALONE or all_linear_behind(name, info), info.name
        alone = single[info.name].maps[0]
        assert alike(other.maps[1], alone, LOOSE.get(info.name, 2e-3)), f"{info.name}: batch is not a loop"


def test_every_method_with_a_plain_gradient_takes_libra():
    """All that go backwards, but for those whose own rules say how."""
    own_rules = {
        "dart",
        "dart-removal",
        "beta-dart",
        "gmar-plus",
        "cp-lrp",
        "attnlrp",
        "reslrp",
        "libra-fullgrad",
    }
    own_rules |= {"ablationcam"}  # it asks the gradient only where there is any
    backwards = {info.name for info in vs.methods() if info.backwards > 0}
    assert {info.name for info in vs.methods() if info.takes_libra} == backwards - own_rules
    assert {"daam", "daam-self", "legrad", "saliency", "integrated-gradients"} <= backwards - own_rules


@pytest.fixture(scope="module")
def images() -> Tensor:
    return torch.randn(2, 3, 48, 64, generator=torch.Generator().manual_seed(5))


class Detached(nn.Module):
    """A timm ViT written anew with ``detach`` where Libra holds constant, so that autograd alone gives its gradient.

    ``A``, ``V``, ``T``: every block's attention, values and heads' outputs."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.A: list[Tensor] = []
        self.V: list[Tensor] = []
        self.T: list[Tensor] = []

    @staticmethod
    def norm(module: nn.Module, x: Tensor) -> Tensor:
        centred = x - x.mean(-1, keepdim=True)
        std = (centred.square().mean(-1, keepdim=True) + module.eps).sqrt().detach()
        return centred / std * module.weight + module.bias

    def forward(self, images: Tensor, each_block: bool = False) -> Tensor:
        """The output; with ``each_block`` the sum of what every block's own output would give, cut between blocks."""
        m = self.model
        x = m._pos_embed(m.patch_embed(images))
        self.A, self.V, self.T = [], [], []
        local: Tensor | int = 0
        for block in m.blocks:
            x = x.detach() if each_block else x
            normed = self.norm(block.norm1, x)
            B, N, D = normed.shape
            H = block.attn.num_heads
            q, k, v = block.attn.qkv(normed).reshape(B, N, 3, H, D // H).permute(2, 0, 3, 1, 4)
            A = (q @ k.transpose(-2, -1) * (D // H) ** -0.5).softmax(-1).detach().requires_grad_()
            T = A @ v
            self.A.append(A), self.V.append(v), self.T.append(T)
            x = x + block.attn.proj(T.transpose(1, 2).reshape(B, N, D))
            u = block.mlp.fc1(self.norm(block.norm2, x))
            gate = torch.distributions.Normal(0, 1).cdf(u.detach())
            x = x + block.mlp.fc2(u * gate)
            if each_block:
                local = local + m.head(self.norm(m.norm, x)[:, 0])
        return local if each_block else m.head(self.norm(m.norm, x)[:, 0])


@pytest.fixture(scope="module")
def small() -> nn.Module:
    return small_vit()


@pytest.fixture(scope="module")
def vit(small: nn.Module) -> vs.Vit:
    return vs.open_model(small, image_size=(48, 64))


def libra_map(vit: vs.Vit, images: Tensor, name: str, **options: object) -> Tensor:
    return vs.explain(vit, images, name, 3, libra=True, **options).maps.flatten(1)


def test_daam_with_libra_equals_the_model_written_with_detach(vit, small, images):
    twin = Detached(small)
    score = twin(images)[:, 3].sum()
    gradients = torch.autograd.grad(score, twin.T)
    total = 0
    for A, V, dT in zip(twin.A, twin.V, gradients, strict=True):
        U = (A[:, :, 0, :, None] * V * dT[:, :, 0, None, :].clamp_min(0)).sum((1, 3))
        total = total + U.clamp_min(0)
    close(libra_map(vit, images, "daam"), total[:, 1:])


def test_gae_with_libra_equals_the_model_written_with_detach(vit, small, images):
    twin = Detached(small)
    gradients = torch.autograd.grad(twin(images)[:, 3].sum(), twin.A)
    R = torch.eye(twin.A[0].shape[-1])
    for A, G in zip(twin.A, gradients, strict=True):
        R = R + (A * G).clamp_min(0).mean(1) @ R
    close(libra_map(vit, images, "gae"), R[:, 0, 1:])


@pytest.mark.parametrize("name", ["saliency", "input-x-gradient", "integrated-gradients", "smoothgrad"])
def test_pixel_gradients_with_libra_equal_the_model_written_with_detach(vit, small, images, name):
    options = {"integrated-gradients": {"steps": 3}, "smoothgrad": {"samples": 2}}.get(name, {})
    twin = vs.open_model(Detached(small), image_size=(48, 64), classes=7, grid=(3, 4), prefix=("class",))
    theirs = vs.explain(twin, images, name, 3, **options).maps.flatten(1)
    close(libra_map(vit, images, name, **options), theirs)


def test_legrad_with_libra_equals_the_model_written_with_detach(vit, small, images):
    twin = Detached(small)
    gradients = torch.autograd.grad(twin(images, each_block=True)[:, 3].sum(), twin.A)
    maps = torch.stack([G.clamp_min(0).mean((1, 2)) for G in gradients]).mean(0)
    close(libra_map(vit, images, "legrad"), maps[:, 1:])


def test_self_supervised_daam_with_libra(small, images):
    """<f, w> with w = f^ * f^ and no relu on the channels, from the features of the model without its head."""
    model = small_vit(num_classes=0)
    e = vs.explain(vs.open_model(model, image_size=(48, 64)), images, "daam-self", libra=True)
    twin = Detached(model)
    f = twin(images)
    w = torch.nn.functional.normalize(f.detach(), dim=-1).square()
    w = (w - w.amin(1, keepdim=True)) / (w.amax(1, keepdim=True) - w.amin(1, keepdim=True))
    total = 0
    for A, V, dT in zip(twin.A, twin.V, torch.autograd.grad((f * w).sum(), twin.T), strict=True):
        total = total + (A[:, :, 0, :, None] * V * dT[:, :, 0, None, :]).sum((1, 3)).clamp_min(0)
    close(e.maps.flatten(1), total[:, 1:])


def test_legrad_and_pixels_leave_no_trace_of_libra(vit, images):
    """The option belongs to one call: the next plain one is as if it had not been."""
    for name in ("legrad", "saliency", "daam"):
        before = vs.explain(vit, images, name, 3).maps
        vs.explain(vit, images, name, 3, libra=True)
        assert torch.equal(vs.explain(vit, images, name, 3).maps, before)
