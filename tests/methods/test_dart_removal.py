"""DART for the order of removal and beta-DART against slow formulas, and the two ways back of one pass."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

import vitscope as vs
from tests.methods.written import close, small_vit, written_dart
from tests.zoo import TOKENS, ZOO, inputs, open_zoo, scores_in
from vitscope.errors import MethodError, TraceError
from vitscope.tracing import Capture, Rules, TokenRemoval, constant_gate
from vitscope.tracing.calls.counting import counted_passes

STREAMS = Capture(streams=True)
STREAM = [name for name in TOKENS if not name.startswith("hand-functional")]


@pytest.fixture(scope="module")
def model() -> nn.Module:
    """Biases and shifts are not zero, attention is not flat."""
    made = small_vit()
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for name, parameter in made.named_parameters():
            if "bias" in name:
                parameter.copy_(0.2 * torch.randn(parameter.shape, generator=generator))
    return made.double()


@pytest.fixture(scope="module")
def vit(model: nn.Module) -> vs.Vit:
    return vs.open_model(model, image_size=(48, 64))


@pytest.fixture(scope="module")
def images() -> Tensor:
    return torch.randn(2, 3, 48, 64, generator=torch.Generator().manual_seed(2)).double()


@torch.no_grad()
def score_with_weights(model: nn.Module, image: Tensor, chosen: int, weights: Tensor) -> float:
    """The class's logit when token n counts weights[l, n] times as a key of block l, its softmax renormalised."""
    x = model._pos_embed(model.patch_embed(image[None]))[0]
    for block, w in zip(model.blocks, weights, strict=True):
        q, k, v = (
            t.unflatten(1, (3, -1)).transpose(0, 1) for t in block.attn.qkv(block.norm1(x)).chunk(3, -1)
        )
        heads = []
        for h in range(3):
            table = (q[h] @ k[h].T / q.shape[-1] ** 0.5).exp() * w
            heads.append(table / table.sum(1, keepdim=True) @ v[h])
        x = x + block.attn.proj(torch.cat(heads, 1))
        x = x + block.mlp(block.norm2(x))
    return float(model.head(model.norm(x)[0])[chosen])


def removal_derivatives(model: nn.Module, image: Tensor, chosen: int, step: float = 1e-4) -> Tensor:
    """Gamma (L, N): central differences of the score in every block's weight of every token."""
    found = torch.zeros(3, 13, dtype=torch.float64)
    for block in range(3):
        for token in range(13):
            ends = []
            for sign in (1, -1):
                weights = torch.ones(3, 13, dtype=torch.float64)
                weights[block, token] += sign * step
                ends.append(score_with_weights(model, image, chosen, weights))
            found[block, token] = (ends[0] - ends[1]) / (2 * step)
    return found


def test_dart_removal_is_the_account_and_half_the_derivative_of_removal(vit, model, images):
    e = vs.explain(vit, images, "dart-removal")
    for i, twin in enumerate(written_dart(model, images, e.classes, 0.5)):
        gamma = removal_derivatives(model, images[i], int(e.classes[i]))
        flow = torch.stack([twin.rho[b] + 1.5 * gamma[b] for b in range(3)]).cumsum(0)
        close(e.flow[i].flatten(1), flow[:, 1:].float())
        close(e.maps[i].flatten(), flow[-1, 1:].float())
        close(e.extras["removal"][i], gamma.sum(0).float())
        close(e.extras["block_relevance"][i], torch.stack(twin.rho).sum(1).float())
    assert e.extras["removal"].sum(1).abs().max() < 1e-4 * e.extras["removal"].abs().max()


def test_weight_zero_in_every_block_is_removal(vit, model, images):
    weights = torch.ones(3, 13, dtype=torch.float64)
    weights[:, 1 + 5] = 0
    keep = torch.ones(1, 12, dtype=torch.bool)
    keep[0, 5] = False
    removed = vit.forward(images[:1], removal=TokenRemoval(keep))
    assert score_with_weights(model, images[0], 2, weights) == pytest.approx(float(removed[0, 2]), rel=1e-4)


def test_centred_maps_sum_to_nothing_in_the_same_order(vit, images):
    for method in ("dart-removal", "beta-dart"):
        plain = vs.explain(vit, images, method, 3)
        centred = vs.explain(vit, images, method, 3, centre=True)
        assert centred.maps.sum((1, 2)).abs().max() < 1e-4 * centred.maps.abs().sum((1, 2)).min()
        assert torch.equal(centred.maps.flatten(1).argsort(1), plain.maps.flatten(1).argsort(1))
        close(centred.maps, plain.maps - plain.maps.mean((1, 2), keepdim=True))


def mixed(held: Tensor, free: Tensor, beta: float) -> Tensor:
    """The value of both; the gradient is 1 - beta times that of the one and beta times that of the other."""
    return held + beta * (free - free.detach()) - beta * (held - held.detach())


class WrittenBeta:
    """rho and gamma (L, N) of one picture by autograd, every yielding gate written with ``detach``."""

    def __init__(self, model: nn.Module, image: Tensor, chosen: int, beta: float) -> None:
        streams, sites = [], []

        def norm(x: Tensor, module: nn.Module) -> Tensor:
            middle = x - x.mean(-1, keepdim=True)
            std = (x.var(-1, unbiased=False, keepdim=True) + module.eps).sqrt()
            return mixed(middle / std.detach(), middle / std, beta) * module.weight + module.bias

        x = model._pos_embed(model.patch_embed(image[None]))[0]
        for block in model.blocks:
            x = x.detach().requires_grad_() if not streams else x
            x.retain_grad()
            streams.append(x)
            q, k, v = (
                t.unflatten(1, (3, -1)).transpose(0, 1)
                for t in block.attn.qkv(norm(x, block.norm1)).chunk(3, -1)
            )
            A = (q @ k.transpose(1, 2) / q.shape[-1] ** 0.5).softmax(-1)
            T = mixed(A.detach() @ v, A @ v, beta)
            T.retain_grad()
            sites.append((A.detach(), v.detach(), T))
            x = x + block.attn.proj(T.transpose(0, 1).flatten(1))
            u = block.mlp.fc1(norm(x, block.norm2))
            phi = 0.5 * (1 + torch.erf(u / 2**0.5))
            x = x + block.mlp.fc2(mixed(u * phi.detach(), u * phi, beta))
        model.head(norm(x, model.norm)[0])[chosen].backward()
        model.zero_grad(set_to_none=True)
        self.rho = torch.stack([(x.detach() * x.grad).sum(1) for x in streams])
        self.gamma = torch.zeros_like(self.rho)
        for block, (A, v, T) in enumerate(sites):
            for h in range(3):
                for n in range(len(x)):
                    for m in range(len(x)):
                        self.gamma[block, n] += A[h, m, n] * (T.grad[h, m] @ (v[h, n] - T[h, m].detach()))


@pytest.mark.parametrize("beta", [0.2, 0.7])
def test_beta_dart_equals_gates_written_with_detach(vit, model, images, beta):
    e = vs.explain(vit, images, "beta-dart", 3, beta=beta)
    for i, image in enumerate(images):
        twin = WrittenBeta(model, image, 3, beta)
        flow = (twin.rho + twin.gamma).cumsum(0)
        close(e.flow[i].flatten(1), flow[:, 1:].float())
        close(e.extras["block_relevance"][i], twin.rho.sum(1).float())
    assert vs.explain(vit, images, "beta-dart", 3).options["beta"] == 0.2


def test_beta_counts_once_where_the_model_writes_its_softmax_out(model, images):
    """An eager attention has two places for the factor; q and k of a fused one have one each."""
    eager = small_vit().double()
    eager.load_state_dict(model.state_dict())
    for block in eager.blocks:
        block.attn.fused_attn = False
    maps = [
        vs.explain(vs.open_model(each, image_size=(48, 64)), images, "beta-dart", 3, beta=0.4).maps
        for each in (model, eager)
    ]
    close(maps[1], maps[0])


def target_of(name: str) -> object:
    return None if ZOO[name].classes else lambda output: scores_in(output)[:, 0]


def gradients(trace: vs.Trace) -> Iterator[tuple[str, Tensor]]:
    for site in trace.sites:
        yield site.info.path, site.output_gradient
    for index, gradient in enumerate(trace.block_input_gradients):
        yield f"block {index}", gradient


@pytest.mark.parametrize("name", STREAM)
def test_one_pass_gives_the_gradients_of_two(name):
    """Both ways back through one graph, and the two ends of the share, on every anatomy."""
    vit, given, target = open_zoo(name), inputs(name), target_of(name)

    def taken(rules: Rules | None) -> vs.Trace:
        return vit.trace(given, target, rules=rules, capture=STREAMS)

    kappa = 1.0 if name == "timm-vit-scaling" else 0.5
    both = taken(constant_gate(kappa, ordinary_too=True))
    held, plain = taken(constant_gate(kappa)), taken(None)
    for one, other in (
        (both, held),
        (both.ordinary, plain),
        (taken(constant_gate(kappa, share=1.0)), plain),
    ):
        for (where, mine), (_, theirs) in zip(gradients(one), gradients(other), strict=True):
            scale = theirs.abs().max().clamp_min(1e-12)
            assert (mine - theirs).abs().max() < 2e-4 * scale, where
    assert torch.equal(both.logits, plain.logits)


def test_the_second_way_back_needs_no_second_forward(vit, images):
    vs.explain(vit, images, "dart-removal", 3)
    for method, backwards in (("dart-removal", 2), ("beta-dart", 1)):
        with counted_passes() as count:
            vs.explain(vit, images, method, 3)
        assert (count.forwards, count.backwards) == (2, 2 * backwards)
        assert vs.methods.get_method(method).backwards == backwards


def test_maps_are_linear_in_the_score(vit, images):
    for method in ("dart-removal", "beta-dart"):
        one, two = (vs.explain(vit, images, method, chosen).maps for chosen in (1, 4))
        apart = vs.explain(vit, images, method, "difference:1,4").maps
        close(apart, one - two)
        close(vs.explain(vit, images, method, lambda logits: -2 * logits[:, 1]).maps, -2 * one)


def test_an_ordinary_gradient_must_be_asked_for(vit, images):
    with pytest.raises(TraceError, match="ordinary_too=True"):
        _ = vit.trace(images, rules=constant_gate(0.5)).ordinary
    with pytest.raises(TraceError, match="without residual and detach_blocks"):
        Rules(residual=1.0, ordinary_too=True)
    with pytest.raises(MethodError, match=r"'beta' of 'beta-dart' is a number from 0 to 1, got 1\.5"):
        vs.explain(vit, images, "beta-dart", beta=1.5)
