"""Memory grows with the tokens and not with their square; half precision runs, what is rebuilt is float32."""

from __future__ import annotations

from typing import Any

import pytest
import timm
import torch
from torch import Tensor

import vitscope as vs
from tests.zoo import fresh, open_zoo, pictures
from vitscope.tracing import TokenRemoval, Vit, constant_gate
from vitscope.tracing.interception.attention_call import FusedInputs


def saved_bytes(vit: Vit, size: int, **options: Any) -> int:
    """Bytes that one traced forward keeps for its backward, each storage counted once, parameters not."""
    own = {p.data_ptr() for p in vit.model.parameters()}
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    x = torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(0))
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        trace = vit.trace(x, 1, **options)
    sites = [t for site in trace.sites for t in (site.q, site.k, site.v, site.output, site.output_gradient)]
    return sum(kept.values()) + sum(t.numel() * t.element_size() for t in sites if t is not None)


@pytest.mark.parametrize("rules", [None, constant_gate(0.5)])
def test_memory_grows_with_tokens(rules: Any) -> None:
    model = timm.create_model(
        "vit_tiny_patch16_224", depth=2, embed_dim=48, num_heads=3, num_classes=10, dynamic_img_size=True
    )
    vit = vs.open_model(model, image_size=224)
    small, large = (saved_bytes(vit, size, rules=rules) for size in (224, 448))  # 197 and 785 tokens
    assert large / small < 4.6  # 785 / 197 = 3.98; a kept attention matrix would make it approach 16


def test_reductions_never_hold_the_matrix(monkeypatch: pytest.MonkeyPatch) -> None:
    from vitscope.tracing import site as module

    site = open_zoo("timm-vit").trace(pictures("timm-vit"), 1).sites[0]
    expected = site.gradient_norm(1), site.value_gradient()
    monkeypatch.setattr(module, "CHUNK_ELEMENTS", 2 * 3 * 17 * 2)
    rows: list[int] = []
    logits = FusedInputs.attention_logits

    def counted(self: FusedInputs, queries: slice) -> Tensor:
        result = logits(self, queries)
        rows.append(result.shape[-2])
        return result

    monkeypatch.setattr(FusedInputs, "attention_logits", counted)
    torch.testing.assert_close(site.gradient_norm(1), expected[0])
    torch.testing.assert_close(site.value_gradient(), expected[1])
    assert max(rows) == 2
    rows.clear()
    site.gradient_norm(2), site.cls_gradient(), site.cls_attention()
    assert rows == [1]


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
@pytest.mark.parametrize("name", ["timm-vit", "hf-vit-eager", "timm-cait", "encoder-pre-norm"])
def test_half_precision(name: str, precision: str) -> None:
    vit = vs.open_model(fresh(name), image_size=64, precision=precision)
    x = pictures(name)
    trace, full = vit.trace(x, 1), open_zoo(name).trace(x, 1)
    assert trace.logits.dtype == trace.scores.dtype == torch.float32
    torch.testing.assert_close(trace.logits, full.logits, atol=0.1, rtol=0.1)
    for site, exact in zip(trace.sites, full.sites, strict=True):
        assert site.attention().dtype == site.attention_gradient().dtype == torch.float32
        if name != "timm-cait":
            torch.testing.assert_close(
                site.attention().sum(-1), torch.ones(2, 3, site.queries), atol=1e-2, rtol=0
            )
        torch.testing.assert_close(site.attention(), exact.attention(), atol=0.05, rtol=0.1)
        scale = exact.attention_gradient().abs().max()
        error = (site.attention_gradient() - exact.attention_gradient()).abs().max() / scale
        assert error < 0.1
        assert site.gradient_norm(2).dtype == site.value_gradient().dtype == torch.float32
    assert not torch.is_autocast_enabled("cpu")
    keep = torch.arange(16).expand(2, -1) < 9
    assert torch.isfinite(vit.forward(x, removal=TokenRemoval(keep))).all()


def test_models_of_other_types_take_their_own() -> None:
    vit = vs.open_model(fresh("timm-vit").double(), image_size=64)
    trace = vit.trace(pictures("timm-vit"), 1)
    assert trace.images.dtype == torch.float64
    torch.testing.assert_close(trace.logits, open_zoo("timm-vit").trace(pictures("timm-vit"), 1).logits)
    half = vs.open_model(fresh("timm-vit").bfloat16(), image_size=64).trace(pictures("timm-vit"), 1)
    assert half.sites[0].attention().dtype == torch.float32
    assert torch.isfinite(half.sites[0].attention_gradient()).all()
