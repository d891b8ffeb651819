"""A trace against autograd on attention written out, on every model of the zoo."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tests.zoo import ROWS, TOKENS, ZOO, build, inputs, open_zoo
from vitscope.errors import TraceError
from vitscope.tracing import Capture, Trace

MIXED = ("timm-cait", "timm-convit", "timm-xcit")  # something lies between the softmax and the product


def explained(output: Any) -> Tensor:
    """A score that every model has: logits or features weighted by fixed numbers."""
    for key in ("logits", "image_embeds", "pooler_output", "last_hidden_state"):
        output = getattr(output, key, output)
    flat = (output[0] if isinstance(output, tuple) else output).flatten(1)
    return (flat * torch.linspace(-1, 1, flat.shape[1], dtype=flat.dtype).cos()).sum(1)


def call(name: str) -> Any:
    given = inputs(name)
    return build(name)(given) if isinstance(given, Tensor) else build(name)(**given)


@contextmanager
def written_out() -> Iterator[list[Tensor]]:
    """The fused function replaced by its definition, and what every softmax returns kept."""
    kept: list[Tensor] = []
    method, function = Tensor.softmax, torch.softmax

    def softmax(scores: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        matrix = method(scores, *args, **kwargs)
        if matrix.dim() >= 3:
            matrix.retain_grad()
            kept.append(matrix)
        return matrix

    def attention(
        query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None, dropout_p: float = 0.0,
        is_causal: bool = False, scale: float | None = None, enable_gqa: bool = False,
    ) -> Tensor:  # fmt: skip
        groups = query.shape[-3] // key.shape[-3]
        key, value = key.repeat_interleave(groups, -3), value.repeat_interleave(groups, -3)
        scores = query @ key.transpose(-2, -1) * (query.shape[-1] ** -0.5 if scale is None else scale)
        if is_causal:
            scores = scores.masked_fill(torch.ones_like(scores).triu(1).bool(), float("-inf"))
        if attn_mask is not None:
            extra = torch.zeros_like(scores)
            boolean = attn_mask.dtype == torch.bool
            scores = scores + (extra.masked_fill(~attn_mask, float("-inf")) if boolean else attn_mask)
        return softmax(scores, -1) @ value

    before, fast = F.scaled_dot_product_attention, torch.backends.mha.get_fastpath_enabled()
    F.scaled_dot_product_attention, torch.softmax, Tensor.softmax = attention, softmax, softmax
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield kept
    finally:
        F.scaled_dot_product_attention, torch.softmax = before, function
        del Tensor.softmax
        torch.backends.mha.set_fastpath_enabled(fast)


def check_sites(trace: Trace, matrices: list[Tensor]) -> None:
    sites = [*trace.sites, trace.pool] if trace.pool is not None else trace.sites
    matrices = [m for m in matrices if m.grad is not None][
        -len(sites) :
    ]  # some compute a pooling and ignore it
    for site, matrix in zip(sites, matrices, strict=True):
        assert matrix.grad is not None
        expected, gradient = (t.reshape(site.attention().shape) for t in (matrix.detach(), matrix.grad))
        torch.testing.assert_close(site.attention(), expected, atol=1e-6, rtol=1e-5)
        scale = gradient.abs().max() + 1e-12
        torch.testing.assert_close(site.attention_gradient() / scale, gradient / scale, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("name", [name for name in ROWS if name not in MIXED])
def test_attention_and_its_gradient_are_autograds(name: str) -> None:
    with written_out() as kept:
        explained(call(name)).sum().backward()
    build(name).zero_grad()
    if name == "hand-columns":  # it writes the transpose
        gradients = [matrix.grad for matrix in kept]
        kept = [matrix.mT.detach() for matrix in kept]
        for matrix, gradient in zip(kept, gradients, strict=True):
            matrix.grad = gradient.mT  # type: ignore[union-attr]
    check_sites(open_zoo(name).trace(inputs(name), explained), kept)


@pytest.mark.parametrize("name", TOKENS)
def test_identities_of_a_site(name: str) -> None:
    vit = open_zoo(name)
    with torch.no_grad():
        output = call(name)
    trace = vit.trace(inputs(name), explained)
    torch.testing.assert_close(trace.scores, explained(output), atol=1e-4, rtol=1e-4)
    assert len(trace.sites) == ZOO[name].blocks
    for site in trace.sites:
        A, v, T, dT = site.attention(), site.v, site.output, site.output_gradient
        B, H, Nq, _ = A.shape
        assert (2, site.info.heads) == (B, H) and A.dtype == torch.float32
        assert T.shape == dT.shape == (B, H, Nq, v.shape[-1])
        if name not in MIXED:
            torch.testing.assert_close(A.sum(-1), torch.ones(B, H, Nq))
        torch.testing.assert_close(A @ v, T, atol=1e-5, rtol=1e-4)
        G = dT @ v.transpose(-2, -1)
        torch.testing.assert_close(site.attention_gradient(), G, atol=1e-6, rtol=1e-5)
        torch.testing.assert_close(site.value_gradient(), A.transpose(-2, -1) @ dT, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(site.gradient_norm(1), G.abs().sum((-2, -1)), atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(
            site.gradient_norm(2), G.square().sum((-2, -1)).sqrt(), atol=1e-5, rtol=1e-3
        )
        torch.testing.assert_close(site.row(Nq - 1), A[:, :, -1])
        torch.testing.assert_close(site.row_gradient(-1), G[:, :, -1], atol=1e-6, rtol=1e-5)
        torch.testing.assert_close(site.attention(slice(0, 2)), A[:, :, :2])
        if site.class_query is None:
            with pytest.raises(TraceError, match="no class token among its queries"):
                site.cls_attention()
        else:
            torch.testing.assert_close(site.cls_attention(), A[:, :, site.class_query])
            torch.testing.assert_close(site.cls_gradient(), G[:, :, site.class_query], atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("name", ROWS)
def test_streams_norms_and_embedding(name: str) -> None:
    vit, entry = open_zoo(name), ZOO[name]
    whole = all(block.whole for block in vit.trace(inputs(name), gradient=False).anatomy.blocks)
    trace = vit.trace(inputs(name), explained, capture=Capture(streams=True, embedding=True))
    plain = vit.trace(inputs(name), explained)
    torch.testing.assert_close(trace.scores, plain.scores, atol=0, rtol=0)
    tokens = [t.shape[1] for t in trace.block_inputs]
    assert set(tokens) <= {trace.layout.tokens, trace.layout.patches}
    for values, gradients in (
        (trace.block_inputs, trace.block_input_gradients),
        (trace.block_outputs, trace.block_output_gradients),
    ):
        assert [v.shape for v in values] == [g.shape for g in gradients]
        assert all(v.shape[0] == 2 and v.shape[2] == entry.width for v in values)
    if whole and "class" not in entry.kinds:
        gradients = zip(trace.block_output_gradients[:-1], trace.block_input_gradients[1:], strict=True)
        values = zip(trace.block_outputs[:-1], trace.block_inputs[1:], strict=True)
        for before, after in [*values, *gradients]:
            if before.shape == after.shape:  # ConViT lets the class token in half way
                torch.testing.assert_close(before, after)
    if not entry.text:
        assert trace.embedding.shape == trace.embedding_gradient.shape
        assert trace.embedding.shape[:2] == (2, trace.layout.patches)


def test_gradients_at_norms_and_pixels_are_autograds() -> None:
    model, x = build("timm-deit"), inputs("timm-deit").clone().requires_grad_()  # type: ignore[union-attr]
    kept: list[Tensor] = []

    def keep(module: torch.nn.Module, args: Any, output: Tensor) -> None:
        output.retain_grad()
        kept.append(output)

    handles = [block.norm1.register_forward_hook(keep) for block in model.blocks]  # type: ignore[union-attr]
    explained(model(x)).sum().backward()
    for handle in handles:
        handle.remove()
    model.zero_grad()
    trace = open_zoo("timm-deit").trace(x.detach(), explained, capture=Capture(norms=True, image=True))
    torch.testing.assert_close(trace.image_gradient, x.grad, atol=1e-6, rtol=1e-4)
    for output, tokens, gradient in zip(kept, trace.norm_tokens, trace.norm_gradients, strict=True):
        torch.testing.assert_close(tokens, output.detach())
        torch.testing.assert_close(gradient, output.grad, atol=1e-6, rtol=1e-4)
    for what in ("block_inputs", "norm_tokens", "embedding", "image_gradient"):
        with pytest.raises(TraceError, match="take it with capture=Capture"):
            getattr(open_zoo("timm-deit").trace(x.detach()), what)
    with pytest.raises(TraceError, match="gradient=True"):
        open_zoo("timm-deit").trace(x.detach(), gradient=False).sites[0].attention_gradient()


@pytest.mark.parametrize("name", ["timm-vit", "hf-vit-eager", "encoder-tokens-first", "timm-cait"])
def test_a_batch_is_its_pictures_one_by_one(name: str) -> None:
    vit, x = open_zoo(name), inputs(name, batch=3)
    together = vit.trace(x, explained)
    for i in range(3):
        alone = vit.trace(x[i : i + 1], explained)  # type: ignore[index]
        for one, many in zip(alone.sites, together.sites, strict=True):
            torch.testing.assert_close(one.attention()[0], many.attention()[i], atol=1e-6, rtol=1e-5)
            gradient, expected = one.attention_gradient()[0], many.attention_gradient()[i]
            torch.testing.assert_close(gradient, expected, atol=1e-6, rtol=1e-4)


def test_several_targets_share_one_forward() -> None:
    vit, x = open_zoo("timm-vit"), inputs("timm-vit")
    calls = []
    handle = vit.model.register_forward_hook(lambda *_: calls.append(1))
    many = vit.traces(x, [3, "top2:probability", explained])
    handle.remove()
    assert len(calls) == 1
    for trace, target in zip(many, [3, "top2:probability", explained], strict=True):
        single = vit.trace(x, target)
        for a, b in zip(trace.sites, single.sites, strict=True):
            torch.testing.assert_close(a.attention_gradient(), b.attention_gradient())


def test_readout_rows() -> None:
    mean = open_zoo("timm-vit-average-with-class").trace(inputs("timm-vit-average-with-class"))
    assert torch.allclose(mean.readout(), torch.tensor([0.0, *[1 / 16] * 16]).expand(2, -1))
    both = open_zoo("timm-deit-distilled").trace(inputs("timm-deit-distilled"))
    assert torch.allclose(both.readout()[:, :2], torch.full((2, 2), 0.5)) and both.readout()[:, 2:].sum() == 0
    pooled = open_zoo("timm-siglip").trace(inputs("timm-siglip"), explained)
    assert pooled.pool is not None
    assert torch.allclose(pooled.readout(), pooled.pool.attention().mean((1, 2)))


def test_scores_without_gradient_to_attention_are_refused() -> None:
    with pytest.raises(TraceError, match="does not depend on any attention"):
        open_zoo("timm-vit").trace(inputs("timm-vit"), lambda output: output.detach().sum(1))
