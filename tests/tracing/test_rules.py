"""Backward rules: the forward stays bit-equal, and each rule does what its formula says."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import vitscope as vs
from tests.zoo import PICTURES, ZOO, fresh, inputs, open_zoo, pictures
from vitscope.errors import TraceError
from vitscope.tracing import AttentionRule, Capture, Rules, constant_gate
from vitscope.tracing.changes.rules import HALVED_ATTENTION

EVERY: dict[str, Rules] = {
    "norm": Rules(norm="constant-std"),
    "activation": Rules(activation="gate"),
    "gate": Rules(activation="gate", product="gate"),
    "half": Rules(activation="gate", product="half", attention=HALVED_ATTENTION, norm="constant-std"),
    "attention": Rules(attention=AttentionRule(0.0, 0.0, 1.0)),
    "residual": Rules(residual=0.3),
    "mlp": Rules(mlp_scale=0.5),
    "all": constant_gate(0.5),
}
FAMILIES = [
    "timm-vit", "timm-deit3", "timm-eva02", "timm-dinov3", "timm-siglip", "timm-cait", "timm-beit", "hf-vit-sdpa",
    "hf-dinov2-sdpa", "hf-clip-sdpa", "hf-vit-eager", "torchvision-vit", "open-clip", "encoder-pre-norm",
    "encoder-post-norm", "encoder-tokens-first", "hand-in-place", "hand-functional", "hand-functional-norm-outside",
]  # fmt: skip


def first(output: Any) -> Tensor:
    for key in ("logits", "pooler_output"):
        output = getattr(output, key, output)
    return output.flatten(1)[:, 1]


@pytest.mark.parametrize("rule", EVERY)
@pytest.mark.parametrize("name", FAMILIES)
def test_forward_is_bit_equal(name: str, rule: str) -> None:
    vit, x = open_zoo(name), inputs(name)
    clean, ruled = vit.trace(x, first), vit.trace(x, first, rules=EVERY[rule])
    assert torch.equal(clean.logits, ruled.logits) and torch.equal(clean.scores, ruled.scores)
    for a, b in zip(clean.sites, ruled.sites, strict=True):
        assert torch.equal(a.output, b.output)
        assert torch.isfinite(b.output_gradient).all()  # type: ignore[arg-type]


CONSERVING = [
    "timm-vit", "timm-deit", "timm-deit3", "timm-eva02", "timm-clip", "timm-dinov3", "timm-vit-average",
    "timm-relpos", "timm-hybrid", "hf-vit-sdpa", "hf-vit-eager", "hf-deit-sdpa", "hf-beit-eager", "hf-dinov2-sdpa",
    "hf-dinov2-registers-eager", "hf-dinov3-sdpa", "hf-clip-sdpa", "hf-siglip-sdpa", "torchvision-vit", "open-clip",
    "encoder-pre-norm", "encoder-post-norm", "encoder-tokens-first", "multihead-weights", "hand-bmm", "hand-in-place",
    "hand-einsum",
]  # fmt: skip


def without_biases(name: str) -> nn.Module:
    """A fresh model in float64 whose additive parameters are zero, but for what makes the first block's input."""
    model = fresh(name).double()
    with torch.no_grad():
        for module in model.modules():
            for key, parameter in module.named_parameters(recurse=False):
                if (
                    key.endswith("bias")
                    and "relative" not in key
                    and "pos" not in key
                    and parameter.dim() == 1
                ):
                    parameter.zero_()
    return model


@pytest.mark.parametrize("name", CONSERVING)
def test_constant_gates_conserve_the_score(name: str) -> None:
    """With constant std, gates and attention the model is linear: sum <X_l, g_l> is the score at every block."""
    vit = vs.open_model(without_biases(name), image_size=ZOO[name].size)
    trace = vit.trace(pictures(name), first, rules=constant_gate(1.0), capture=Capture(streams=True))
    pairs = [
        *zip(trace.block_inputs, trace.block_input_gradients, strict=True),
        (trace.block_outputs[-1], trace.block_output_gradients[-1]),
    ]
    if not all(block.whole for block in vit.anatomy.blocks):
        pairs = pairs[:-1]
    for tokens, gradient in pairs:
        assert tokens.dtype == torch.float64
        total = (tokens * gradient).sum((1, 2))
        torch.testing.assert_close(total.float(), trace.scores, atol=1e-5, rtol=1e-5)


def test_constant_gate_is_the_written_out_linear_model() -> None:
    """The gradient at the first block's input of a ViT whose std, gates and attention are detached by hand."""
    model, x = fresh("timm-vit").double(), pictures("timm-vit").double()
    embedded = model._pos_embed(model.patch_embed(x)).detach().requires_grad_()
    stream = embedded

    def norm(module: nn.LayerNorm, tokens: Tensor) -> Tensor:
        centred = tokens - tokens.mean(-1, keepdim=True)
        std = (centred.detach().square().mean(-1, keepdim=True) + module.eps).sqrt()
        return centred / std * module.weight + module.bias

    for block in model.blocks:
        q, k, v = block.attn.qkv(norm(block.norm1, stream)).reshape(2, 17, 3, 3, 16).permute(2, 0, 3, 1, 4)
        A = (q @ k.mT / 4).softmax(-1).detach()
        stream = stream + block.attn.proj((A @ v).transpose(1, 2).reshape(2, 17, 48))
        hidden = block.mlp.fc1(norm(block.norm2, stream))
        gate = torch.special.ndtr(hidden.detach())
        branch = block.mlp.fc2(hidden * gate)
        stream = stream + branch * 0.25 + branch.detach() * 0.75
    score = model.head(norm(model.norm, stream)[:, 0])[:, 1].sum()
    (expected,) = torch.autograd.grad(score, [embedded])
    trace = vs.open_model(model, image_size=64).trace(
        x, 1, rules=constant_gate(0.25), capture=Capture(streams=True)
    )
    torch.testing.assert_close(trace.block_input_gradients[0], expected, atol=1e-9, rtol=1e-6)


def test_halved_attention_is_the_uniform_rule() -> None:
    """What reaches v is halved, what reaches q and k is quartered, against plain autograd."""
    model = fresh("timm-vit")
    vit, x = vs.open_model(model, image_size=64), pictures("timm-vit")
    gradients: list[Tensor] = []

    def tap(module: nn.Module, args: Any, output: Tensor) -> Tensor:
        watched = output * 1
        watched.register_hook(gradients.append)
        return watched

    handle = model.blocks[-1].attn.qkv.register_forward_hook(tap)  # type: ignore[union-attr,index,operator]
    for rules in (None, Rules(attention=HALVED_ATTENTION)):
        vit.trace(x, 1, rules=rules, capture=Capture(embedding=True))
    handle.remove()
    plain, halved = gradients
    factor = torch.cat([torch.full((96,), 0.25), torch.full((48,), 0.5)])
    torch.testing.assert_close(halved, plain * factor, atol=1e-7, rtol=1e-4)


@pytest.mark.parametrize("name", ["timm-vit", "hand-in-place", "encoder-post-norm", "hand-functional"])
def test_mlp_scale_zero_lets_nothing_through_the_mlps(name: str) -> None:
    """Its gradient equals that of a model whose MLP branches are detached by hooks."""
    model = fresh(name)
    vit, x = vs.open_model(model, image_size=64), pictures(name)
    scaled = vit.trace(x, 1, rules=Rules(mlp_scale=0.0))
    parts = {
        "timm-vit": "blocks.{}.mlp", "hand-in-place": "layers.{}.mlp", "encoder-post-norm": "encoder.layers.{}.linear2",
        "hand-functional": "layers.{}.2",
    }[name]  # fmt: skip
    handles = [
        model.get_submodule(parts.format(i)).register_forward_hook(lambda m, a, output: output.detach())
        for i in range(2)
    ]
    detached = vit.trace(x, 1)
    for handle in handles:
        handle.remove()
    plain = vit.trace(x, 1)
    for a, b, c in zip(scaled.sites, detached.sites, plain.sites, strict=True):
        torch.testing.assert_close(a.output_gradient, b.output_gradient, atol=1e-7, rtol=1e-4)
        assert (a.output_gradient - c.output_gradient).abs().max() > 1e-6  # type: ignore[operator]


def test_residual_ratio_shares_relevance() -> None:
    """z * g = a * g_a + b * g_b with shares w(u) = 1 + gamma [sign u = sign z]."""
    from vitscope.tracing.changes.rules import residual_ratio

    generator = torch.Generator().manual_seed(0)
    a, b, g = (torch.randn(50, generator=generator, dtype=torch.float64) for _ in range(3))
    a.requires_grad_(), b.requires_grad_()
    z = residual_ratio(a, b, 0.7)
    z.backward(g)
    assert a.grad is not None and b.grad is not None
    for i in range(50):
        ai, bi, zi = a[i].item(), b[i].item(), z[i].item()
        wa, wb = 1 + 0.7 * (ai * zi > 0), 1 + 0.7 * (bi * zi > 0)
        share = wa * ai / (wa * ai + wb * bi) * zi * g[i].item()
        assert (a.grad[i] * a[i]).item() == pytest.approx(share, rel=1e-5)
        assert (a.grad[i] * a[i] + b.grad[i] * b[i]).item() == pytest.approx(zi * g[i].item(), rel=1e-5)


def test_scaling_mlps_that_are_not_seen_is_refused() -> None:
    model = fresh("timm-vit")
    for block in model.blocks:  # type: ignore[union-attr]
        block.forward = lambda x, block=block, **_: torch.sub(x, -block.attn(block.norm1(x)))
    vit = vs.open_model(model, image_size=64)
    with pytest.raises(TraceError, match="no MLP branch was recognised"):
        vit.trace(pictures("timm-vit"), 1, rules=constant_gate(0.5))


@pytest.mark.parametrize("name", [n for n in PICTURES if ZOO[n].classes])
def test_constant_gate_runs_on_every_classifier(name: str) -> None:
    trace = open_zoo(name).trace(pictures(name), 1, rules=constant_gate())
    assert all(torch.isfinite(site.output_gradient).all() for site in trace.sites)
    assert any(site.output_gradient.abs().max() > 0 for site in trace.sites)  # type: ignore[union-attr]
