"""GAE, gradient rollout, the CAM family, LeGrad, AttCAT, AGCAM, TokenTM and attention flow, each written out slowly."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import vitscope as vs
from tests.methods.written import Written, close, small_vit
from vitscope.errors import MethodError

B, H, P = 2, 3, 12
N = P + 1


@pytest.fixture(scope="module")
def small() -> nn.Module:
    return small_vit()


@pytest.fixture(scope="module")
def images() -> Tensor:
    return torch.randn(B, 3, 48, 64, generator=torch.Generator().manual_seed(7))


@pytest.fixture(scope="module")
def vit(small: nn.Module) -> vs.Vit:
    return vs.open_model(small, image_size=(48, 64))


@pytest.fixture(scope="module")
def classes(vit: vs.Vit, images: Tensor) -> Tensor:
    return vit.trace(images).classes


@pytest.fixture(scope="module")
def written(small: nn.Module, images: Tensor, classes: Tensor) -> Written:
    return Written(small, images, classes)


def mapped(vit: vs.Vit, images: Tensor, method: str, **options: object) -> Tensor:
    return vs.explain(vit, images, method, keep_pictures=False, **options).maps.flatten(1)


def test_gae(vit, images, written):
    for b in range(B):
        R = torch.eye(N)
        for A, G in zip(written.A, written.dA, strict=True):
            bar = sum((G[b, h] * A[b, h]).clamp(min=0) for h in range(H)) / H
            R = R + bar @ R
        close(mapped(vit, images, "gae")[b], R[0, 1:])


def test_gradient_rollout(vit, images, written):
    for b in range(B):
        R = torch.eye(N)
        for A, G in zip(written.A, written.dA, strict=True):
            M = sum((G[b, h] * A[b, h]).clamp(min=0) for h in range(H)) / H + torch.eye(N)
            R = (M / M.sum(1, keepdim=True)) @ R
        close(mapped(vit, images, "gradient-rollout")[b], R[0, 1:])


def test_cam_family(vit, images, written):
    X, g = written.normed[-1][:, 1:], written.dnormed[-1][:, 1:]
    twins = {name: torch.zeros(B, P) for name in ("gradcam", "hirescam", "xgradcam", "layercam")}
    for b in range(B):
        for c in range(X.shape[2]):
            x, d = X[b, :, c], g[b, :, c]
            twins["gradcam"][b] += d.mean() * x
            twins["hirescam"][b] += d * x
            twins["xgradcam"][b] += (d * x).sum() / x.sum() * x
            twins["layercam"][b] += d.clamp(min=0) * x
    for name, twin in twins.items():
        close(mapped(vit, images, name, relu=False), twin)
        assert torch.equal(mapped(vit, images, name), mapped(vit, images, name, relu=False).clamp(min=0))


def test_gradcam_plus_plus(vit, images, written):
    """The paper's formula with its powers, over feature maps without negative values in the denominator."""
    X, g = written.normed[-1][:, 1:].double(), written.dnormed[-1][:, 1:].double()
    twin = torch.zeros(B, P, dtype=torch.float64)
    for b in range(B):
        for c in range(X.shape[2]):
            weight = 0.0
            total = sum(max(float(x), 0.0) for x in X[b, :, c])
            for n in range(P):
                d = float(g[b, n, c])
                if d > 0:
                    weight += d**2 / (2 * d**2 + total * d**3) * d
            twin[b] += weight * X[b, :, c]
    close(mapped(vit, images, "gradcam-plus-plus", relu=False), twin.float())


def principal(X: Tensor) -> Tensor:
    """Power iteration on the covariance of the channels, written out; the farthest patch is positive."""
    centred = X.double() - X.double().mean(0)
    v = torch.ones(X.shape[1], dtype=torch.float64)
    for _ in range(5000):
        v = centred.T @ (centred @ v)
        v = v / v.norm()
    found = centred @ v
    return (found * found[found.abs().argmax()].sign()).float()


def test_eigencam(vit, images, written):
    X, g = written.normed[-1][:, 1:], written.dnormed[-1][:, 1:]
    for b in range(B):
        close(mapped(vit, images, "eigencam", relu=False)[b], principal(X[b]))
        close(mapped(vit, images, "eigen-gradcam", relu=False)[b], principal(X[b] * g[b]))
        close(mapped(vit, images, "eigencam", block=0)[b], principal(written.normed[0][b, 1:]).clamp(min=0))


def test_scorecam(small, vit, images, classes, written):
    X = written.normed[-1][:, 1:]
    for b in range(B):
        scores = []
        for c in range(X.shape[2]):
            mask = (X[b, :, c] - X[b, :, c].min()) / (X[b, :, c].max() - X[b, :, c].min())
            large = nn.functional.interpolate(mask.reshape(1, 1, 3, 4), size=(48, 64), mode="bilinear")[0, 0]
            with torch.no_grad():
                scores.append(float(small(images[b : b + 1] * large)[0, classes[b]]))
        total = sum(math.exp(s - max(scores)) for s in scores)
        twin = sum(math.exp(s - max(scores)) / total * X[b, :, c] for c, s in enumerate(scores))
        close(mapped(vit, images, "scorecam", relu=False)[b], twin)


def without_channel(small: nn.Module, image: Tensor, block: int, channel: int) -> Tensor:
    """The logits when one channel of a block's first norm is 0 at every patch, by the module's own hook."""

    def zero(_module, _given, output):
        output = output.clone()
        output[:, 1:, channel] = 0
        return output

    handle = small.blocks[block].norm1.register_forward_hook(zero)
    try:
        with torch.no_grad():
            return small(image)[0]
    finally:
        handle.remove()


@pytest.mark.parametrize("block", [2, 1])
def test_ablationcam(small, vit, images, classes, written, block):
    X = written.normed[block][:, 1:]
    for b in range(B):
        whole = float(written.logits[b, classes[b]].detach())
        twin = torch.zeros(P)
        for c in range(X.shape[2]):
            lost = whole - float(without_channel(small, images[b : b + 1], block, c)[classes[b]])
            twin += lost / abs(whole) * X[b, :, c]
        close(mapped(vit, images, "ablationcam", relu=False, block=block)[b], twin)


@pytest.mark.parametrize("method", ["scorecam", "ablationcam"])
def test_fewer_channels_are_those_that_vary_most(vit, images, written, method):
    """One channel alone gives that channel's tokens, times a number."""
    X = written.normed[-1][:, 1:]
    found = mapped(vit, images, method, channels=1, relu=False)
    for b in range(B):
        most = X[b, :, int(X[b].var(0).argmax())]
        close(found[b] / found[b].norm() * (found[b] @ most).sign(), most / most.norm())
    assert torch.equal(mapped(vit, images, method, channels=24), mapped(vit, images, method))


def test_attention_gradcam(vit, images, written):
    A, G = written.A[-1][:, :, 0], written.dA[-1][:, :, 0]
    twin = torch.zeros(B, P)
    for h in range(H):
        twin += G[:, h, 1:].mean(1, keepdim=True) * A[:, h, 1:] / H
    close(mapped(vit, images, "attention-gradcam"), twin.clamp(min=0))


def test_legrad(small, vit, images, classes):
    local = Written(small, images, classes, detach_blocks=True)
    twin = torch.zeros(B, N)
    for G in local.dA:
        for h in range(H):
            for query in range(N):
                twin += G[:, h, query].clamp(min=0) / (H * N * len(local.dA))
    close(mapped(vit, images, "legrad"), twin[:, 1:])


@pytest.mark.parametrize(("at", "value"), [("input", "X"), ("output", "Z")])
def test_attcat(vit, images, written, at, value):
    twin = torch.zeros(B, N)
    for A, x, g in zip(written.A, getattr(written, value), getattr(written, "d" + value), strict=True):
        twin += A[:, :, 0].mean(1) * (x * g).sum(2)
    close(mapped(vit, images, "attcat", at=at), twin[:, 1:])


def test_agcam(vit, images, written):
    twin = torch.zeros(B, N)
    for scores, G in zip(written.scores, written.dA, strict=True):
        for h in range(H):
            twin += G[:, h, 0].clamp(min=0) * torch.sigmoid(scores[:, h, 0])
    close(mapped(vit, images, "agcam"), twin[:, 1:])


def test_tokentm(vit, images, written):
    for b in range(B):
        R = torch.diag(written.normed[0][b].norm(dim=1))
        for A, G, V, E in zip(written.A, written.dA, written.V, written.normed, strict=True):
            moved = torch.cat([V[b, h] for h in range(H)], 1)
            length = [float(moved[n].norm() / E[b, n].norm()) for n in range(N)]
            angle = [math.exp(float(moved[n] @ E[b, n] / moved[n].norm() / E[b, n].norm())) for n in range(N)]
            W = torch.tensor([length[n] * N * angle[n] / sum(angle) for n in range(N)])
            bar = sum((G[b, h] * A[b, h]).clamp(min=0) for h in range(H)) / H
            R = (torch.eye(N) + bar * W[None]) @ R
        close(mapped(vit, images, "tokentm")[b], R[0, 1:])


def test_attention_flow_equals_a_linear_programme(vit, images, written):
    """The maximum flow as a linear programme over edges, for the full 3x4 grid and one picture."""
    from scipy.optimize import linprog

    mean = [A[0].mean(0).double().numpy() for A in written.A]
    mine = mapped(vit, images, "attention-flow", residual=0.5)[0]
    L = len(mean)
    edges = [(L + 1, 0, (L, 0), 1.0)]  # the source only feeds the class token
    for layer in range(L):
        for q in range(N):
            for k in range(N):
                capacity = 0.5 * mean[layer][q, k] + 0.5 * (q == k)
                edges.append((layer + 1, q, (layer, k), capacity))
    for sink in (1, 7):
        nodes = [(layer, n) for layer in range(L + 1) for n in range(N)]
        balance = np.zeros((len(nodes), len(edges)))
        for column, (layer, q, (to_layer, k), _) in enumerate(edges):
            if layer <= L:
                balance[nodes.index((layer, q)), column] -= 1
            balance[nodes.index((to_layer, k)), column] += 1
        inner = [i for i, node in enumerate(nodes) if node != (0, sink)]
        gain = -balance[nodes.index((0, sink))]
        solved = linprog(
            gain, A_eq=balance[inner], b_eq=np.zeros(len(inner)), bounds=[(0, e[3]) for e in edges]
        )
        assert abs(-solved.fun - float(mine[sink - 1])) < 1e-4


def test_removal_methods_against_loops(vit, images, classes):
    full = vit.forward(images).gather(1, classes[:, None])[:, 0]
    twin = torch.zeros(B, P)
    for n in range(P):
        keep = torch.ones(B, P, dtype=torch.bool)
        keep[:, n] = False
        without = vit.forward(images, removal=vs.TokenRemoval(keep)).gather(1, classes[:, None])[:, 0]
        twin[:, n] = full - without
    close(mapped(vit, images, "leave-one-out"), twin, 1e-3)
    many = mapped(vit, images, "rise", masks=512)
    for b in range(B):
        assert np.corrcoef(many[b], twin[b])[0, 1] > 0.6


def test_pixel_methods_against_autograd(small, vit, images, classes):
    x = images.clone().requires_grad_()
    small(x).gather(1, classes[:, None]).sum().backward()
    small.zero_grad(set_to_none=True)

    def cells(pixels: Tensor) -> Tensor:
        return pixels.sum(1).unfold(1, 16, 16).unfold(2, 16, 16).sum((-1, -2)).flatten(1)

    close(mapped(vit, images, "saliency"), cells(x.grad.abs()))
    close(mapped(vit, images, "input-x-gradient"), cells(images * x.grad))
    steps, total = 300, torch.zeros_like(images)
    for step in range(steps):
        point = (images * (step + 0.5) / steps).requires_grad_()
        total += torch.autograd.grad(small(point).gather(1, classes[:, None]).sum(), point)[0]
    close(mapped(vit, images, "integrated-gradients", steps=60), cells(images * total / steps), 2e-2)
    twin = torch.zeros(B, P)
    full = small(images).gather(1, classes[:, None])[:, 0]
    for n in range(P):
        hidden = images.clone()
        hidden[:, :, 16 * (n // 4) : 16 * (n // 4) + 16, 16 * (n % 4) : 16 * (n % 4) + 16] = 0
        twin[:, n] = (full - small(hidden).gather(1, classes[:, None])[:, 0]).detach()
    close(mapped(vit, images, "occlusion"), twin, 1e-3)
    shap = mapped(vit, images, "kernel-shap", samples=600)
    empty = small(torch.zeros_like(images)).gather(1, classes[:, None])[:, 0]
    gap = (full - empty).detach()
    assert torch.allclose(shap.sum(1), gap, atol=0.05 * float(gap.abs().max()))


def test_smoothgrad_is_repeatable_and_leaves_the_random_state_alone(vit, images):
    state = torch.get_rng_state()
    one, two = mapped(vit, images, "smoothgrad", samples=3), mapped(vit, images, "smoothgrad", samples=3)
    assert torch.equal(one, two)
    mapped(vit, images, "kernel-shap", samples=20)
    assert torch.equal(state, torch.get_rng_state())
    assert not torch.equal(one, mapped(vit, images, "smoothgrad", samples=3, seed=1))


def test_gradcam_refuses_where_patches_have_no_gradient(images):
    """A last block whose attention ignores everything but the class token leaves no gradient at the patches."""
    model = small_vit()
    with torch.no_grad():
        model.blocks[-1].attn.proj.weight.zero_()
        model.blocks[-1].attn.proj.bias.zero_()
    lonely = vs.open_model(model, image_size=(48, 64))
    with pytest.raises(MethodError, match=r"zero at every patch of block 2.*choose an earlier block"):
        vs.explain(lonely, images, "gradcam", block=2)
    chosen = vs.explain(lonely, images, "gradcam").maps
    assert bool(chosen.any())
    assert torch.equal(chosen, vs.explain(lonely, images, "gradcam", block=1).maps)
