"""Re-running from a block equals the full run, on every model whose blocks are found."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from tests.zoo import PICTURES, ZOO, fresh, inputs, open_zoo, pictures
from vitscope.errors import TraceError
from vitscope.models import Anatomy
from vitscope.tracing import EntryAblation, HeadAblation, TokenRemoval, Vit
from vitscope.tracing.calls.blocks import first_tensor
from vitscope.tracing.passes.resume import can_resume

NAMES = [name for name in ZOO if ZOO[name].blocks]
SHORT = [n for n in NAMES if n not in ("hand-shared", "hand-functional", "hand-functional-norm-outside")]


def whole(vit: Vit, x: Any) -> Anatomy:
    return vit.trace(x, gradient=False).anatomy if isinstance(x, dict) else vit.anatomy


@pytest.mark.parametrize("name", NAMES)
def test_resuming_from_every_block(name: str) -> None:
    vit, x = open_zoo(name), inputs(name)
    cache = vit.cache(x)
    full = vit.forward(x)
    assert torch.equal(cache.logits, full)
    before = [first_tensor(output).clone() for output in cache.outputs]  # type: ignore[union-attr]
    for block in range(len(cache.outputs) + 1):
        torch.testing.assert_close(vit.resume(cache, block), full, atol=1e-5, rtol=1e-4)
    index = torch.tensor([1, 0, 1])
    if "window" in ZOO[name].kinds:
        with pytest.raises(TraceError, match="works on windows"):
            vit.resume(cache, len(cache.outputs), index=index)
        return
    for block in (0, 1, len(cache.outputs)):
        torch.testing.assert_close(vit.resume(cache, block, index=index), full[index], atol=1e-5, rtol=1e-4)
    for kept, output in zip(before, cache.outputs, strict=True):
        assert torch.equal(kept, first_tensor(output))  # type: ignore[arg-type]


@pytest.mark.parametrize("name", [n for n in NAMES if ZOO[n].refused is None])
def test_resuming_with_ablated_heads(name: str) -> None:
    """One batch holds one ablation per item; blocks before the resumed one stay as they were."""
    vit, x = open_zoo(name), inputs(name)
    cache = vit.cache(x)
    anatomy = whole(vit, x)
    L, H = len(anatomy.blocks), anatomy.heads
    keep = torch.ones(2, L, H)
    keep[0, L - 1, 0] = 0
    keep[1, L - 1, H - 1] = 0.5
    full = vit.forward(x, ablation=HeadAblation(keep))
    for block in range(L):
        resumed = vit.resume(cache, block, ablation=HeadAblation(keep))
        torch.testing.assert_close(resumed, full, atol=1e-5, rtol=1e-4)
    early = keep.clone()
    early[:, 0] = 0
    if L > 1:
        kept_early = vit.resume(cache, L - 1, ablation=HeadAblation(early))
        torch.testing.assert_close(kept_early, full, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", ["timm-vit", "hf-vit-eager", "open-clip", "timm-cait"])
def test_resuming_with_entries_and_removed_tokens(name: str) -> None:
    vit, x = open_zoo(name), pictures(name)
    site = vit.anatomy.sites[vit.anatomy.blocks[1].sites[0]]
    zero = torch.rand(site.queries, site.keys, generator=torch.Generator().manual_seed(0)) < 0.5
    entries = EntryAblation(1, 0, zero)
    cache = vit.cache(x)
    torch.testing.assert_close(
        vit.resume(cache, 1, ablation=entries), vit.forward(x, ablation=entries), atol=1e-5, rtol=1e-4
    )
    keep = torch.arange(16).expand(2, -1) < 9
    removed = vit.resume(cache, 0, removal=TokenRemoval(keep))
    torch.testing.assert_close(removed, vit.forward(x, removal=TokenRemoval(keep)), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", [n for n in SHORT if n in PICTURES])
def test_tokens_put_in_the_place_of_a_block(name: str) -> None:
    """Given tokens take the way from the last block on; the gradient at them is autograd's."""
    vit, x = open_zoo(name), pictures(name)
    cache = vit.cache(x)
    L = len(cache.outputs)
    tokens = first_tensor(cache.outputs[L - 1])
    assert tokens is not None
    same = vit.resume_pass(cache, L, tokens=tokens).logits
    torch.testing.assert_close(same.float(), cache.logits, atol=1e-5, rtol=1e-4)
    leaf = tokens.clone().requires_grad_()
    record = vit.resume_pass(cache, L, tokens=leaf, gradient=True)
    (gradient,) = torch.autograd.grad(record.logits.sum(), [leaf])
    assert gradient.shape == tokens.shape and gradient.abs().max() > 0


@pytest.mark.parametrize("name", ["hand-shared", "hand-functional", "hand-functional-norm-outside"])
def test_blocks_that_cannot_be_short_cut_run_whole_and_say_so(name: str) -> None:
    vit, x = open_zoo(name), pictures(name)
    assert can_resume(vit.anatomy)
    cache = vit.cache(x)
    with pytest.raises(TraceError, match="cannot be resumed from tokens, because"):
        vit.resume_pass(cache, 1, tokens=torch.zeros(2, 17, 48))


def test_only_the_later_blocks_run() -> None:
    model = fresh("timm-vit")
    import vitscope as vs

    vit = vs.open_model(model, image_size=64)
    cache = vit.cache(pictures("timm-vit"))
    ran: list[int] = []
    for index, block in enumerate(model.blocks):  # type: ignore[union-attr,arg-type]
        block.attn.register_forward_hook(lambda *_, index=index: ran.append(index))
    vit.resume(cache, 1)
    assert ran == [1]


@pytest.mark.parametrize("block", [-1, 3])
def test_blocks_that_do_not_exist(block: int) -> None:
    vit = open_zoo("timm-vit")
    with pytest.raises(TraceError, match=f"block from 0 to 2, got {block}"):
        vit.resume(vit.cache(pictures("timm-vit")), block)


@pytest.mark.parametrize("name", ["resnet", "convnext"])
def test_models_without_blocks(name: str) -> None:
    with pytest.raises(TraceError, match="none was found"):
        open_zoo(name).cache(pictures(name))


def test_cached_tokens_are_batch_first() -> None:
    for name in ("timm-vit", "encoder-tokens-first"):
        cache = open_zoo(name).cache(pictures(name, batch=3))
        assert cache.tokens(0).shape == (3, 17, 48)
        assert isinstance(cache.tokens(1), Tensor)
