"""CP-LRP, AttnLRP, ResLRP, FullGrad+ and Libra against their rules written out by hand, and what they conserve."""

from __future__ import annotations

import pytest
import timm
import torch
from torch import Tensor, nn

import vitscope as vs
from tests.zoo import TOKENS, ZOO, build, fresh, inputs, open_zoo, scores_in
from vitscope.errors import MethodError
from vitscope.methods import get_method, methods
from vitscope.methods.lrp import ATTN_LRP, CP_LRP
from vitscope.tracing import Capture, LogitDifference, Rules, constant_gate

STREAMS = Capture(streams=True)
RULES = {
    "cp-lrp": CP_LRP,
    "attnlrp": ATTN_LRP,
    "reslrp": Rules("constant-std", "gate", "half", ATTN_LRP.attention, residual=1.0),
    "dart": constant_gate(0.5),
    "libra": constant_gate(),
}


class Handwritten:
    """One picture through a timm DeiT and back, every rule by its own formula and no autograd.

    attention: constant or half; gamma: None or ResLRP's."""

    def __init__(
        self, model: nn.Module, image: Tensor, target: int, attention: str, gamma: float | None
    ) -> None:
        H = model.blocks[0].attn.num_heads
        x = model._pos_embed(model.patch_embed(image[None]))[0]
        d = x.shape[1] // H
        kept = []
        for block in model.blocks:
            start = x
            n1, std1 = norm(x, block.norm1)
            qkv = n1 @ block.attn.qkv.weight.T + block.attn.qkv.bias
            q, k, v = (t.unflatten(1, (H, d)).transpose(0, 1) for t in qkv.chunk(3, 1))
            A = (q @ k.transpose(1, 2) / d**0.5).softmax(-1)
            first = (A @ v).transpose(0, 1).flatten(1) @ block.attn.proj.weight.T + block.attn.proj.bias
            y = x + first
            n2, std2 = norm(y, block.norm2)
            u = n2 @ block.mlp.fc1.weight.T + block.mlp.fc1.bias
            gate = torch.distributions.Normal(0, 1).cdf(u)
            second = (u * gate) @ block.mlp.fc2.weight.T + block.mlp.fc2.bias
            x = y + second
            kept.append((block, start, first, y, second, std1, std2, q, k, v, A, gate))
        _, std = norm(x, model.norm)
        g = torch.zeros_like(x)
        g[0] = model.head.weight[target]
        g = norm_back(g, model.norm, std)
        for block, start, first, y, second, std1, std2, q, k, v, A, gate in reversed(kept):
            g_skip, g_branch = share(y, second, g, gamma)
            du = g_branch @ block.mlp.fc2.weight * gate
            g = g_skip + norm_back(du @ block.mlp.fc1.weight, block.norm2, std2)
            g_skip, g_branch = share(start, first, g, gamma)
            dT = (g_branch @ block.attn.proj.weight).unflatten(1, (H, d)).transpose(0, 1)
            dv, dq, dk = A.transpose(1, 2) @ dT, torch.zeros_like(q), torch.zeros_like(k)
            if attention == "half":
                dA = dT @ v.transpose(1, 2) / 2
                dv = dv / 2
                dS = A * (dA - (dA * A).sum(-1, keepdim=True))
                dq, dk = dS @ k / d**0.5 / 2, dS.transpose(1, 2) @ q / d**0.5 / 2
            dqkv = torch.cat([t.transpose(0, 1).flatten(1) for t in (dq, dk, dv)], 1)
            g = g_skip + norm_back(dqkv @ block.attn.qkv.weight, block.norm1, std1)
        self.tokens = (kept[0][1] * g).sum(1)
        positions = model.pos_embed[0]
        self.patches = ((kept[0][1] - positions) * g).sum(1)


def share(a: Tensor, b: Tensor, g: Tensor, gamma: float | None) -> tuple[Tensor, Tensor]:
    """Gradients of a and b in z = a + b: R_a = w(a) a / (w(a) a + w(b) b) * R_z with R = value * gradient."""
    if gamma is None:
        return g, g
    z = a + b
    wa = torch.where(torch.sign(a) == torch.sign(z), 1 + gamma, 1.0)
    wb = torch.where(torch.sign(b) == torch.sign(z), 1 + gamma, 1.0)
    relevance = z * g
    return wa / (wa * a + wb * b) * relevance, wb / (wa * a + wb * b) * relevance


def norm(x: Tensor, module: nn.Module) -> tuple[Tensor, Tensor]:
    std = (x.var(1, unbiased=False, keepdim=True) + module.eps).sqrt()
    return (x - x.mean(1, keepdim=True)) / std * module.weight + module.bias, std


def norm_back(gradient: Tensor, module: nn.Module, std: Tensor) -> Tensor:
    scaled = gradient * module.weight
    return (scaled - scaled.mean(1, keepdim=True)) / std


@pytest.fixture(scope="module")
def small() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(6)
        model = timm.create_model(
            "deit_tiny_patch16_224", img_size=(48, 64), embed_dim=24, depth=3, num_heads=3, num_classes=7
        ).eval()
        for parameter in model.parameters():
            nn.init.normal_(parameter, std=0.3)
    return model


@pytest.fixture(scope="module")
def vit(small: nn.Module) -> vs.Vit:
    return vs.open_model(small, image_size=(48, 64))


@pytest.fixture(scope="module")
def images() -> Tensor:
    return torch.randn(3, 3, 48, 64, generator=torch.Generator().manual_seed(3))


def close(mine: Tensor, theirs: Tensor, relative: float = 5e-5) -> None:
    error = (mine - theirs).abs().max() / theirs.abs().max().clamp_min(1e-12)
    assert error < relative, float(error)


CASES = [
    ("cp-lrp", {}, "constant", None),
    ("attnlrp", {}, "half", None),
    ("reslrp", {}, "half", 1.0),
    ("reslrp", {"attention": "constant", "gamma": 0.5}, "constant", 0.5),
]


@pytest.mark.parametrize(("name", "options", "attention", "gamma"), CASES)
def test_interception_equals_the_handwritten_rules(vit, small, images, name, options, attention, gamma):
    with torch.no_grad():
        twins = [Handwritten(small, image, 4, attention, gamma) for image in images]
    e = vs.explain(vit, images, name, 4, **options)
    close(e.maps.flatten(1), torch.stack([t.tokens for t in twins])[:, 1:])
    close(e.extras["conserved"] * e.scores, torch.stack([t.tokens.sum() for t in twins]), 5e-4)
    bare = vs.explain(vit, images, name, 4, positions=False, **options)
    close(bare.maps.flatten(1), torch.stack([t.patches for t in twins])[:, 1:])


def test_gamma_zero_is_attnlrp(vit, images):
    close(vs.explain(vit, images, "reslrp", 2, gamma=0).maps, vs.explain(vit, images, "attnlrp", 2).maps)
    for wrong in ({"gamma": -1}, {"attention": "none"}):
        with pytest.raises(MethodError, match="of 'reslrp' is"):
            vs.explain(vit, images, "reslrp", **wrong)


@pytest.mark.parametrize("name", ["cp-lrp", "attnlrp", "reslrp", "fullgrad-plus", "libra-fullgrad"])
def test_signed_relevance_is_linear_in_the_score_and_needs_no_batch(vit, images, name):
    one, two = (vs.explain(vit, images, name, c).maps for c in (1, 4))
    assert not torch.allclose(one, two)
    close(vs.explain(vit, images, name, LogitDifference(1, 4)).maps, one - two, 2e-4)
    close(vs.explain(vit, images, name, lambda logits: 3 * logits[:, 1]).maps, 3 * one)
    for i in range(3):
        close(vs.explain(vit, images[i : i + 1], name, 1).maps[0], one[i])


def target_of(name: str) -> object:
    return None if ZOO[name].classes else lambda output: scores_in(output)[:, 0]


@pytest.mark.parametrize("name", [n for n in TOKENS if "functional" not in n and n != "timm-vit-scaling"])
def test_forward_values_stay_bit_equal_under_every_rule(name):
    vit, given = open_zoo(name), inputs(name)
    plain = vit.trace(given, target_of(name), capture=STREAMS)
    state = {k: v.clone() for k, v in build(name).state_dict().items()}
    for rules in RULES.values():
        ruled = vit.trace(given, target_of(name), rules=rules, capture=STREAMS)
        assert torch.equal(ruled.logits, plain.logits)
        for a, b in zip(ruled.block_outputs, plain.block_outputs, strict=True):
            assert torch.equal(a, b)
    assert all(torch.equal(v, state[k]) for k, v in build(name).state_dict().items())


CONSERVING = {
    "timm-deit": "plain DeiT",
    "timm-dinov2-registers": "LayerScale and registers",
    "timm-eva02": "SwiGLU, rotary, no class token read",
    "timm-dinov3": "rotary, registers",
    "timm-siglip": "attention pooling",
    "timm-vit-post-norm": "post-norm",
    "hf-vit-sdpa": "transformers",
    "hf-dinov2-registers-eager": "transformers, eager",
    "torchvision-vit": "torchvision",
    "open-clip": "open_clip",
}


@pytest.mark.parametrize("name", CONSERVING)
def test_without_biases_relevance_adds_up_to_the_score_in_float64(name):
    model = fresh(name).double()
    with torch.no_grad():
        for path, parameter in model.named_parameters():
            if "bias" in path:
                parameter.zero_()
    vit = vs.open_model(model, image_size=ZOO[name].size)
    given = inputs(name).double()
    for method, options in (("cp-lrp", {}), ("reslrp", {"attention": "constant"})):
        e = vs.explain(vit, given, method, target_of(name), **options)
        assert (e.extras["conserved"] - 1).abs().max() < 1e-3, (method, e.extras["conserved"])
    e = vs.explain(vit, given, "libra-fullgrad", target_of(name))
    assert (e.extras["missing"].abs() / e.scores.abs()[:, None]).max() < 1e-3


def test_libra_is_an_option_of_every_gradient_method(vit, images):
    both = vs.explain(vit, images, ["fullgrad-plus", "libra-fullgrad"], 1, libra=True)
    assert torch.equal(both["fullgrad-plus"].maps, both["libra-fullgrad"].maps)
    close(vs.explain(vit, images, "dart", 1, kappa=1.0, gate=False).maps, both["libra-fullgrad"].maps)
    takers = [info.name for info in methods() if info.takes_libra]
    assert {"gae", "gmar", "gradcam", "fullgrad-plus"} <= set(takers)
    assert not {"dart", "rollout", "libra-fullgrad", "cp-lrp"} & set(takers)
    plain, libra = (vs.explain(vit, images, "gae", 1, libra=on) for on in (False, True))
    assert not torch.allclose(plain.maps, libra.maps) and torch.equal(
        plain.maps, vs.explain(vit, images, "gae", 1).maps
    )
    assert libra.options["libra"] is True
    trace = vit.trace(images, 1, rules=constant_gate())
    close(libra.maps, trace.layout.to_grid(get_method("gae").function(trace).tokens))
    with pytest.raises(MethodError, match="libra"):
        vs.explain(vit, images, "rollout", libra=True)


@pytest.mark.assets
def test_conservation_on_the_real_deit_in_float64(deit, deit_weights, sample_pictures):
    """With its biases taken away the real DeiT-Tiny is another function, but the rules must still add up."""
    vit = vs.open_model("timm/deit_tiny_patch16_224", weights=deit_weights)
    model = vit.model.double()
    with torch.no_grad():
        for path, parameter in model.named_parameters():
            if "bias" in path:
                parameter.zero_()
    vit = vs.open_model(model, image_size=(224, 224))
    given = deit.images(sample_pictures[:2]).double()
    es = vs.explain(vit, given, {"cp-lrp": {}, "libra-fullgrad": {}, "reslrp": {"attention": "constant"}})
    assert (es["cp-lrp"].extras["conserved"] - 1).abs().max() < 1e-3
    assert (es["reslrp"].extras["conserved"] - 1).abs().max() < 1e-3
    missing = es["libra-fullgrad"].extras["missing"] / es["libra-fullgrad"].scores[:, None]
    assert missing.abs().max() < 1e-3
