"""Every way to call attention, at the interceptor: masks, scales, grouped heads, ``nn.MultiheadAttention``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vitscope.models import SiteInfo
from vitscope.tracing import AttentionSite
from vitscope.tracing.calls.guard import quiet
from vitscope.tracing.interception.attention_call import EagerInputs, FusedInputs
from vitscope.tracing.interception.interceptor import Interceptor


class Keep:
    """A surgeon that changes nothing and keeps every site."""

    def __init__(self) -> None:
        self.sites: list[AttentionSite] = []

    def attention_logits(self, logits: Tensor) -> Tensor:
        return logits

    def fused(self, inputs: FusedInputs, run: Callable[[FusedInputs], Tensor]) -> Tensor:
        output = run(inputs)
        heads = inputs.q.shape[-3]
        info = SiteInfo(
            0, "x", "self", 0, heads, inputs.q.shape[-1], inputs.q.shape[-2], inputs.k.shape[-2], True
        )
        self.sites.append(AttentionSite(info, inputs, None, output))
        return output

    def eager(self, inputs: EagerInputs, run: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        output = run(inputs.attention, inputs.v)
        heads = inputs.attention.shape[1] if inputs.attention.dim() == 4 else 1
        info = SiteInfo(0, "x", "self", 0, heads, inputs.v.shape[-1], *inputs.attention.shape[-2:], False)
        self.sites.append(AttentionSite(info, None, inputs, output))
        return output

    def other(self, func: Any, args: Any, kwargs: Any, call: Callable[..., Any]) -> Any:
        return call(*args, **kwargs)


def seen(run: Callable[[], Any]) -> tuple[Any, list[AttentionSite]]:
    keep = Keep()
    with torch.no_grad(), Interceptor(keep):
        result = run()
    return result, keep.sites


def qkv(*shape: int, keys: int | None = None, groups: int = 1) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    B, H, N, d = shape
    small = (B, H // groups, keys or N, d)
    return tuple(torch.randn(s, generator=generator) for s in (shape, small, small))  # type: ignore[return-value]


BOOLEAN = torch.rand(5, 7, generator=torch.Generator().manual_seed(1)) < 0.7
BOOLEAN[:, 0] = True
FLOAT = torch.randn(5, 7, generator=torch.Generator().manual_seed(2))
CALLS: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "plain": lambda q, k, v: F.scaled_dot_product_attention(q, k, v),
    "keyword mask": lambda q, k, v: F.scaled_dot_product_attention(q, k, v, attn_mask=BOOLEAN),
    "positional mask": lambda q, k, v: F.scaled_dot_product_attention(q, k, v, FLOAT),
    "mask per head": lambda q, k, v: F.scaled_dot_product_attention(q, k, v, FLOAT.expand(2, 4, 5, 7) * 2),
    "mask per picture": lambda q, k, v: F.scaled_dot_product_attention(q, k, v, BOOLEAN.expand(2, 1, 5, 7)),
    "mask of keys": lambda q, k, v: F.scaled_dot_product_attention(q, k, v, BOOLEAN[:1].expand(2, 1, 1, 7)),
    "scale": lambda q, k, v: F.scaled_dot_product_attention(q, k, v, scale=0.3),
    "not causal": lambda q, k, v: F.scaled_dot_product_attention(q, k, v, None, 0.0, False),
    "causal": lambda q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=True),
    "all keywords": lambda q, k, v: F.scaled_dot_product_attention(query=q, key=k, value=v, attn_mask=FLOAT),
}


@pytest.mark.parametrize("name", CALLS)
def test_fused_calls(name: str) -> None:
    q, k, v = qkv(2, 4, 5, 8, keys=7)
    expected = CALLS[name](q, k, v)
    result, (site,) = seen(lambda: CALLS[name](q, k, v))
    assert torch.equal(result, expected)
    torch.testing.assert_close(site.attention() @ v, expected)
    torch.testing.assert_close(site.attention().sum(-1), torch.ones(2, 4, 5))
    assert torch.equal(site.q, q) and torch.equal(site.k, k) and torch.equal(site.v, v)


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_grouped_queries(groups: int) -> None:
    q, k, v = qkv(2, 4, 6, 8, groups=groups)
    expected = F.scaled_dot_product_attention(q, k, v, enable_gqa=True)
    result, (site,) = seen(lambda: F.scaled_dot_product_attention(q, k, v, enable_gqa=True))
    assert torch.equal(result, expected)
    assert site.k.shape == site.v.shape == (2, 4, 6, 8)
    for head in range(4):
        assert torch.equal(site.k[:, head], k[:, head // groups])
    torch.testing.assert_close(site.attention() @ site.v, expected)


@pytest.mark.parametrize("shape", [(6, 8), (3, 6, 8), (2, 3, 4, 6, 8)])
def test_other_numbers_of_axes(shape: tuple[int, ...]) -> None:
    q, k, v = (torch.randn(shape, generator=torch.Generator().manual_seed(s)) for s in range(3))
    expected = F.scaled_dot_product_attention(q, k, v)
    result, (site,) = seen(lambda: F.scaled_dot_product_attention(q, k, v))
    torch.testing.assert_close(result, expected)
    assert result.shape == expected.shape
    torch.testing.assert_close((site.attention() @ site.v).reshape(shape), expected)


def multihead(
    call: Callable[[nn.MultiheadAttention], Any], **options: Any
) -> tuple[Any, Any, list[AttentionSite]]:
    torch.manual_seed(0)
    module = nn.MultiheadAttention(24, 3, dropout=0.2, **options).eval()
    with torch.no_grad():
        expected = call(module)
    keep = Keep()
    with quiet(module, gradient=False), Interceptor(keep):
        result = call(module)
    return result, expected, keep.sites


X = torch.randn(2, 5, 24, generator=torch.Generator().manual_seed(5))
Y = torch.randn(2, 7, 24, generator=torch.Generator().manual_seed(6))
PADDING = torch.tensor([[False] * 5, [False, False, False, True, True]])
CAUSAL = nn.Transformer.generate_square_subsequent_mask(5)
MULTIHEAD: dict[str, tuple[dict[str, Any], Callable[[nn.MultiheadAttention], Any]]] = {
    "self": ({"batch_first": True}, lambda m: m(X, X, X)),
    "tokens first": ({}, lambda m: m(X, X, X)),
    "cross": ({"batch_first": True}, lambda m: m(X, Y, Y)),
    "weights per head": ({"batch_first": True}, lambda m: m(X, X, X, average_attn_weights=False)),
    "no weights": ({"batch_first": True}, lambda m: m(X, X, X, need_weights=False)),
    "padding": ({"batch_first": True}, lambda m: m(X, X, X, key_padding_mask=PADDING)),
    "mask": ({"batch_first": True}, lambda m: m(X, X, X, attn_mask=CAUSAL)),
    "mask and padding": ({"batch_first": True}, lambda m: m(X, X, X, PADDING, True, CAUSAL < 0)),
    "causal": ({"batch_first": True}, lambda m: m(X, X, X, attn_mask=CAUSAL, is_causal=True)),
    "causal without weights": (
        {"batch_first": True}, lambda m: m(X, X, X, None, False, CAUSAL, is_causal=True),
    ),
    "unbatched": ({}, lambda m: m(X[0], X[0], X[0])),
    "unbatched per head": ({}, lambda m: m(X[0], X[0], X[0], average_attn_weights=False)),
    "other widths": ({"batch_first": True, "kdim": 24, "vdim": 24, "bias": False}, lambda m: m(X, Y, Y)),
    "extra keys": ({"batch_first": True, "add_bias_kv": True, "add_zero_attn": True}, lambda m: m(X, X, X)),
}  # fmt: skip


@pytest.mark.parametrize("name", MULTIHEAD)
def test_multihead_attention(name: str) -> None:
    options, call = MULTIHEAD[name]
    (output, weights), (expected, expected_weights), sites = multihead(call, **options)
    torch.testing.assert_close(output, expected, atol=1e-6, rtol=1e-5)
    (site,) = sites
    A = site.attention()
    torch.testing.assert_close(A @ site.v, site.output, atol=1e-6, rtol=1e-5)
    assert (weights is None) == (expected_weights is None)
    if weights is not None:
        assert weights.shape == expected_weights.shape
        torch.testing.assert_close(weights, expected_weights, atol=1e-6, rtol=1e-5)


def test_encoder_layers_fast_path_is_off() -> None:
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(24, 3, 48, batch_first=True).eval()
    expected = layer(X)
    keep = Keep()
    with quiet(layer, gradient=False), Interceptor(keep):
        result = layer(X)
    torch.testing.assert_close(result, expected, atol=1e-5, rtol=1e-4)
    assert len(keep.sites) == 1 and keep.sites[0].attention().shape == (2, 3, 5, 5)


EAGER: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "where": lambda s, m, v: torch.where(m, s.softmax(-1), 0.0) @ v,
    "sparse": lambda s, m, v: (s.softmax(-1) * m) @ v,
    "scaled": lambda s, m, v: (s.softmax(-1) / 2).matmul(v),
    "in place": lambda s, m, v: s.softmax(-1).mul_(m) @ v,
    "sliced": lambda s, m, v: s.softmax(-1)[:, :, 1:] @ v,
    "head dropped": lambda s, m, v: s.softmax(-1)[:, 1:] @ v[:, 1:],
    "mixed heads": lambda s, m, v: F.linear(s.softmax(-1).permute(0, 2, 3, 1), MIX).permute(0, 3, 1, 2) @ v,
    "mixed by einsum": lambda s, m, v: torch.einsum("bhij,gh->bgij", s.softmax(-1), MIX) @ v,
    "mixed by convolution": lambda s, m, v: F.conv2d(s.softmax(-1), MIX[:, :, None, None]) @ v,
    "single head": lambda s, m, v: torch.bmm(s[:, 0].softmax(2), v[:, 0]),
    "operand list": lambda s, m, v: torch.einsum("bhij,bhjd->bihd", [s.softmax(-1), v]),
    "half": lambda s, m, v: s.float().softmax(dim=-1).type_as(v) @ v,
}
MIX = torch.randn(4, 4, generator=torch.Generator().manual_seed(8))


@pytest.mark.parametrize("name", EAGER)
def test_eager_products(name: str) -> None:
    q, k, v = qkv(2, 4, 7, 8)
    scores, mask = q @ k.mT / 3, torch.rand(7, 7, generator=torch.Generator().manual_seed(1)) < 0.5
    expected = EAGER[name](scores.clone(), mask, v)
    result, sites = seen(lambda: EAGER[name](scores.clone(), mask, v))
    torch.testing.assert_close(result, expected)
    (site,) = sites
    product = site.attention() @ site.v
    flat = product.transpose(1, 2) if name == "operand list" else product
    torch.testing.assert_close(flat.reshape(expected.shape), expected)


NOT_ATTENTION: dict[str, Callable[[Tensor, Tensor], Any]] = {
    "classifier": lambda s, v: s[:, 0, 0].softmax(-1) @ torch.ones(7, 3),
    "slots share the keys": lambda s, v: s.softmax(-2) @ v,
    "product before softmax": lambda s, v: (s @ v).softmax(-1),
    "sum over queries": lambda s, v: torch.einsum("bhij,bhid->bhjd", s.softmax(-1), v),
    "entropy": lambda s, v: (s.softmax(-1) * s.log_softmax(-1)).sum(),
}


@pytest.mark.parametrize("name", NOT_ATTENTION)
def test_what_is_no_attention_is_left_alone(name: str) -> None:
    q, k, v = qkv(2, 4, 7, 8)
    expected = NOT_ATTENTION[name](q @ k.mT, v)
    result, sites = seen(lambda: NOT_ATTENTION[name](q @ k.mT, v))
    assert torch.equal(result, expected) and not sites
