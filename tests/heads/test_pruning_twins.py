"""Cumulative and joint pruning, entry masks, and what first order and strength cost, against slow twins."""

from __future__ import annotations

import importlib

import numpy as np
import pytest
import timm
import torch

import vitscope as vs
from vitscope import heads
from vitscope.heads.pruning.entries import entry_mask
from vitscope.models import TokenLayout


@pytest.fixture(scope="module")
def vit() -> vs.Vit:
    torch.manual_seed(0)
    model = timm.create_model(
        "vit_tiny_patch16_224", img_size=48, num_classes=7, embed_dim=48, depth=3, num_heads=3
    )
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 2:
                parameter.mul_(4)
    return vs.open_model(model, image_size=48)


X = torch.randn(5, 3, 48, 48, generator=torch.Generator().manual_seed(1))
LABELS = torch.tensor([0, 3, 6, 1, 2])


def without(vit: vs.Vit, gone: list[tuple[int, int]]) -> torch.Tensor:
    keep = torch.ones(1, 3, 3)
    for block, head in gone:
        keep[0, block, head] = 0
    return vit.forward(X, ablation=vs.HeadAblation(keep)).double()


def test_cumulative_curves_equal_full_runs_one_head_more_each_time(vit: vs.Vit) -> None:
    order = [(2, 1), (0, 0), (1, 2), (1, 1), (0, 2), (2, 0), (1, 0), (0, 1), (2, 2)]
    found = heads.cumulative_pruning(
        vit, X, {"mine": order}, LABELS, random_orders=2, batch_size=2, seed=4
    ).curves
    mine = found[found["order"] == "mine"].set_index("removed")
    full = without(vit, [])
    for count in range(10):
        changed = without(vit, order[:count])
        p, q = full.softmax(-1), changed.softmax(-1)
        middle = (p + q) / 2
        divergence = 0.5 * ((p * (p / middle).log2()).sum(-1) + (q * (q / middle).log2()).sum(-1))
        row = mine.loc[count]
        assert row["probability"] == pytest.approx(float(q[torch.arange(5), LABELS].mean()), abs=1e-5)
        assert row["accuracy"] == pytest.approx(float((changed.argmax(1) == LABELS).double().mean()))
        assert row["same_prediction"] == pytest.approx(
            float((changed.argmax(1) == full.argmax(1)).double().mean())
        )
        assert row["js_divergence"] == pytest.approx(float(divergence.mean()), abs=1e-5)
    random = found[found["order"] == "random"]
    assert set(random["repeat"]) == {0, 1} and len(random) == 20
    again = heads.cumulative_pruning(vit, X, {"mine": order}, LABELS, random_orders=2, seed=4).curves
    np.testing.assert_allclose(found["probability"], again["probability"], atol=1e-5)


def test_a_table_s_heads_go_from_the_least_important_on(vit: vs.Vit) -> None:
    """Scores by hand: head (1, 0) has .1, (2, 2) .2, and so on; the curve is that of removing them in this order."""
    scores = np.array([[0.5, 0.9, 0.3], [0.1, 0.8, 0.6], [0.7, 0.4, 0.2]], dtype=np.float32)
    least_first = [(1, 0), (2, 2), (0, 2), (2, 1), (0, 0), (1, 2), (2, 0), (1, 1), (0, 1)]
    table = heads.HeadTable({"logit_drop": np.stack([scores - 0.05, scores + 0.05])}, ("a", "b"))
    found = heads.cumulative_pruning(vit, X, table, LABELS, random_orders=0, steps=3)
    assert found.orders == {"logit_drop": least_first}
    for removed, probability in zip(found.curves["removed"], found.curves["probability"], strict=True):
        left = without(vit, least_first[:removed]).softmax(-1)[torch.arange(5), LABELS]
        assert probability == pytest.approx(float(left.mean()), abs=1e-5)
    backwards = without(vit, least_first[::-1][:3]).softmax(-1)[torch.arange(5), LABELS]
    assert abs(float(backwards.mean()) - found.curves["probability"][1]) > 1e-3, "the order can be seen"


@pytest.mark.parametrize("batch_size", [1, 2, 5])
def test_mean_outputs_are_what_enters_the_projections(vit: vs.Vit, batch_size: int) -> None:
    """What timm hands to each block's projection, cut into heads, averaged over all pictures (and queries)."""
    seen: list[torch.Tensor] = []
    handles = [
        block.attn.proj.register_forward_pre_hook(lambda module, given: seen.append(given[0].detach()))
        for block in vit.model.blocks
    ]
    try:
        with torch.no_grad():
            vit.model(X)
    finally:
        for handle in handles:
            handle.remove()
    outputs = torch.stack(seen).unflatten(-1, (3, 16)).double()  # (L, B, N, H, d)
    found = heads.mean_outputs(vit, X, batch_size=batch_size).means
    torch.testing.assert_close(found, outputs.mean((1, 2)).float(), rtol=0, atol=1e-5)
    per_query = heads.mean_outputs(vit, X, per_query=True, batch_size=batch_size).means
    torch.testing.assert_close(per_query, outputs.mean(1).transpose(1, 2).float(), rtol=0, atol=1e-5)


def test_a_joint_effect_equals_full_runs_without_the_set_and_without_each(vit: vs.Vit) -> None:
    chosen = [(0, 0), (1, 2), (2, 1)]
    found = heads.joint_effect(vit, X, chosen, LABELS, batch_size=2).to_pandas().set_index("metric")
    full, rows = without(vit, []), torch.arange(5)

    def drop(gone: list[tuple[int, int]]) -> torch.Tensor:
        return (full - without(vit, gone))[rows, LABELS]

    together, apart = drop(chosen), torch.stack([drop([head]) for head in chosen]).sum(0)
    row = found.loc["logit_drop_label"]
    assert row["joint"] == pytest.approx(float(together.mean()), abs=1e-4)
    assert row["sum_of_singles"] == pytest.approx(float(apart.mean()), abs=1e-4)
    assert row["interaction"] == pytest.approx(float((together - apart).mean()), abs=1e-4)
    assert row["interaction_std"] == pytest.approx(float((together - apart).std()), abs=1e-4)
    assert abs(row["interaction"]) > 1e-3 and row["n"] == 5


@pytest.mark.parametrize("distance", ["chebyshev", "manhattan"])
def test_entry_masks_equal_their_words(distance: str) -> None:
    """A class token and a register before a grid of 2 x 3: eight tokens, entry by entry."""
    layout = TokenLayout(("class", "register"), (2, 3))
    for k in (0, 1, 2):
        for part, holds in (("at", int.__eq__), ("within", int.__le__), ("beyond", int.__ge__)):
            mask = entry_mask(part, layout, k=k, distance=distance)
            for query in range(8):
                for key in range(8):
                    wanted = False
                    if query >= 2 and key >= 2:
                        dy = abs((query - 2) // 3 - (key - 2) // 3)
                        dx = abs((query - 2) % 3 - (key - 2) % 3)
                        wanted = holds(max(dy, dx) if distance == "chebyshev" else dy + dx, k)
                    assert bool(mask[query, key]) is bool(wanted)
    rows = {"class_query": [0], "patch_queries": [2, 3, 4, 5, 6, 7], "whole_head": list(range(8))}
    for part, queries in rows.items():
        mask = entry_mask(part, layout)
        assert mask.any(1).nonzero().flatten().tolist() == queries and bool(mask[queries].all())
    key = entry_mask("class_key", layout)
    assert bool(key[:, 0].all()) and int(key.sum()) == 8
    query = entry_mask("query", layout, query=4)
    assert bool(query[6].all()) and int(query.sum()) == 8


def test_first_order_takes_one_forward_for_all_heads_and_targets(vit: vs.Vit) -> None:
    vit.anatomy  # noqa: B018  (the probe is not part of the price)
    runs: list[int] = []
    handle = vit.model.register_forward_hook(lambda module, args, output: runs.append(len(args[0])))
    try:
        table = heads.importance(vit, X, LABELS, exact=False, batch_size=3)
    finally:
        handle.remove()
    assert runs == [3, 2] and table.metadata["full_forwards"] == 15.0
    assert set(table.metrics) == {"first_order", "first_order_signed", "first_order_label"}


def test_strength_never_asks_for_a_whole_attention(vit: vs.Vit, monkeypatch: pytest.MonkeyPatch) -> None:
    """Attention comes in chunks of queries, and how they are cut changes nothing."""
    whole = heads.strength(vit, X)
    asked: list[int] = []
    site = type(vit.trace(X[:1], gradient=False).sites[0])
    attention = site.attention

    def counted(self: object, queries: slice = slice(None)) -> torch.Tensor:
        found = attention(self, queries)  # type: ignore[arg-type]
        asked.append(found.numel())
        return found

    monkeypatch.setattr(site, "attention", counted)
    module = importlib.import_module("vitscope.heads.distance.strength_parts")
    monkeypatch.setattr(module, "CHUNK", 2 * 3 * 10 * 4)  # four queries of two pictures, three heads
    chunked = heads.strength(vit, X, batch_size=2)
    assert asked and max(asked) <= 240 < 2 * 3 * 10 * 10
    for name, value in whole.values.items():
        np.testing.assert_allclose(chunked[name], value, rtol=1e-5, atol=1e-7, equal_nan=True)
