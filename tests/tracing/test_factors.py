"""Patch tokens of one place, multiplied: against hooks of one's own."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

import vitscope as vs
from tests.methods.written import small_vit
from vitscope.tracing.changes.factors import TokenFactors
from vitscope.tracing.passes.forward_pass import run_pass
from vitscope.tracing.passes.request import PassRequest


@pytest.mark.parametrize("at", ["input", "norm"])
@pytest.mark.parametrize("shape", [(2, 12, 1), (2, 1, 24), (2, 12, 24)])
def test_it_is_what_a_hook_does(at: str, shape: tuple[int, ...]) -> None:
    model = small_vit()
    vit, images = vs.open_model(model, image_size=(48, 64)), torch.randn(2, 3, 48, 64)
    factors = TokenFactors(1, at, torch.rand(shape, generator=torch.Generator().manual_seed(1)))  # type: ignore[arg-type]
    mine = run_pass(vit.model, vit.anatomy, images, PassRequest(factors=factors)).logits

    def multiplied(tokens: torch.Tensor) -> torch.Tensor:
        return torch.cat([tokens[:, :1], tokens[:, 1:] * factors.values], 1)

    block = model.blocks[1]
    if at == "input":
        handle = block.register_forward_pre_hook(lambda _, given: (multiplied(given[0]),))
    else:
        handle = block.norm1.register_forward_hook(lambda _, __, output: multiplied(output))
    with torch.no_grad():
        theirs = model(images)
    handle.remove()
    with torch.no_grad():
        plain = model(images)
    torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(mine, plain, atol=1e-3)
    torch.testing.assert_close(vit.forward(images), plain, rtol=1e-4, atol=1e-5)


def test_tokens_keep_their_form() -> None:
    vit = vs.open_model(small_vit(), image_size=(48, 64))
    block, layout = vit.anatomy.blocks[0], vit.anatomy.layout
    bare = replace(layout, prefix=())
    values = torch.arange(12.0)[None, :, None]
    rows = torch.ones(1, 3, 4, 24)  # (B, h, w, D)
    assert TokenFactors(0, "input", values).apply(rows, block, bare)[0, :, :, 0].flatten().tolist() == list(
        range(12)
    )
    first = replace(block, form="channels-first")
    channels = torch.ones(1, 24, 3, 4)
    found = TokenFactors(0, "input", values).apply(channels, first, bare)
    assert found.shape == channels.shape and found[0, 5].flatten().tolist() == list(range(12))
    turned = replace(block, form="tokens-first")
    found = TokenFactors(0, "input", values).apply(torch.ones(13, 1, 24), turned, layout)
    assert found[:, 0, 0].tolist() == [1, *range(12)]
    other = torch.ones(1, 5, 24)
    assert TokenFactors(0, "input", values).apply(other, block, layout) is other
