"""Memory grows with the tokens and not with their square; half precision runs, what is rebuilt is float32."""

from __future__ import annotations

from typing import Any

import pytest
import timm
import torch
from torch import Tensor

import vitscope as vs
from tests.zoo import fresh, open_zoo, pictures
from vitscope.tracing import Capture, TokenRemoval, Vit, constant_gate
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
    from vitscope.tracing import matrix_parts as module

    site = open_zoo("timm-vit").trace(pictures("timm-vit"), 1).sites[0]
    expected = site.gradient_norm(1), site.value_gradient()
    monkeypatch.setattr(module, "CHUNK_ELEMENTS", 2 * 3 * 17 * 2)
    rows: list[int] = []
    logits = FusedInputs.attention_logits

    def counted(self: FusedInputs, queries: slice, *more: Any) -> Tensor:
        result = logits(self, queries, *more)
        rows.append(result.shape[-2])
        return result

    monkeypatch.setattr(FusedInputs, "attention_logits", counted)
    torch.testing.assert_close(site.gradient_norm(1), expected[0])
    torch.testing.assert_close(site.value_gradient(), expected[1])
    assert max(rows) == 2
    rows.clear()
    site.gradient_norm(2), site.cls_gradient(), site.cls_attention()
    assert rows == [1]


@pytest.mark.parametrize("limit", [1, 40, 80, 1000, 2**19])
@pytest.mark.parametrize("name", ["timm-vit", "hf-vit-eager", "timm-cait"])
def test_the_parts_of_a_matrix_are_the_matrix(name: str, limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever part is worked on at once: every entry once, at its place, and sums over them as over the whole."""
    from vitscope.tracing import matrix_parts as module

    for site in open_zoo(name).trace(pictures(name), 1).sites:
        whole = site.attention(), site.attention_gradient()
        monkeypatch.setattr(module, "CACHED_ELEMENTS", limit)
        for queries in (slice(None), slice(0, 1)):
            for expected, tiles in zip(
                whole, (site.attention_tiles(queries), site.attention_gradient_tiles(queries)), strict=True
            ):
                found = torch.full_like(expected, float("nan"))
                for heads, rows, part in tiles:
                    assert found[:, heads, rows].isnan().all() and part.shape == found[:, heads, rows].shape
                    found[:, heads, rows] = part
                torch.testing.assert_close(found[:, :, queries], expected[:, :, queries])
                assert found[:, :, queries.stop :].isnan().all() if queries.stop else True
        torch.testing.assert_close(site.gradient_norm(1), whole[1].abs().sum((-2, -1)))
        monkeypatch.undo()


@pytest.mark.parametrize("name", ["timm-vit", "hf-vit-eager", "timm-cait"])
def test_outputs_that_were_not_kept_are_made_again(name: str) -> None:
    """By a trace without a gradient alone: a gradient is taken at the outputs."""
    vit, x = open_zoo(name), pictures(name)
    kept = vit.trace(x, gradient=False)
    for gradient in (False, True):
        trace = vit.trace(x, gradient=gradient, capture=Capture(outputs=False))
        for site, expected in zip(trace.sites, kept.sites, strict=True):
            assert (site.raw_output is None) is not gradient
            torch.testing.assert_close(site.output, expected.output)


def test_methods_that_read_no_outputs_keep_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """Alone; beside a method that asks for them they are kept."""
    vit, x = open_zoo("timm-vit"), pictures("timm-vit")
    asked: list[bool] = []
    real = Vit.trace

    def watched(self: Vit, *args: Any, **options: Any) -> Any:
        asked.append(options["capture"].outputs)
        return real(self, *args, **options)

    monkeypatch.setattr(Vit, "trace", watched)
    for methods in ("rollout", "raw-attention", ["rollout", "gmar"]):
        vs.explain(vit, x, methods)
    assert asked == [False, False, True]


@pytest.mark.parametrize("heads", [slice(0, 1), slice(1, 3), slice(3, 4)])
@pytest.mark.parametrize("mask", ["none", "per head", "per picture", "causal"])
def test_logits_of_some_heads_are_those_of_all(heads: slice, mask: str) -> None:
    """Two query heads on each of two key heads, with masks of every form."""
    q, k = torch.randn(2, 4, 5, 3), torch.randn(2, 2, 6, 3)
    if mask == "causal":
        k = k[:, :, :5]
    given = {
        "per head": torch.randn(4, 5, 6),
        "per picture": torch.rand(2, 1, 1, 6) > 0.3,
    }.get(mask)
    inputs = FusedInputs(q, k, k, given, 0.7, mask == "causal")
    expected = torch.einsum("bhqd,bhkd->bhqk", q * 0.7, k[:, [0, 0, 1, 1]])
    if mask == "per head":
        expected = expected + given
    if mask == "per picture":
        expected = expected.masked_fill(~given, float("-inf"))
    if mask == "causal":
        expected = expected.masked_fill(torch.ones(5, 5).triu(1).bool(), float("-inf"))
    rows = slice(1, 4)
    torch.testing.assert_close(inputs.attention_logits(rows, heads), expected[:, heads, rows])


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
