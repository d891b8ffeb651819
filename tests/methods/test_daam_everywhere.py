"""DAAM beyond the class token of a classifier, each form written out slowly: features and their memory bank, class
attention, pooled models, stages of CNNs and hierarchies, several targets on one forward."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import vitscope as vs
from tests.methods.written import close, small_vit
from tests.zoo import build, open_zoo, pictures
from vitscope.errors import DataError, MethodError, PictureError, StorageError
from vitscope.methods import memory_bank
from vitscope.methods.daam import daam
from vitscope.methods.daam_self_supervised import feature_weights
from vitscope.methods.memory_bank import MemoryBank, build_bank

SIZE = (48, 64)


def random_bank(count: int = 41, width: int = 24, labels: bool = True) -> MemoryBank:
    generator = torch.Generator().manual_seed(5)
    features = torch.nn.functional.normalize(torch.randn(count, width, generator=generator), dim=-1).half()
    numbers = torch.arange(count) % 3 if labels else None
    return MemoryBank(features, numbers, ("a", "b", "c") if labels else (), "made up", "0000")


def walk(model: nn.Module, images: Tensor) -> tuple[list[tuple[Tensor, Tensor, Tensor]], Tensor, Tensor]:
    """(A, V, T) of every block of a timm ViT, the tokens after its last norm, and its output, all in one graph."""
    x = model._pos_embed(model.patch_embed(images))
    seen = []
    for block in model.blocks:
        B, N, D = x.shape
        H = block.attn.num_heads
        q, k, v = block.attn.qkv(block.norm1(x)).reshape(B, N, 3, H, D // H).permute(2, 0, 3, 1, 4)
        A = (q @ k.transpose(-2, -1) / math.sqrt(D // H)).softmax(-1)
        T = A @ v
        seen.append((A, v, T))
        x = x + block.ls1(block.attn.proj(T.transpose(1, 2).reshape(B, N, D)))
        x = x + block.ls2(block.mlp(block.norm2(x)))
    tokens = model.norm(x)
    return seen, tokens, model.forward_head(tokens)


def literal(
    seen: list[tuple[Tensor, Tensor, Tensor]], score: Tensor, reading: Tensor | None, relu: bool = True
) -> Tensor:
    """The DAAM flow (B, L, N). The read token is sum_q reading[q] T_q (the first token when None): its update from
    token n is sum_q reading[q] A[q, n] V[n], its channel gradients sum_q dT_q over the tokens that are read."""
    gradients = torch.autograd.grad(score, [T for _, _, T in seen])
    flow, total = [], torch.tensor(0.0)
    for (A, V, _), dT in zip(seen, gradients, strict=True):
        B, H, N, d = V.shape
        U = torch.zeros(B, N)
        for b in range(B):
            for h in range(H):
                if reading is None:
                    a, C = A[b, h, 0], dT[b, h, 0]
                else:
                    a = sum(reading[b, q] * A[b, h, q] for q in range(A.shape[2]))
                    C = sum(dT[b, h, q] for q in range(A.shape[2]) if reading[b, q] > 0)
                C = C.clamp(min=0) if relu else C
                for n in range(N):
                    U[b, n] += sum(C[c] * a[n] * V[b, h, n, c] for c in range(d)).detach()
        total = total + U.clamp(min=0)
        flow.append(total)
    return torch.stack(flow, 1)


# ---- the memory bank -----------------------------------------------------------------------------------------------
@pytest.mark.parametrize("chunk", [1, 7, 41, 100])
def test_chunked_search_finds_what_a_plain_sort_finds(monkeypatch: pytest.MonkeyPatch, chunk: int) -> None:
    monkeypatch.setattr(memory_bank, "CHUNK", chunk)
    bank = random_bank()
    queries = 3 * torch.randn(4, 24, generator=torch.Generator().manual_seed(6))
    similarity, rows = bank.nearest(queries, 5)
    for b in range(4):
        every = [float(queries[b] @ z.float() / queries[b].norm()) for z in bank.features]
        best = sorted(range(len(every)), key=lambda row: -every[row])[:5]
        assert rows[b].tolist() == best
        assert torch.allclose(similarity[b], torch.tensor([every[row] for row in best]), atol=1e-5)
    assert bank.nearest(queries, 99)[1].shape == (4, 41)


@pytest.mark.parametrize("labels", [True, False])
def test_a_saved_bank_is_the_same_bank(tmp_path: Path, labels: bool) -> None:
    bank = random_bank(labels=labels)
    again = MemoryBank.load(bank.save(tmp_path / "bank"))
    assert torch.equal(again.features, bank.features) and again.features.dtype == torch.float16
    assert (again.labels is None) != labels and (not labels or torch.equal(again.labels, bank.labels))
    assert (again.label_names, again.model, again.fingerprint) == (bank.label_names, "made up", "0000")
    (tmp_path / "other.safetensors").write_bytes(b"no bank")
    with pytest.raises(StorageError, match="'memory bank'"):
        MemoryBank.load(tmp_path / "other.safetensors")


def test_a_bank_is_refused_for_another_model_a_classifier_and_wrong_labels() -> None:
    features = vs.open_model(small_vit(num_classes=0), image_size=SIZE)
    images = torch.zeros(2, 3, *SIZE)
    with pytest.raises(MethodError, match="memory bank was made by 'made up'"):
        vs.explain(features, images, "daam-self", bank=random_bank())
    with pytest.raises(DataError, match="labels for 2 pictures, got 1"):
        build_bank(features, images, labels=[1])
    with pytest.raises(PictureError, match="no picture at all"):
        build_bank(features, [])
    with pytest.raises(MethodError, match="class scores, not features"):
        build_bank(vs.open_model(small_vit(), image_size=SIZE), images)


def literal_weights(f: Tensor, bank: MemoryBank | None, k: int, temperature: float) -> Tensor:
    found = []
    for row in f:
        unit = row / row.norm()
        if bank is None:
            w = torch.tensor([float(value) ** 2 for value in unit])
        else:
            similarity = [float(unit @ z.float()) for z in bank.features]
            near = sorted(range(len(bank)), key=lambda i: -similarity[i])[:k]
            if bank.labels is not None:
                votes = {int(bank.labels[i]): 0.0 for i in near}
                for i in near:
                    votes[int(bank.labels[i])] += math.exp(similarity[i] / temperature)
                winner = max(votes, key=lambda label: votes[label])
                near = [i for i in near if int(bank.labels[i]) == winner]
            w = sum(unit * bank.features[i].float() for i in near) / len(near)
        w = w / w.sum().abs()
        found.append((w - w.min()) / (w.max() - w.min()))
    return torch.stack(found)


@pytest.mark.parametrize(
    "bank", [None, random_bank(), random_bank(labels=False)], ids=["none", "labels", "plain"]
)
def test_feature_weights(bank: MemoryBank | None) -> None:
    f = torch.randn(3, 24, generator=torch.Generator().manual_seed(8))
    close(feature_weights(f, bank, 9, 0.07), literal_weights(f, bank, 9, 0.07))
    assert torch.equal(feature_weights(torch.ones(1, 24), None, 9, 0.07), torch.ones(1, 24))


@pytest.mark.parametrize("with_bank", [False, True])
def test_self_supervised_daam(with_bank: bool) -> None:
    model = small_vit(num_classes=0, depth=2)
    vit = vs.open_model(model, image_size=SIZE)
    images = torch.randn(2, 3, *SIZE, generator=torch.Generator().manual_seed(2))
    photos = torch.randn(11, 3, *SIZE, generator=torch.Generator().manual_seed(3))
    bank = build_bank(vit, photos, labels=[i % 2 for i in range(11)], batch_size=4) if with_bank else None
    seen, _, f = walk(model, images)
    w = literal_weights(f.detach(), bank, 5, 0.07)
    mine = vs.explain(vit, images, "daam-self", bank=bank, k=5)
    close(mine.flow.flatten(2), literal(seen, (f * w).sum(), None, relu=False)[..., 1:], 1e-3)
    assert ("5" if with_bank else "no memory bank") in mine.metadata["notes"][0]


# ---- other anatomies -----------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", ["timm-cait", "timm-xcit"])
def test_class_attention_models_add_up_their_class_blocks_alone(name: str) -> None:
    model, images = build(name), pictures(name)
    attentions = [module for path, module in model.named_modules() if type(module).__name__ == "ClassAttn"]
    entered: list[Tensor] = []
    left: list[Tensor] = []
    handles = [m.register_forward_pre_hook(lambda _, x: entered.append(x[0])) for m in attentions]
    handles += [m.proj.register_forward_pre_hook(lambda _, x: left.append(x[0])) for m in attentions]
    logits = model(images)
    for handle in handles:
        handle.remove()
    gradients = torch.autograd.grad(logits[:, 3].sum(), left)
    flow, total = [], torch.tensor(0.0)
    for module, x, dT in zip(attentions, entered, gradients, strict=True):
        d = x.shape[2] // module.num_heads
        U = torch.zeros(x.shape[:2])
        for h in range(module.num_heads):
            part = slice(h * d, h * d + d)
            q, K, V = module.q(x[:, 0])[:, part], module.k(x)[..., part], module.v(x)[..., part]
            a = ((K @ q[..., None])[..., 0] / math.sqrt(d)).softmax(1)
            U += (dT[:, :, part].clamp(min=0) * a[..., None] * V).sum(2).detach()
        total = total + U.clamp(min=0)
        flow.append(total)
    mine = vs.explain(open_zoo(name), images, "daam", target=3, keep_pictures=False)
    assert mine.flow.shape[1] == len(attentions) == 2
    close(mine.flow.flatten(2), torch.stack(flow, 1)[..., 1:])


def average(model: nn.Module, tokens: Tensor) -> Tensor:
    """The same weight for every patch."""
    return torch.full(tokens.shape[:2], 1 / tokens.shape[1])


def attention_pooling(model: nn.Module, tokens: Tensor) -> Tensor:
    """The pooling's attention, mean over its heads."""
    pool = model.attn_pool
    H, d = pool.num_heads, pool.head_dim
    q = pool.q(pool.latent)[0, 0]
    k = pool.kv(tokens)[..., : H * d]
    rows = [
        (k[..., h * d : h * d + d] @ q[h * d : h * d + d] / math.sqrt(d)).softmax(1).detach()
        for h in range(H)
    ]
    return sum(rows) / H


@pytest.mark.parametrize(
    ("reading", "changes"),
    [
        (average, {"global_pool": "avg", "class_token": False, "fc_norm": False}),
        (attention_pooling, {"global_pool": "map", "class_token": False}),
    ],
    ids=["average", "attention"],
)
def test_pooled_models(reading: Callable[[nn.Module, Tensor], Tensor], changes: dict[str, object]) -> None:
    model = small_vit(depth=2, **changes)
    images = torch.randn(2, 3, *SIZE, generator=torch.Generator().manual_seed(4))
    seen, tokens, logits = walk(model, images)
    twin = literal(seen, logits[:, 2].sum(), reading(model, tokens))
    mine = vs.explain(vs.open_model(model, image_size=SIZE), images, "daam", target=2)
    close(mine.flow.flatten(2), twin, 1e-3)


@pytest.mark.parametrize(
    ("name", "places"),
    [("resnet", ["layer1", "layer2", "layer3", "layer4"]), ("swin", ["layers.0", "layers.1"])],
)
def test_stages_of_cnns_and_hierarchies(name: str, places: list[str]) -> None:
    model, images = build(name), pictures(name)
    kept: dict[str, Tensor] = {}
    handles = [
        model.get_submodule(p).register_forward_hook(lambda _, x, y, p=p: kept.update({p: y})) for p in places
    ]
    logits = model(images)
    for handle in handles:
        handle.remove()
    features = [kept[p] for p in places]
    gradients = torch.autograd.grad(logits[:, 1].sum(), features)
    maps = []
    for F, g in zip(features, gradients, strict=True):
        if name == "swin":  # channels come last
            F, g = F.permute(0, 3, 1, 2), g.permute(0, 3, 1, 2)
        L = torch.zeros(F.shape[0], *F.shape[2:])
        for c in range(F.shape[1]):
            L += g[:, c].mean((1, 2), keepdim=True).clamp(min=0) * F[:, c].detach()
        maps.append(L.clamp(min=0))
    total = torch.tensor(0.0)
    mine = vs.explain(open_zoo(name), images, "daam", target=1, keep_pictures=False)
    for index, L in enumerate(maps):
        same = mine.extras["block_maps"][:, index]
        if L.shape == same.shape:
            close(same, L)
        assert torch.allclose(same.sum((1, 2)), L.sum((1, 2)), rtol=1e-4)
        total = total + same
        assert torch.allclose(mine.flow[:, index], total, rtol=1e-5)
    assert mine.flow.shape[1] == len(places)
    assert torch.equal(mine.maps, mine.flow[:, -1])


def test_two_targets_cost_one_forward() -> None:
    model = small_vit(depth=2)
    vit = vs.open_model(model, image_size=SIZE)
    images = torch.randn(2, 3, *SIZE, generator=torch.Generator().manual_seed(4))
    alone = [vs.explain(vit, images, "daam", target=target).maps for target in (1, [4, 0])]
    calls: list[int] = []
    handle = model.blocks[0].register_forward_hook(lambda *_: calls.append(1))
    traces = vit.traces(images, [1, [4, 0]])
    handle.remove()
    assert len(calls) == 1
    for trace, twin in zip(traces, alone, strict=True):
        close(trace.layout.to_grid(daam(trace).tokens), twin)
    assert not torch.allclose(alone[0], alone[1])
