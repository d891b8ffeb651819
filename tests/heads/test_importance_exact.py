"""Leave-one-head-out against the naive full run on other anatomies and the real DeiT-Tiny; costs and bad input."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from torch import Tensor, nn

import vitscope as vs
from vitscope import heads
from vitscope.errors import DataError
from vitscope.heads.pruning.sweep import clean_run
from vitscope.tracing.copies.resumer import Resumer
from vitscope.tracing.copies.savings import Savings


def tiny(name: str = "vit_tiny_patch16_224", **options: Any) -> vs.Vit:
    settings = {"img_size": 48, "num_classes": 7, "embed_dim": 48, "depth": 3, "num_heads": 3, **options}
    torch.manual_seed(0)
    return vs.open_model(
        timm.create_model(name, pretrained=False, **settings), image_size=settings["img_size"]
    )


MODELS = {
    "class token": lambda: tiny(),
    "distilled": lambda: tiny("deit_tiny_distilled_patch16_224"),
    "mean pooling": lambda: tiny(global_pool="avg"),
    "registers": lambda: tiny(reg_tokens=2),
    "not square": lambda: tiny(img_size=(32, 64)),
}


def pictures(vit: vs.Vit, count: int = 3) -> Tensor:
    return torch.randn(count, 3, *vit.image_size, generator=torch.Generator().manual_seed(1))


def literal_without(model: nn.Module, x: Tensor, block: int, head: int, mean: Tensor | None) -> Tensor:
    """The full model with one head's slice of the projection's input replaced, by a plain pre-hook."""

    def replace(module: nn.Module, args: tuple[Tensor]) -> tuple[Tensor]:
        width = args[0].shape[-1] // 3
        changed = args[0].clone()
        changed[..., head * width : (head + 1) * width] = 0 if mean is None else mean[block, head]
        return (changed,)

    handle = model.blocks[block].attn.proj.register_forward_pre_hook(replace)  # type: ignore[index,union-attr]
    try:
        with torch.no_grad():
            return model(x)
    finally:
        handle.remove()


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("replacement", ["zero", "mean", "mean-per-query"])
def test_the_sweep_equals_the_naive_full_run(kind: str, replacement: str) -> None:
    vit = MODELS[kind]()
    x, labels = pictures(vit), torch.tensor([0, 3, 6])
    table = heads.importance(vit, x, labels, replacement=replacement, batch_size=7)
    means = None
    if replacement == "mean":
        means = heads.mean_outputs(vit, x).means
    elif replacement == "mean-per-query":
        means = heads.mean_outputs(vit, x, per_query=True).means
    with torch.no_grad():
        full = vit.model(x)
    for block in range(3):
        for head in range(3):
            changed = literal_without(vit.model, x, block, head, means)
            p, q = full.softmax(-1), changed.softmax(-1)
            rows = torch.arange(3)
            np.testing.assert_allclose(
                table["probability_drop_label"][:, block, head], (p - q)[rows, labels], rtol=0, atol=1e-4
            )
            np.testing.assert_allclose(
                table["logit_drop_top"][:, block, head],
                (full - changed)[rows, full.argmax(1)],
                rtol=0,
                atol=1e-4,
            )


@pytest.mark.parametrize("kind", MODELS)
def test_savings_change_nothing(kind: str) -> None:
    vit = MODELS[kind]()
    clean = clean_run(vit, pictures(vit), None)
    index = torch.tensor([2, 0, 1, 2])
    keep = torch.ones(4, 3, 3)
    keep[0, 0, 1] = keep[1, 1, 2] = keep[2, 2, 0] = keep[3, 0, 0] = keep[3, 2, 1] = 0
    ablation = vs.HeadAblation(keep)
    fast = Resumer(vit, clean, Savings())
    plain = Resumer(vit, clean, Savings(allowed=False))
    assert fast.savings.one_picture and not plain.savings.short_tail
    assert fast.savings.short_tail is (kind != "mean pooling")
    for block in (0, 1):
        copies = (
            ablation if block == 0 else vs.HeadAblation(keep.clone().index_fill_(1, torch.tensor([0]), 1))
        )
        first, second = (runner.run(block, copies, index) for runner in (fast, plain))
        torch.testing.assert_close(first[0], second[0], rtol=0, atol=1e-5)
        if kind != "mean pooling":
            torch.testing.assert_close(first[1][2][:, 0], second[1][2][:, 0], rtol=0, atol=1e-5)


def test_representation_changes_equal_the_naive_run() -> None:
    vit = tiny()
    x = pictures(vit, 2)
    table = heads.importance(vit, x, representation="all")
    standard = heads.importance(vit, x)
    seen: dict[str, Tensor] = {}
    hooks = [
        block.register_forward_hook(lambda m, a, out, i=i: seen.__setitem__(str(i), out))
        for i, block in enumerate(vit.model.blocks)
    ]  # type: ignore[arg-type]
    try:
        with torch.no_grad():
            vit.model(x)
        before = dict(seen)
        for block, head in ((0, 1), (1, 0), (2, 2)):
            literal_without(vit.model, x, block, head, None)
            for where, position in (("block", str(block)), ("last", "2")):
                a, b = before[position], seen[position]
                np.testing.assert_allclose(
                    table[f"class_l2_{where}"][:, block, head],
                    (a[:, 0] - b[:, 0]).norm(dim=-1),
                    rtol=1e-3,
                    atol=1e-5,
                )
                np.testing.assert_allclose(
                    table[f"patch_l2_{where}"][:, block, head],
                    (a[:, 1:] - b[:, 1:]).norm(dim=-1).mean(1),
                    rtol=1e-3,
                    atol=1e-5,
                )
                np.testing.assert_allclose(
                    table[f"class_cosine_{where}"][:, block, head],
                    1 - torch.cosine_similarity(a[:, 0], b[:, 0]),
                    rtol=1e-2,
                    atol=1e-6,
                )
    finally:
        for hook in hooks:
            hook.remove()
    for name in standard.metrics:
        np.testing.assert_allclose(standard[name], table[name], rtol=1e-3, atol=1e-5, err_msg=name)
    assert "patch_l2_last" not in standard.metrics


def test_first_order_scores_equal_a_literal_inner_product() -> None:
    vit = tiny()
    x = pictures(vit, 2)
    found = heads.importance(vit, x, exact=False)
    inputs: list[Tensor] = []

    def keep(module: nn.Module, args: tuple[Tensor]) -> tuple[Tensor]:
        inputs.append(args[0].detach().requires_grad_() if not args[0].requires_grad else args[0])
        return (inputs[-1],)

    hooks = [block.attn.proj.register_forward_pre_hook(keep) for block in vit.model.blocks]  # type: ignore[union-attr]
    try:
        logits = vit.model(x)
        score = logits.max(1).values.sum()
        gradients = torch.autograd.grad(score, inputs)
    finally:
        for hook in hooks:
            hook.remove()
    for block, (T, dT) in enumerate(zip(inputs, gradients, strict=True)):
        for head in range(3):
            part = slice(head * 16, (head + 1) * 16)
            twin = (T[..., part] * dT[..., part]).sum((1, 2)).detach()
            np.testing.assert_allclose(
                found["first_order_signed"][:, block, head], twin, rtol=1e-3, atol=1e-6
            )
            np.testing.assert_allclose(found["first_order"][:, block, head], twin.abs(), rtol=1e-3, atol=1e-6)


def test_partial_pruning_equals_an_edited_attention() -> None:
    vit = tiny()
    x = pictures(vit, 2)
    found = heads.partial_pruning(
        vit, x, 1, 2, parts=("class_query", "at"), hops=(0, 2), queries=(4,), batch_size=5
    )
    block = vit.model.blocks[1].attn  # type: ignore[union-attr,index]

    def literal(zero: Tensor) -> Tensor:
        def forward(tokens: Tensor, **_: Any) -> Tensor:
            B, N, _ = tokens.shape
            q, k, v = block.qkv(tokens).reshape(B, N, 3, 3, 16).permute(2, 0, 3, 1, 4)
            A = (q @ k.transpose(-2, -1) * 16**-0.5).softmax(-1)
            A[:, 2] = A[:, 2].masked_fill(zero, 0)
            return block.proj((A @ v).transpose(1, 2).reshape(B, N, 48))

        block.forward = forward
        try:
            with torch.no_grad():
                return vit.model(x)
        finally:
            del block.forward

    with torch.no_grad():
        full = vit.model(x)
    grid = [(n // 3, n % 3) for n in range(9)]
    masks = {("class_query", -1): torch.zeros(10, 10, dtype=torch.bool)}
    masks["class_query", -1][0] = True
    for k in (0, 2):
        masks["at", k] = torch.zeros(10, 10, dtype=torch.bool)
        for a, (y, x0) in enumerate(grid):
            for b, (y2, x2) in enumerate(grid):
                masks["at", k][1 + a, 1 + b] = max(abs(y - y2), abs(x0 - x2)) == k
    masks["query", 4] = torch.zeros(10, 10, dtype=torch.bool)
    masks["query", 4][5] = True
    assert set(found.steps) == set(masks)
    for position, step in enumerate(found.steps):
        drop = full - literal(masks[step])
        twin = drop[torch.arange(2), full.argmax(1)]
        np.testing.assert_allclose(found.values["logit_drop_top"][:, position], twin, rtol=0, atol=1e-4)


def test_pruned_models_equal_the_ablation_and_reload(tmp_path: Path) -> None:
    torch.manual_seed(0)
    vit = vs.open_model("timm/vit_tiny_patch16_224", pretrained=False, img_size=48, num_classes=7)
    x = torch.randn(4, 3, 48, 48)
    table = heads.importance(vit, x)
    remove = heads.heads_to_remove(table, "js_divergence", 0.7)
    assert len(remove) == 11 and len({b for b, _ in remove}) <= 12
    means = heads.mean_outputs(vit, x).means
    for replacement in (None, means):
        keep = torch.ones(1, 12, 3)
        for block, head in remove:
            keep[0, block, head] = 0
        wanted = vit.forward(x, ablation=vs.HeadAblation(keep, replacement))
        for form in ("smaller", "masked"):
            module = heads.prune_module(vit, remove, form=form, means=replacement)
            path = heads.save_pruned(
                module, tmp_path / f"{form}.safetensors", architecture=vit.source, remove=remove, form=form
            )
            again = heads.load_pruned(path, img_size=48, num_classes=7)
            with torch.no_grad():
                torch.testing.assert_close(module(x), wanted, rtol=0, atol=1e-4)
                torch.testing.assert_close(again(x), wanted, rtol=0, atol=1e-4)
            parameters = sum(p.numel() for p in module.parameters())
            assert (parameters < vit.anatomy.parameters) == (form == "smaller")
    masked = vs.open_model(
        "timm/vit_tiny_patch16_224", weights=tmp_path / "masked.safetensors", img_size=48, num_classes=7
    )
    torch.testing.assert_close(masked.forward(x), wanted, rtol=0, atol=1e-4)


def test_tables_survive_a_round_trip_and_shards_join(tmp_path: Path) -> None:
    vit = tiny()
    x = pictures(vit, 4)
    whole = heads.importance(vit, x, torch.tensor([0, 1, 2, 3]))
    again = heads.HeadTable.load(whole.save(tmp_path / "heads.parquet"))
    assert again.metrics == whole.metrics and again.metadata["fingerprint"] == vit.fingerprint
    for name in whole.metrics:
        np.testing.assert_array_equal(again[name], whole[name])
    parts = [heads.importance(vit, x[i : i + 2], torch.tensor([i, i + 1])) for i in (0, 2)]
    joined = parts[0].merge(parts[1])
    for name in whole.metrics:
        np.testing.assert_allclose(joined[name], whole[name], rtol=1e-3, atol=1e-5)
    frame = whole.to_pandas()
    assert len(frame) == 9 and {"js_divergence", "js_divergence_std", "js_divergence_low", "n"} <= set(
        frame.columns
    )
    row = frame.iloc[4]
    values = whole["js_divergence"][:, 1, 1]
    assert row["js_divergence"] == pytest.approx(values.mean()) and row["n"] == 4
    assert row["js_divergence_std"] == pytest.approx(values.std(ddof=1), rel=1e-4)
    whole.save(tmp_path / "heads.csv")
    assert (tmp_path / "heads.csv").read_text().startswith("block,head,n,")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"screen": 1.5}, "screen as a number above 0 to 1"),
        ({"replacement": "median"}, "'zero', 'mean', 'mean-per-query', a Tensor or a MeanOutputs"),
        ({"labels": [1]}, "one for each"),
        ({"labels": [1, 99, 2]}, "0 ... 6, got 99"),
        ({"representation": "some"}, "'standard', 'all' or 'none'"),
        ({"replacement": torch.zeros(2, 2, 16)}, "mean_outputs"),
        ({"screen": 0.5, "gradient": False}, "first-order"),
    ],
)
def test_bad_options_say_what_mends_them(change: dict[str, Any], words: str) -> None:
    vit = tiny()
    with pytest.raises((heads.HeadsError, DataError)) as caught:
        heads.importance(vit, pictures(vit), **change)
    assert words in str(caught.value) and "\n" not in str(caught.value)


def test_models_that_cannot_be_pruned_or_profiled_are_refused_with_the_reason() -> None:
    bare = vs.open_model(
        timm.create_model("vit_tiny_patch16_224", img_size=48, depth=2, num_classes=0), image_size=48
    )
    with pytest.raises(vs.heads.HeadsError, match=r"classes=C|classifier"):
        heads.importance(bare, torch.randn(1, 3, 48, 48), gradient=False)
    cait = vs.open_model(
        timm.create_model("cait_xxs24_224", img_size=64, depth=2, num_classes=5), image_size=64
    )
    with pytest.raises(heads.HeadsError, match="joint qkv"):
        heads.prune_module(cait, [(0, 0)])
    with pytest.raises(heads.HeadsError, match="within"):
        heads.joint_effect(tiny(), torch.randn(1, 3, 48, 48), [(9, 9)])


@pytest.mark.assets
def test_the_real_deit_on_photographs(deit: vs.Vit, sample_pictures: list[Path]) -> None:
    x = deit.images(sample_pictures[:2])
    table = heads.importance(deit, sample_pictures[:2])
    assert table.metadata["savings"] == {
        "one_picture": True,
        "known_attention": True,
        "short_tail": True,
        "direct": True,
    }
    full = deit.forward(x)
    for block, head in ((0, 2), (5, 1), (11, 0)):
        keep = torch.ones(1, 12, 3)
        keep[0, block, head] = 0
        changed = deit.forward(x, ablation=vs.HeadAblation(keep))
        drop = (full - changed)[torch.arange(2), full.argmax(1)]
        np.testing.assert_allclose(table["logit_drop_top"][:, block, head], drop, rtol=0, atol=1e-4)
    profile = heads.strength(deit, sample_pictures[:2])
    assert profile.values["mass"].shape == (12, 3, 14)


def test_first_order_scores_of_attention_in_windows_add_up_over_the_windows() -> None:
    """Swin has a row for each window; a head is scaled a little, and the score falls by as much as foretold."""
    torch.manual_seed(0)
    small = {"depths": (2, 2), "embed_dim": 24, "num_heads": (2, 4), "img_size": 112, "num_classes": 5}
    vit = vs.open_model("timm/swin_tiny_patch4_window7_224", pretrained=False, **small)
    pictures = vs.worlds.world("shapes").sample(2, seed=1).images()
    found = vs.heads.importance(vit, pictures, exact=False)["first_order_signed"]
    assert found.shape == (2, 4, 4) and np.isnan(found[:, 0, 2:]).all()
    for index, picture in enumerate(pictures):
        trace = vit.trace([picture], gradient=False)
        assert trace.resolved is not None
        for block, head in ((0, 1), (2, 3)):
            keep = torch.ones(1, 4, 4)
            keep[0, block, head] = 1 - 1e-2
            changed = vit.score([picture], trace.resolved, ablation=vs.HeadAblation(keep))
            foretold = float(trace.scores - changed) / 1e-2
            assert foretold == pytest.approx(float(found[index, block, head]), rel=0.05, abs=1e-4)
