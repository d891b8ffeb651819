"""Leave-one-head-out on every anatomy of the zoo: the sweep equals full runs, and a twin that edits the weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import timm
import torch
from torch import Tensor, nn

import vitscope as vs
from tests.zoo import ZOO, fresh, inputs, open_zoo
from vitscope import heads
from vitscope.heads.pruning.sweep import clean_run
from vitscope.tracing.copies.resumer import Resumer
from vitscope.tracing.copies.savings import Savings

NAMES = [name for name, entry in ZOO.items() if entry.blocks and entry.classes and not entry.text]
FULLY_SAVED = [
    "timm-vit", "timm-vit-post-norm", "timm-clip", "timm-hybrid", "timm-deit", "timm-deit-distilled", "timm-deit3",
    "hf-vit-sdpa", "hf-deit-sdpa", "hand-in-place", "hand-fused", "hand-fused-folded", "hand-causal", "hand-grouped",
]  # fmt: skip
"""Class-token models with fused attention in one list of whole blocks: every saving holds on them."""


@pytest.mark.parametrize("name", NAMES)
def test_the_sweep_equals_full_runs(name: str) -> None:
    vit, x = open_zoo(name), inputs(name, 3)
    assert isinstance(x, Tensor)
    anatomy = vit.anatomy
    tables = {
        kind: heads.importance(vit, x, gradient=False, batch_size=7, representation=kind)
        for kind in ("none", "standard")
    }
    full = vit.forward(x)
    largest = 0.0
    for block in anatomy.blocks:
        for head in range(block.heads):
            keep = torch.ones(1, len(anatomy.blocks), anatomy.heads)
            keep[0, block.index, head] = 0
            changed = vit.forward(x, ablation=vs.HeadAblation(keep))
            drop = (full - changed)[torch.arange(3), full.argmax(1)]
            largest = max(largest, float(drop.abs().max()))
            for kind, table in tables.items():
                found = table["logit_drop_top"][:, block.index, head]
                np.testing.assert_allclose(
                    found, drop, rtol=0, atol=1e-4, err_msg=f"{kind} {block.index}.{head}"
                )
    assert largest > 1e-3, "taking heads away changed nothing, so nothing was compared"
    if name in FULLY_SAVED:
        savings = dict(tables["none"].metadata["savings"])
        assert savings.pop("direct") is (name != "hand-fused-folded")  # its attention has no axis for heads
        assert all(savings.values())


def _timm(name: str = "vit_tiny_patch16_224", **options: Any) -> nn.Module:
    """A small model whose weights are large enough for a head to matter."""
    torch.manual_seed(0)
    model = timm.create_model(name, img_size=64, depth=3, embed_dim=48, num_heads=3, num_classes=7, **options)
    with torch.no_grad():
        for path, parameter in model.named_parameters():
            if path == "head.weight":  # begins near zero in some
                parameter.normal_()
            elif parameter.dim() == 2:
                parameter.mul_(4)
            elif "gamma" in path:  # LayerScale begins at 1e-5, which would hide every head
                parameter.fill_(1)
    return model.eval()


Projection = Callable[[nn.Module, int], Tensor]
TWINS: dict[str, tuple[Callable[[], nn.Module], Projection]] = {
    "hugging face ViT": (
        lambda: fresh("hf-vit-sdpa"),
        lambda m, b: m.get_submodule([p for p, _ in m.named_modules() if p.endswith(_HF)][b]).weight,
    ),
    "torchvision ViT": (
        lambda: fresh("torchvision-vit"),
        lambda m, b: list(m.encoder.layers)[b].self_attention.out_proj.weight,  # type: ignore[union-attr, arg-type]
    ),
    "attention pooling": (lambda: _timm(global_pool="map", class_token=False), lambda m, b: _proj(m, b)),
    "average pooling": (lambda: _timm(global_pool="avg"), lambda m, b: _proj(m, b)),
    "BEiT, relative positions": (lambda: fresh("timm-beit"), lambda m, b: _proj(m, b)),
    "rotary, registers": (lambda: _timm("vit_small_patch16_dinov3"), lambda m, b: _proj(m, b)),
}
_HF = ("attention.output.dense", "attention.o_proj")


def _proj(model: nn.Module, block: int) -> Tensor:
    return model.blocks[block].attn.proj.weight  # type: ignore[no-any-return, union-attr, index]


@pytest.mark.parametrize("name", TWINS)
def test_taking_a_head_away_is_zeroing_its_columns_of_the_projection(name: str) -> None:
    make, projection = TWINS[name]
    model = make()
    vit = vs.open_model(model, image_size=64)
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(3, 3, 64, 64, generator=generator)
    table = heads.importance(vit, x, gradient=False, batch_size=6, representation="all")

    def logits() -> Tensor:
        with torch.no_grad():
            output = model(x)
        return output if isinstance(output, Tensor) else output.logits  # type: ignore[no-any-return]

    full = logits()
    rows = torch.arange(3)
    L, H = table.shape
    largest = 0.0
    for block in range(L):
        for head in range(H):
            weight = projection(model, block)
            width = weight.shape[1] // H
            before = weight.detach().clone()
            with torch.no_grad():
                weight[:, head * width : (head + 1) * width] = 0
            changed = logits()
            with torch.no_grad():
                weight.copy_(before)
            twin = (full - changed)[rows, full.argmax(1)]
            largest = max(largest, float(twin.abs().max()))
            found = table["logit_drop_top"][:, block, head]
            np.testing.assert_allclose(found, twin, rtol=0, atol=1e-4)
    assert largest > 1e-3


def test_a_block_that_reads_its_projections_for_more_than_attention_is_noticed() -> None:
    """The NaN of what was left out reaches the logits, so the attention is computed after all."""

    class Reader(nn.Module):
        def __init__(self, attention: nn.Module) -> None:
            super().__init__()
            self.attention = attention

        def forward(self, x: Tensor, **options: Any) -> Tensor:
            return self.attention(x, **options) + 0.1 * self.attention.qkv(x)[..., :48]  # type: ignore[operator, no-any-return]

    model = _timm()
    for block in model.blocks:  # type: ignore[union-attr]
        block.attn = Reader(block.attn)
    vit = vs.open_model(model, image_size=64)
    x = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    table = heads.importance(vit, x, gradient=False)
    assert not table.metadata["savings"]["known_attention"]
    keep = torch.ones(1, 3, 3)
    keep[0, 0, 1] = 0
    full, changed = vit.forward(x), vit.forward(x, ablation=vs.HeadAblation(keep))
    drop = (full - changed)[torch.arange(2), full.argmax(1)]
    np.testing.assert_allclose(table["logit_drop_top"][:, 0, 1], drop, rtol=0, atol=1e-5)


def test_copies_that_lose_heads_in_several_blocks() -> None:
    """Mean replacement per query, heads of the resumed and of later blocks, the last one included, in one batch."""
    model = _timm()
    vit = vs.open_model(model, image_size=64)
    x = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    means = heads.mean_outputs(vit, x, per_query=True).means
    keep = torch.ones(4, 3, 3)
    keep[0, 0, 1] = keep[1, 1, 2] = keep[2, 2, 0] = keep[3, 0, 0] = keep[3, 2, 1] = 0
    index = torch.tensor([1, 0, 1, 0])
    resumer = Resumer(vit, clean_run(vit, x, None), Savings())
    assert all(resumer.savings.as_dict().values())
    for block in range(3):
        later = keep.clone()
        later[:, :block] = 1
        ablation = vs.HeadAblation(later, means)
        found, _ = resumer.run(block, ablation, index)
        torch.testing.assert_close(found, vit.forward(x[index], ablation=ablation), rtol=0, atol=1e-5)


def test_nothing_is_left_in_the_model_after_a_sweep() -> None:
    model = _timm()
    vit = vs.open_model(model, image_size=64)
    heads.importance(vit, torch.randn(2, 3, 64, 64), gradient=False)
    for module in model.modules():
        assert (
            "forward" not in module.__dict__ and not module._forward_hooks and not module._forward_pre_hooks
        )
