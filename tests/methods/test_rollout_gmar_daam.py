"""Raw attention, rollout, GMAR and DAAM against their papers written out slowly, and their invariants."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import vitscope as vs
from tests.methods.written import Written, close, small_vit
from vitscope.errors import MethodError

B = 3


def literal_rollout(A: list[Tensor], weights: list[Tensor]) -> Tensor:
    """R <- rownorm(sum_h w_h A_h + I) R from the first block to the last; the class row."""
    N = A[0].shape[-1]
    rows = []
    for b in range(A[0].shape[0]):
        R = torch.eye(N)
        for attention, weight in zip(A, weights, strict=True):
            M = torch.eye(N)
            for h in range(attention.shape[1]):
                M = M + weight[b, h] * attention[b, h]
            R = (M / M.sum(1, keepdim=True)) @ R
        rows.append(R[0])
    return torch.stack(rows)


def literal_gmar_weights(G: list[Tensor], norm: str) -> list[Tensor]:
    found = []
    for gradient in G:
        s = torch.zeros(gradient.shape[:2])
        for b in range(gradient.shape[0]):
            for h in range(gradient.shape[1]):
                g = gradient[b, h]
                s[b, h] = g.abs().sum() if norm == "l1" else (g * g).sum().sqrt()
        found.append(s / s.sum(1, keepdim=True))
    return found


def literal_daam(written: Written) -> Tensor:
    """(B, L, N): M_b = sum over blocks of relu(sum_c relu(C_c) a_n V_nc)."""
    flow, total = [], 0
    for A, V, dT in zip(written.A, written.V, written.dT, strict=True):
        batch, H, N, d = V.shape
        U = torch.zeros(batch, N)
        for b in range(batch):
            for n in range(N):
                for h in range(H):
                    for c in range(d):
                        U[b, n] += max(float(dT[b, h, 0, c]), 0.0) * A[b, h, 0, n] * V[b, h, n, c]
        total = total + U.clamp(min=0)
        flow.append(total)
    return torch.stack(flow, 1)


@pytest.fixture(scope="module")
def small() -> nn.Module:
    return small_vit()


@pytest.fixture(scope="module")
def images() -> Tensor:
    return torch.randn(B, 3, 48, 64, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def vit(small: nn.Module) -> vs.Vit:
    return vs.open_model(small, image_size=(48, 64))


@pytest.fixture(scope="module")
def written(small: nn.Module, vit: vs.Vit, images: Tensor) -> Written:
    return Written(small, images, vit.trace(images).classes)


def test_raw_attention_is_the_class_row(vit, images, written):
    e = vs.explain(vit, images, "raw-attention")
    close(e.maps.flatten(1), written.A[-1].mean(1)[:, 0, 1:])
    close(e.flow[:, 1].flatten(1), written.A[1].mean(1)[:, 0, 1:])
    one = vs.explain(vit, images, "raw-attention", block=0, head=2, query=5)
    close(one.maps.flatten(1), written.A[0][:, 2, 6, 1:])


def test_rollout_equals_its_literal_twin(vit, images, written):
    uniform = [torch.full(A.shape[:2], 1 / 3) for A in written.A]
    e = vs.explain(vit, images, "rollout")
    close(e.maps.flatten(1), literal_rollout(written.A, uniform)[:, 1:])
    close(e.flow[:, 0].flatten(1), literal_rollout(written.A[:1], uniform[:1])[:, 1:])
    started = vs.explain(vit, images, "rollout", start_block=1)
    close(started.maps.flatten(1), literal_rollout(written.A[1:], uniform[1:])[:, 1:])


@pytest.mark.parametrize("fusion", ["max", "min"])
def test_rollout_fusions_and_discard_equal_their_twins(vit, images, written, fusion):
    fused = [getattr(A, f"a{fusion}")(1, keepdim=True) for A in written.A]
    one = [torch.ones(A.shape[0], 1) for A in fused]
    close(
        vs.explain(vit, images, "rollout", fusion=fusion).maps.flatten(1), literal_rollout(fused, one)[:, 1:]
    )
    thin = []
    for A in fused:
        kept = A.detach().clone()
        for row in kept.view(-1, kept.shape[-1]):
            row[row.argsort()[: int(len(row) * 0.5)]] = 0
        thin.append(kept)
    half = vs.explain(vit, images, "rollout", fusion=fusion, discard=0.5)
    close(half.maps.flatten(1), literal_rollout(thin, one)[:, 1:])


@pytest.mark.parametrize("norm", ["l1", "l2"])
def test_gmar_equals_its_literal_twin(vit, images, written, norm):
    weights = literal_gmar_weights(written.dA, norm)
    e = vs.explain(vit, images, "gmar", norm=norm)
    close(e.extras["head_weights"], torch.stack(weights, 1))
    close(e.maps.flatten(1), literal_rollout(written.A, weights)[:, 1:])


def test_gmar_as_printed_equals_its_literal_twin(vit, images, written):
    weights = literal_gmar_weights(written.dA, "l1")
    N = written.A[0].shape[-1]
    for b in range(B):
        R = torch.eye(N)
        for A, w in zip(written.A, weights, strict=True):
            R = R @ sum(w[b, h] * A[b, h] for h in range(3)) + 0.5 * torch.eye(N)
        mine = vs.explain(vit, images, "gmar-paper", alpha=0.5).maps[b].flatten()
        close(mine, R[0, 1:])


def test_gmar_official_equals_the_demo_written_out(small, vit, images):
    kept = {}

    def keep(module, args, output):
        output.retain_grad()
        kept["norm"] = output

    handle = small.blocks[-1].norm1.register_forward_hook(keep)
    logits = small(images)
    logits.max(1).values.sum().backward()
    handle.remove()
    small.zero_grad(set_to_none=True)
    A = [site.attention() for site in vit.trace(images).sites]
    mine = vs.explain(vit, images, "gmar-official").maps
    P = 12
    for b in range(B):
        channels = kept["norm"].grad[b, 1:].T.reshape(3, -1)
        weight = channels.abs().sum(1) / channels.abs().sum()
        R = torch.stack([torch.eye(P + 1)] * 3)
        for attention in A:
            R = torch.stack([R[h] @ (weight[h] * attention[b, h]) for h in range(3)])
            R = R + 0.25 * 5e-5 * R.mean() * torch.eye(P + 1)
        view = torch.zeros(P)
        for row in range(P):
            for column in range(P + 1):
                view[(row + column) % P] += R[0, row + 1, column] / (P + 1)
        close(mine[b].flatten(), view)


def test_daam_equals_its_literal_twin(vit, images, written):
    e = vs.explain(vit, images, "daam")
    twin = literal_daam(written)
    close(e.flow.flatten(2), twin[..., 1:])
    assert torch.equal(e.maps, e.flow[:, -1])
    close(e.extras["head_share"].sum(2), torch.ones(B, 3))


def test_daam_identity_sum_of_updates_is_the_class_output(vit, images):
    for site in vit.trace(images).sites:
        updates = site.cls_attention()[..., None] * site.v
        close(updates.sum(2), site.output[:, :, 0])


def test_uniform_weights_give_plain_rollout(vit, images, monkeypatch):
    from vitscope.methods import gmar as module

    trace = vit.trace(images)
    flat = torch.full((B, 3, 3), 1 / 3)
    monkeypatch.setattr(module, "head_weights", lambda *a, **k: flat)
    mine = module.gmar(trace).tokens
    plain = vs.explain(vit, images, "rollout")
    torch.testing.assert_close(mine[:, 1:], plain.maps.flatten(1), rtol=1e-5, atol=1e-8)


def test_gmar_weights_are_uniform_without_gradient(vit, images):
    trace = vit.trace(images, target=vs.Custom(lambda output: output.sum(1) * 0))
    from vitscope.methods.gmar import head_weights

    assert torch.equal(head_weights(trace), torch.full((B, 3, 3), 1 / 3))


def test_rows_of_a_normalised_rollout_sum_to_one(vit, images):
    from vitscope.methods.gmar import gmar
    from vitscope.methods.rollout import rollout

    trace = vit.trace(images)
    for relevance in (rollout(trace), gmar(trace), gmar(trace, norm="l2"), rollout(trace, fusion="max")):
        assert torch.allclose(relevance.flow.sum(-1), torch.ones(B, 3), atol=1e-5)


def test_scaling_the_score_leaves_gmar_and_orders_alone(vit, images):
    one = vs.explain(vit, images, ["gmar", "daam"], target=vs.Custom(lambda o: o[:, 2]))
    ten = vs.explain(vit, images, ["gmar", "daam"], target=vs.Custom(lambda o: 10 * o[:, 2]))
    assert torch.allclose(one["gmar"].maps, ten["gmar"].maps, rtol=1e-4)
    assert torch.allclose(10 * one["daam"].maps, ten["daam"].maps, rtol=1e-4)


def test_permuting_heads_changes_nothing(small, images):
    import copy

    other = copy.deepcopy(small)
    order = [2, 0, 1]
    with torch.no_grad():
        for block in other.blocks:
            for rows in (block.attn.qkv.weight, block.attn.qkv.bias):
                parts = rows.unflatten(0, (3, 3, 8))
                parts.copy_(parts[:, order].clone())
            columns = block.attn.proj.weight.unflatten(1, (3, 8))
            columns.copy_(columns[:, order].clone())
    a = vs.explain(vs.open_model(small, image_size=(48, 64)), images, ["rollout", "gmar", "daam"])
    b = vs.explain(vs.open_model(other, image_size=(48, 64)), images, ["rollout", "gmar", "daam"])
    for name in a:
        assert torch.allclose(a[name].maps, b[name].maps, rtol=1e-3, atol=1e-6), name
    assert torch.allclose(
        a["gmar"].extras["head_weights"][..., order], b["gmar"].extras["head_weights"], rtol=1e-3
    )


def test_two_blocks_by_hand_fix_the_order_of_the_product():
    """Block 1 moves patch a into patch b, block 2 reads b into the class token: a must get the relevance.

    With the product the other way round the class row would miss a."""
    from vitscope.methods.chain import rollout_rows, step
    from vitscope.models import SiteInfo, TokenLayout
    from vitscope.tracing import AttentionSite
    from vitscope.tracing.interception.attention_call import EagerInputs

    def site_of(block: int, rows: list[list[float]]) -> AttentionSite:
        matrix, v = torch.tensor([[rows]]), torch.zeros(1, 1, 3, 2)
        info = SiteInfo(block, "x", "self", block, 1, 2, 3, 3, False)
        return AttentionSite(info, None, EagerInputs(matrix, matrix.log(), v), matrix @ v)

    class Trace:
        def readout(self):
            return torch.tensor([[1.0, 0.0, 0.0]])

    first = site_of(0, [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 1.0, 0.0]])  # token 2 takes from token 1
    second = site_of(
        1, [[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
    )  # the class token takes from token 2
    sites = [first, second]
    layout = TokenLayout(("class",), (1, 2))
    rows = rollout_rows(Trace(), sites, lambda r, i: step(r, sites[i], layout, None, 1.0))
    assert torch.allclose(rows[0, -1], torch.tensor([0.5, 0.25, 0.25]))
    assert torch.allclose(rows[0, 0], torch.tensor([1.0, 0.0, 0.0]))


@pytest.mark.parametrize(
    ("method", "options", "says"),
    [
        ("rollout", {"fusion": "median"}, "'mean' or 'max' or 'min'"),
        ("rollout", {"start_block": 9}, "block of the model from 0 to 2"),
        ("rollout", {"discard": 1.0}, "discard"),
        ("gmar", {"norm": "l3"}, "'l1' or 'l2'"),
        ("gmar", {"alfa": 1}, "nearest: alpha, of norm, alpha"),
        ("raw-attention", {"query": 99}, "0 to 11"),
        ("raw-attention", {"block": 7}, "-3 to 2"),
        ("gmarr", {}, "nearest: gmar"),
    ],
)
def test_wrong_options_are_one_clear_line(vit, images, method, options, says):
    with pytest.raises(MethodError, match=says) as error:
        vs.explain(vit, images, method, **options)
    assert "\n" not in str(error.value)


def test_real_deit_equals_the_twins(deit, sample_pictures):
    """On the real DeiT-Tiny and a real photograph, to 1e-4 relative."""
    images = deit.images(sample_pictures[3:5])
    found = vs.explain(deit, images, ["rollout", "gmar", "daam"])
    twin = Written(deit.model, images, found["gmar"].classes)
    uniform = [torch.full(A.shape[:2], 1 / 3) for A in twin.A]
    close(found["rollout"].maps.flatten(1), literal_rollout(twin.A, uniform)[:, 1:])
    close(found["gmar"].maps.flatten(1), literal_rollout(twin.A, literal_gmar_weights(twin.dA, "l1"))[:, 1:])
    total = 0
    for A, V, dT in zip(twin.A, twin.V, twin.dT, strict=True):  # vectorised: the loops are proven above
        U = torch.einsum("bhc,bhn,bhnc->bn", dT[:, :, 0].clamp(min=0), A[:, :, 0], V)
        total = total + U.clamp(min=0)
    close(found["daam"].maps.flatten(1), total[:, 1:])
