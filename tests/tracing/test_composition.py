"""Observing, ablating, removing: each alone and together, against a forward pass written out by hand."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import vitscope as vs
from tests.tracing.literal_vit import literal_forward
from tests.zoo import PICTURES, ZOO, build, open_zoo, pictures
from vitscope.errors import TraceError
from vitscope.tracing import EntryAblation, HeadAblation, TokenRemoval

REMOVABLE = [name for name in PICTURES if not ZOO[name].convolves]


def random_keep(*shape: int, share: float = 0.6, seed: int = 1) -> Tensor:
    keep = torch.rand(*shape, generator=torch.Generator().manual_seed(seed)) < share
    keep[:, 0] = True
    return keep


@pytest.mark.parametrize("name", ["timm-vit", "timm-deit3", "timm-vit-average"])
@pytest.mark.parametrize("jobs", ["", "heads", "tokens", "entries", "heads tokens", "heads tokens entries"])
def test_a_trace_under_changes_is_the_written_out_one(name: str, jobs: str) -> None:
    vit, x = open_zoo(name), pictures(name)
    N = vit.anatomy.layout.tokens  # type: ignore[union-attr]
    heads = random_keep(2, 2, 3).float() * 0.75 if "heads" in jobs else None
    patches = random_keep(2, 16) if "tokens" in jobs else None
    zero = torch.rand(N, N, generator=torch.Generator().manual_seed(3)) < 0.3
    ablation: list[Any] = [HeadAblation(heads)] if heads is not None else []
    zeros = None
    if "entries" in jobs:
        ablation.append(EntryAblation(1, 2, zero))
        zeros = {1: torch.stack([torch.zeros_like(zero), torch.zeros_like(zero), zero])}
    removal = TokenRemoval(patches) if patches is not None else None
    trace = vit.trace(x, 3, ablation=ablation, removal=removal)
    with torch.enable_grad():
        logits, matrices, outputs = literal_forward(
            vit.model, x, keep_heads=heads, keep_patches=patches, zero=zeros
        )
        logits[:, 3].sum().backward()
    vit.model.zero_grad()
    torch.testing.assert_close(trace.logits, logits.detach(), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(vit.forward(x, ablation=ablation, removal=removal), trace.logits)
    for site, A, T in zip(trace.sites, matrices, outputs, strict=True):
        torch.testing.assert_close(site.attention(), A.detach(), atol=1e-6, rtol=1e-5)
        torch.testing.assert_close(site.attention(slice(3, 5)), A.detach()[:, :, 3:5], atol=1e-6, rtol=1e-5)
        torch.testing.assert_close(site.output, T.detach(), atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(site.output_gradient, T.grad, atol=1e-5, rtol=1e-3)
        if "entries" not in jobs:  # the literal A.grad is the one before entries are zeroed
            torch.testing.assert_close(site.attention_gradient(), A.grad, atol=1e-5, rtol=1e-3)


# left out: two whose embedding mixes patches before any token exists, and one whose class token sees itself alone
APART = ("timm-hybrid", "hand-tokens-to-tokens", "hand-causal")


@pytest.mark.parametrize("name", [name for name in REMOVABLE if name not in APART])
def test_removed_tokens_are_gone(name: str) -> None:
    """Other pixels under removed patches change nothing; other pixels under kept ones do."""
    vit, entry, x = open_zoo(name), ZOO[name], pictures(name)
    layout = vit.anatomy.layout
    assert layout is not None
    keep = random_keep(2, layout.patches)
    h, w = entry.size[0] // layout.grid[0], entry.size[1] // layout.grid[1]
    pixels = keep.reshape(2, 1, *layout.grid).repeat_interleave(h, 2).repeat_interleave(w, 3)
    other = torch.where(pixels, x, torch.randn(x.shape, generator=torch.Generator().manual_seed(9)))
    removal = TokenRemoval(keep)
    logits = vit.forward(x, removal=removal)
    assert torch.isfinite(logits).all()
    torch.testing.assert_close(vit.forward(other, removal=removal), logits, atol=1e-5, rtol=1e-4)
    assert (vit.forward(other) - vit.forward(x)).abs().max() > 1e-3
    unchanged = torch.where(pixels, torch.randn_like(x), x)
    assert (vit.forward(unchanged, removal=removal) - logits).abs().max() > 1e-4
    for site in vit.trace(x, _first, removal=removal, gradient=False).sites:
        if site.keys in (layout.tokens, layout.patches):
            columns = site.attention()[..., site.keys - layout.patches :]
            assert columns.permute(0, 3, 1, 2)[~keep].abs().max() == 0
    torch.testing.assert_close(vit.forward(x, removal=TokenRemoval(keep | True)), vit.forward(x))


def _first(output: Any) -> Tensor:
    for key in ("logits", "pooler_output"):
        output = getattr(output, key, output)
    return output.flatten(1)[:, 0]


NO_DROP = ("rel", "eva", "dinov3", "beit", "pe", "hand", "convit")


@pytest.mark.parametrize("name", [n for n in REMOVABLE if not any(word in n for word in NO_DROP)])
def test_dropping_is_masking(name: str) -> None:
    vit, x = open_zoo(name), pictures(name)
    assert vit.anatomy.layout is not None
    patches = vit.anatomy.layout.patches
    order = torch.stack([torch.randperm(patches, generator=torch.Generator().manual_seed(s)) for s in (1, 2)])
    keep = torch.zeros(2, patches, dtype=torch.bool).scatter(1, order[:, : patches // 2], True)
    dropped = vit.forward(x, removal=TokenRemoval(keep, "drop"))
    torch.testing.assert_close(dropped, vit.forward(x, removal=TokenRemoval(keep)), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", ["timm-relpos", "timm-eva02", "timm-dinov3", "timm-beit", "hand-fused"])
def test_dropping_is_refused_where_positions_are_inside(name: str) -> None:
    vit, x = open_zoo(name), pictures(name)
    keep = random_keep(2, 16)
    keep[1] = keep[0]
    try:
        dropped = vit.forward(x, removal=TokenRemoval(keep, "drop"))
    except TraceError as error:
        assert "mode='mask'" in str(error) and "\n" not in str(error)
    else:  # its bias is computed from the length it meets: then the answer must at least be stated as another one
        assert name == "hand-fused" and dropped.shape == (2, 10)


@pytest.mark.parametrize(
    "name", ["timm-vit", "timm-cait", "hf-clip-full-sdpa", "encoder-tokens-first", "timm-siglip"]
)
def test_removing_everything(name: str) -> None:
    vit, x = open_zoo(name), pictures(name)
    nothing = TokenRemoval(torch.zeros(2, 16, dtype=torch.bool))
    if not ZOO[name].prefix or ZOO[name].pooling == "mean":
        with pytest.raises(TraceError, match="must keep at least one"):
            vit.forward(x, removal=nothing)
        return
    logits = vit.forward(x, removal=nothing)
    assert torch.isfinite(logits).all()
    torch.testing.assert_close(logits[0], logits[1], atol=1e-5, rtol=1e-4)


def test_causal_masks_and_removal() -> None:
    vit, x = open_zoo("hand-causal"), pictures("hand-causal")
    keep = torch.ones(2, 16, dtype=torch.bool)
    keep[:, :4] = False
    trace = vit.trace(x, 1, removal=TokenRemoval(keep))
    for site in trace.sites:
        assert torch.isfinite(site.attention()).all()
        assert site.attention().triu(1).abs().max() == 0


@pytest.mark.parametrize(
    "name", ["timm-vit", "hand-bmm", "hand-fused-folded", "hand-transposed", "multihead-weights"]
)
def test_heads_and_entries_of_any_spelling(name: str) -> None:
    """A head whose entries are all zeroed is a head that is off; one ablation per batch item."""
    vit, x = open_zoo(name), pictures(name)
    keep = torch.ones(2, 2, 3)
    keep[1, 1, 2] = 0
    ablated = vit.forward(x, ablation=HeadAblation(keep))
    clean = vit.forward(x)
    torch.testing.assert_close(ablated[0], clean[0])
    assert (ablated[1] - clean[1]).abs().max() > 1e-4
    zero = torch.zeros(2, 17, 17, dtype=torch.bool)
    zero[1] = True
    torch.testing.assert_close(
        vit.forward(x, ablation=EntryAblation(1, 2, zero)), ablated, atol=1e-5, rtol=1e-4
    )
    other = torch.ones(1, 2, 3)
    other[:, 0, 1] = 0
    both = vit.forward(x, ablation=[HeadAblation(keep), HeadAblation(other)])
    torch.testing.assert_close(
        both, vit.forward(x, ablation=HeadAblation(keep * other)), atol=1e-5, rtol=1e-4
    )


@pytest.mark.parametrize("per_query", [False, True])
def test_replacement_takes_the_place_of_a_head(per_query: bool) -> None:
    vit, x = open_zoo("timm-vit"), pictures("timm-vit")
    clean = vit.trace(x, 1)
    own = torch.stack([site.output[1] for site in clean.sites])  # (L, H, N, d) of the second picture
    value = own if per_query else own.mean(2)
    keep = torch.ones(2, 2, 3)
    keep[:, :, 0] = 0
    trace = vit.trace(x, 1, ablation=HeadAblation(keep, value))
    if per_query:  # the second picture gets its own outputs back
        torch.testing.assert_close(trace.logits[1], clean.logits[1], atol=1e-5, rtol=1e-4)
    assert (trace.logits[0] - clean.logits[0]).abs().max() > 1e-4
    assert trace.sites[1].output_gradient[:, 0].abs().max() == 0  # type: ignore[index]


def test_renormalised_rows_sum_to_one() -> None:
    vit, x = open_zoo("timm-vit"), pictures("timm-vit")
    zero = torch.eye(17, dtype=torch.bool)
    site = vit.trace(x, 1, ablation=EntryAblation(0, 1, zero, renormalise=True)).sites[0]
    clean = vit.trace(x, 1).sites[0].attention()
    expected = clean.clone()
    expected[:, 1] = clean[:, 1] * ~zero
    expected[:, 1] = expected[:, 1] / expected[:, 1].sum(-1, keepdim=True)
    torch.testing.assert_close(site.attention(), expected)


BAD: list[tuple[dict[str, Any], str]] = [
    ({"ablation": HeadAblation(torch.ones(1, 3, 3))}, "L = 2 blocks and H = 3 heads"),
    ({"ablation": HeadAblation(torch.ones(5, 2, 3))}, "keep for 1 or 2 pictures"),
    ({"ablation": HeadAblation(torch.zeros(1, 2, 3), torch.zeros(3, 16))}, "expects a replacement"),
    ({"ablation": HeadAblation(torch.zeros(1, 2, 3), torch.zeros(2, 3, 7))}, "does not fit block 0"),
    ({"ablation": EntryAblation(2, 0, torch.ones(17, 17).bool())}, "block from 0 to 1, got 2"),
    ({"ablation": EntryAblation(0, 3, torch.ones(17, 17).bool())}, "head from 0 to 2"),
    ({"ablation": EntryAblation(0, 1, torch.ones(5, 17).bool())}, "got \\(5, 17\\)"),
    ({"removal": TokenRemoval(torch.ones(2, 17).bool())}, "expects keep \\(2, 16\\)"),
    ({"removal": TokenRemoval(torch.ones(3, 16).bool())}, "expects keep \\(2, 16\\)"),
]


@pytest.mark.parametrize(("options", "message"), BAD)
def test_misfits_are_named_in_one_line(options: dict[str, Any], message: str) -> None:
    with pytest.raises(TraceError, match=message) as error:
        open_zoo("timm-vit").forward(pictures("timm-vit"), **options)
    assert "\n" not in str(error.value)


def test_bad_records_are_refused_when_made() -> None:
    with pytest.raises(TraceError, match="shape \\(B, L, H\\)"):
        HeadAblation(torch.ones(2, 3))
    with pytest.raises(TraceError, match="boolean zero"):
        EntryAblation(0, 0, torch.ones(17, 17))
    with pytest.raises(TraceError, match="boolean keep"):
        TokenRemoval(torch.ones(2, 16))
    with pytest.raises(TraceError, match="'mask' or 'drop'"):
        TokenRemoval(torch.ones(2, 16).bool(), "blur")  # type: ignore[arg-type]
    with pytest.raises(TraceError, match="as many kept patches"):
        TokenRemoval(torch.tensor([[True, False], [True, True]]), "drop")


def test_convolutions_between_blocks_forbid_removal() -> None:
    vit = open_zoo("timm-xcit")
    with pytest.raises(TraceError, match="cannot be removed"):
        vit.forward(pictures("timm-xcit"), removal=TokenRemoval(torch.ones(2, 16).bool()))
    assert build("timm-xcit") is vit.model


class Pooled(torch.nn.Module):
    """A ViT without class token that pools its tokens as asked."""

    def __init__(self, way: str) -> None:
        super().__init__()
        self.inner = copy.deepcopy(build("hand-average"))
        self.way = way

    def forward(self, images: Tensor) -> Tensor:
        x = self.inner.patch(images).flatten(2).transpose(1, 2) + self.inner.positions  # type: ignore[operator]
        for layer in self.inner.layers:  # type: ignore[union-attr]
            x = layer(x)
        return self.inner.head(WAYS[self.way](x))  # type: ignore[operator,no-any-return]


WAYS: dict[str, Any] = {
    "mean": lambda x: x.mean(dim=1),
    "keepdim": lambda x: torch.mean(x, 1, keepdim=True).squeeze(1),
    "transposed": lambda x: x.transpose(1, 2).mean(-1),
    "tokens first": lambda x: x.transpose(0, 1).mean(0),
    "grid": lambda x: x.unflatten(1, (4, 4)).mean((1, 2)),
    "channels first": lambda x: x.transpose(1, 2).unflatten(2, (4, 4)).mean([2, 3]),
    "adaptive 1d": lambda x: F.adaptive_avg_pool1d(x.transpose(1, 2), 1).flatten(1),
    "adaptive 2d": lambda x: F.adaptive_avg_pool2d(x.transpose(1, 2).unflatten(2, (4, 4)), (1, 1)).flatten(1),
}


@pytest.mark.parametrize("way", WAYS)
def test_every_spelling_of_a_mean_leaves_removed_tokens_out(way: str) -> None:
    vit, x = vs.open_model(Pooled(way), image_size=64), pictures("hand-average")
    keep = random_keep(2, 16)
    expected = vs.open_model(Pooled("mean"), image_size=64).forward(x, removal=TokenRemoval(keep))
    assert vit.anatomy.pooling == "mean"
    torch.testing.assert_close(vit.forward(x, removal=TokenRemoval(keep)), expected, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(vit.forward(x), vit.model(x).detach())


def test_a_mean_that_is_not_seen_is_refused() -> None:
    WAYS["sum"] = lambda x: x.sum(1) / 16
    try:
        vit, x = vs.open_model(Pooled("sum"), image_size=64), pictures("hand-average")
        with pytest.raises(TraceError, match="would still be read; remove them with mode='drop'"):
            vit.forward(x, removal=TokenRemoval(random_keep(2, 16)))
    finally:
        del WAYS["sum"]
