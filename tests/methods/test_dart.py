"""DART and GMAR+ against their formulas written out slowly, their conservation laws, and the figures published."""

from __future__ import annotations

import pytest
import timm
import torch
from torch import Tensor, nn

import vitscope as vs
from tests.methods.written import written_dart
from tests.zoo import TOKENS, ZOO, fresh, inputs, open_zoo, scores_in
from vitscope.errors import MethodError, VitscopeError
from vitscope.methods.chain import chain_sites
from vitscope.methods.dart import block_relevance, half_subsets, key_gate
from vitscope.methods.fullgrad import stream_relevance
from vitscope.tracing import Capture, LogitDifference, TokenRemoval, constant_gate

STREAMS = Capture(streams=True)
LOOSE = [name for name in TOKENS if name.startswith("hand-functional")]
"""Their residual additions are written outside any block's module: DART refuses them."""
PARALLEL = ["timm-vit-scaling"]
"""Attention and MLP in one branch: there is no MLP branch for kappa, which is then 1."""
STREAM = [name for name in TOKENS if name not in LOOSE]
LATE_CLASS = {"timm-cait": 2, "timm-xcit": 2, "timm-convit": 1, "timm-volo": 4}
"""Blocks that run before the class token joins: until then its start value is missing from the stream."""


@pytest.fixture(scope="module")
def small() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(5)
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
    return torch.randn(3, 3, 48, 64, generator=torch.Generator().manual_seed(2))


def close(mine: Tensor, theirs: Tensor, relative: float = 2e-5) -> None:
    error = (mine - theirs).abs().max() / theirs.abs().max().clamp_min(1e-12)
    assert error < relative, float(error)


@pytest.mark.parametrize("kappa", [0.5, 1.0])
def test_interception_equals_the_handwritten_backward(vit, small, images, kappa):
    e = vs.explain(vit, images, "dart", kappa=kappa)
    twins = written_dart(small, images, e.classes, kappa)
    flow = torch.stack([torch.stack(t.rho) + torch.stack(t.gamma) for t in twins]).cumsum(1)
    close(e.flow.flatten(2), flow[:, :, 1:])
    close(e.maps.flatten(1), flow[:, -1, 1:])
    close(e.extras["block_relevance"], torch.stack([torch.stack(t.rho).sum(1) for t in twins]))
    ungated = vs.explain(vit, images, "dart", kappa=kappa, gate=False)
    close(ungated.maps.flatten(1), torch.stack([sum(t.rho) for t in twins])[:, 1:])


def test_centred_map_is_what_a_patch_holds_beyond_an_equal_share(vit, small, images):
    e = vs.explain(vit, images, "dart", kappa=0.5, centre=True)
    for i, twin in enumerate(written_dart(small, images, e.classes, 0.5)):
        total = torch.zeros(12)
        for block in range(3):
            step = twin.rho[block][1:] + twin.gamma[block][1:]
            total += step - sum(step.tolist()) / 12
            close(e.flow[i, block].flatten(), total)
    assert e.maps.sum((1, 2)).abs().max() < 1e-4 * e.maps.abs().sum((1, 2)).min()
    plain = vs.explain(vit, images, "dart", kappa=0.5)
    assert torch.equal(e.maps.flatten(1).argsort(1), plain.maps.flatten(1).argsort(1))
    close(e.extras["block_relevance"], plain.extras["block_relevance"])


def test_signed_map_follows_the_logit(vit, images):
    def maps(target: object) -> Tensor:
        return vs.explain(vit, images, "dart", target, kappa=0.5).maps

    one, two = maps(1), maps(4)
    assert (one < 0).any() and not torch.allclose(one, two)
    close(maps(LogitDifference(1, 4)), one - two, 1e-4)
    close(maps(lambda logits: 3 * logits[:, 1]), 3 * one, 1e-5)
    close(maps(lambda logits: -logits[:, 1]), -one, 1e-5)


def test_batch_equals_loop(vit, images):
    batch = vs.explain(vit, images, ["dart", "gmar-plus"], 2, kappa=0.7, refined=2)
    for i in range(3):
        alone = vs.explain(vit, images[i : i + 1], ["dart", "gmar-plus"], 2, kappa=0.7, refined=2)
        for name in batch:
            close(alone[name].flow[0], batch[name].flow[i])


def test_gmar_plus_equals_its_literal_twin(vit, images):
    e = vs.explain(vit, images, "gmar-plus", kappa=0.5)
    trace = vit.trace(images, rules=constant_gate(0.5), capture=STREAMS)
    N = trace.layout.tokens
    for b in range(3):
        R = torch.eye(N)
        for block, site in enumerate(trace.sites):
            A, V, dT = site.attention()[b], site.v[b], site.output_gradient[b]
            M = torch.zeros(N, N)
            for h in range(3):
                positive = (dT[h] @ V[h].T * A[h]).clamp(min=0).sum()
                close(e.extras["head_strength"][b, block, h], positive)
                M += dT[h] @ V[h].T * A[h]
            R = R + M.clamp(min=0) @ R
            close(e.flow[b, block].flatten(), R[0, 1:])
    close(e.extras["head_weights"].sum(2), torch.ones(3, 3))
    assert (e.maps >= 0).all()


@pytest.mark.parametrize("name", STREAM)
def test_gate_term_moves_relevance_and_makes_none(name):
    trace = open_zoo(name).trace(inputs(name), target_of(name), rules=constant_gate(1.0), capture=STREAMS)
    sites = chain_sites(trace) + ([trace.pool] if trace.pool else [])
    for site in sites:
        gamma = key_gate(site)
        assert gamma.shape == (site.batch, site.keys)
        assert gamma.sum(1).abs().max() <= 1e-4 * gamma.abs().sum(1).max() + 1e-9


@pytest.mark.parametrize("name", STREAM)
def test_without_biases_every_block_holds_the_whole_score(name):
    model = fresh(name).double()
    with torch.no_grad():
        for path, parameter in model.named_parameters():
            if "bias" in path:
                parameter.zero_()
    vit = vs.open_model(model, image_size=None if ZOO[name].text else ZOO[name].size)
    given = inputs(name)
    given = given.double() if isinstance(given, Tensor) else given
    trace = vit.trace(given, target_of(name), rules=constant_gate(1.0), capture=STREAMS)
    whole = stream_relevance(trace).sum(2)[:, LATE_CLASS.get(name, 0) :]
    error = (whole - trace.scores[:, None]).abs() / trace.scores.abs()[:, None]
    assert error.max() < 1e-4, error


def target_of(name: str) -> object:
    return None if ZOO[name].classes else lambda output: scores_in(output)[:, 0]


def other(output: object) -> Tensor:
    return scores_in(output)[:, 3]


# a causal mask hides every patch from a class token that comes first: its map is rightly zero
@pytest.mark.parametrize("name", [name for name in STREAM if name != "hand-causal"])
def test_every_anatomy_gets_a_finite_map_that_depends_on_the_target(name):
    kappa = 1.0 if name in PARALLEL else 0.5
    one = vs.explain(open_zoo(name), inputs(name), "dart", target_of(name) or 1, kappa=kappa)
    two = vs.explain(open_zoo(name), inputs(name), "dart", other, kappa=kappa)
    assert one.maps.isfinite().all() and not torch.allclose(one.maps, two.maps)
    assert torch.equal(one.flow[:, -1], one.maps)


@pytest.mark.parametrize("name", LOOSE)
def test_without_a_stream_to_see_dart_is_refused(name):
    with pytest.raises(MethodError, match="residual stream is not seen"):
        vs.explain(open_zoo(name), inputs(name), "dart")


def test_parallel_blocks_have_no_mlp_branch_to_scale():
    for name in PARALLEL:
        e = vs.explain(open_zoo(name), inputs(name), "dart")
        assert (e.extras["kappa"] == 1).all()
        with pytest.raises(VitscopeError, match="MLP"):
            vs.explain(open_zoo(name), inputs(name), "dart", kappa=0.5)


def test_refined_is_the_mean_over_subsets_that_hold_a_token(vit, images):
    e = vs.explain(vit, images, "dart", 3, kappa=0.5, refined=4, seed=7)
    subsets = half_subsets(12, 4, seed=7)
    assert torch.equal(subsets[0], ~subsets[1]) and torch.equal(subsets[2], ~subsets[3])
    total, count = torch.zeros(3, 13), torch.zeros(13)
    for keep in subsets:
        trace = vit.trace(
            images, 3, rules=constant_gate(0.5), capture=STREAMS, removal=TokenRemoval(keep[None])
        )
        held = torch.cat([torch.ones(1), keep.float()])
        total += block_relevance(trace).sum(1) * held
        count += held
    close(e.maps.flatten(1), (total / count)[:, 1:])
    assert count.tolist() == [4] + [2] * 12
    with pytest.raises(
        MethodError, match="'refined' of 'dart' is a whole number from 0 to 1,024 in steps of 2, got 3"
    ):
        vs.explain(vit, images, "dart", refined=3)


def test_only_a_constant_gate_trace_is_read(vit, images):
    from vitscope.methods.dart import dart

    with pytest.raises(MethodError, match="constant_gate"):
        dart(vit.trace(images, capture=STREAMS))


@pytest.mark.assets
def test_published_figures_on_the_real_deit(deit, sample_pictures):
    """METHODS.md: mean relevance per block at kappa 1/4, 1/2, 3/4, 1 is 5.9, 8.4, 11.0, 13.5 for a mean logit of 8.8.

    A third of the hundred pictures: within 10 %."""
    pictures = deit.images(sample_pictures[::3])
    for kappa, published in {0.25: 5.9, 0.5: 8.4, 0.75: 11.0, 1.0: 13.5}.items():
        trace = deit.trace(pictures, rules=constant_gate(kappa), capture=STREAMS)
        assert abs(float(stream_relevance(trace).sum(2).mean()) / published - 1) < 0.1
    assert abs(float(trace.scores.mean()) / 8.8 - 1) < 0.1
    assert 0.4 < vs.calibrate(deit, pictures[:16]).kappa < 0.65
