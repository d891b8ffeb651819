"""Attention computed in its steps: values, gradients and what is made of the matrices, against autograd itself."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tests.zoo import open_zoo, pictures
from vitscope.errors import TraceError
from vitscope.tracing import Capture
from vitscope.tracing.interception import explicit_attention
from vitscope.tracing.interception.attention_call import FusedInputs
from vitscope.tracing.interception.explicit_attention import Matrices, attend, can_be_explicit

EVERYTHING = Matrices.MEAN | Matrices.WHOLE | Matrices.NORM | Matrices.POSITIVE
B, H, N, D = 5, 3, 7, 4


def call(seed: int = 0, gradient: bool = True) -> FusedInputs:
    generator = torch.Generator().manual_seed(seed)
    q, k, v = torch.randn(B, N, 3, H, D, generator=generator).permute(2, 0, 3, 1, 4).unbind(0)
    return FusedInputs(*(t.detach().requires_grad_(gradient) for t in (q, k, v)), None, 0.3, False)


def literal(inputs: FusedInputs, dT: Tensor) -> dict[str, Tensor]:
    q, k, v = (t.detach().double().requires_grad_() for t in (inputs.q, inputs.k, inputs.v))
    attention = (q @ k.transpose(-2, -1) * inputs.scale).softmax(-1)
    attention.retain_grad()
    output = attention @ v
    dq, dk, dv = torch.autograd.grad(output, (q, k, v), dT.double(), retain_graph=True)
    (G,) = torch.autograd.grad(output, attention, dT.double())
    return {
        "output": output, "attention": attention, "mean": attention.mean(1), "norm": G.abs().sum((2, 3)),
        "positive": (G * attention).clamp_min(0).mean(1), "dq": dq, "dk": dk, "dv": dv,
    }  # fmt: skip


@pytest.mark.parametrize("at_once", [2**19, 2 * N * N, 1])
@pytest.mark.parametrize("asking", [slice(0, N), slice(0, 1), slice(2, 4), slice(0, 0)])
def test_values_and_gradients_are_those_of_autograd(
    monkeypatch: pytest.MonkeyPatch, at_once: int, asking: slice
) -> None:
    monkeypatch.setattr(explicit_attention, "CACHED_ELEMENTS", at_once)
    inputs = call()
    dT = torch.zeros(B, H, N, D)
    dT[:, :, asking] = torch.randn(B, H, asking.stop - asking.start, D)
    wanted = literal(inputs, dT)
    output, made = attend(inputs, EVERYTHING, gradient=True)
    found = dict(
        zip(("dq", "dk", "dv"), torch.autograd.grad(output, (inputs.q, inputs.k, inputs.v), dT), strict=True)
    )
    from_gradient = made.taken()
    assert from_gradient is not None and made.attention is not None and made.mean is not None
    assert from_gradient.norm is not None and from_gradient.positive is not None
    found |= {"output": output, "attention": made.attention, "mean": made.mean}
    found |= {"norm": from_gradient.norm, "positive": from_gradient.positive}
    for name, value in wanted.items():
        torch.testing.assert_close(
            found[name].detach().double(), value.detach(), rtol=1e-4, atol=1e-6, msg=name
        )
    assert made.taken() is None  # it is of one way back


def test_where_the_graph_begins_the_same_is_read_off_the_output() -> None:
    inputs, dT = call(gradient=False), torch.randn(B, H, N, D)
    output, made = attend(inputs, Matrices.POSITIVE | Matrices.NORM, gradient=True)
    assert not output.requires_grad
    made.read(dT, inputs.v)
    found, wanted = made.taken(), literal(inputs, dT)
    assert found is not None and found.norm is not None and found.positive is not None
    torch.testing.assert_close(found.norm.double(), wanted["norm"], rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(found.positive.double(), wanted["positive"].detach(), rtol=1e-4, atol=1e-6)


def test_nothing_is_kept_that_was_not_asked_for() -> None:
    _, made = attend(call(gradient=False), Matrices.MEAN, gradient=False)
    assert made.attention is None and made.mean is not None
    _, made = attend(call(gradient=False), Matrices.STEPS, gradient=False)
    assert made.attention is None and made.mean is None


def test_only_plain_attention_whose_matrix_is_not_larger_than_its_tensors() -> None:
    def of(n: int = 16, **changes: object) -> bool:
        t = torch.randn(2, 2, n, 4)
        given = {"q": t, "k": t, "v": t, "mask": None, "scale": 1.0, "causal": False, **changes}
        return can_be_explicit(FusedInputs(**given))  # type: ignore[arg-type]

    assert of(16) and not of(17)  # N N entries over 4 N d
    assert not of(causal=True) and not of(mask=torch.zeros(16, 16))
    assert not of(k=torch.randn(2, 1, 16, 4)) and not of(q=torch.randn(2, 2, 16, 4).bfloat16())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert not of(16)


def test_a_trace_of_made_matrices_is_the_trace_of_rebuilt_ones() -> None:
    vit, images = open_zoo("timm-deit"), pictures("timm-deit")
    plain = vit.trace(images, 1)
    made = vit.trace(images, 1, capture=Capture(matrices=EVERYTHING))
    torch.testing.assert_close(made.logits, plain.logits, rtol=1e-5, atol=1e-5)
    for one, other in zip(made.sites, plain.sites, strict=True):
        assert one.made is not None and one.from_gradient is not None and other.made is None
        for name in ("attention", "mean_attention", "attention_gradient", "gradient_norm", "cls_attention"):
            torch.testing.assert_close(
                getattr(one, name)(), getattr(other, name)(), rtol=1e-4, atol=1e-6, msg=name
            )


def test_a_trace_without_inputs_says_so() -> None:
    vit, images = open_zoo("timm-deit"), pictures("timm-deit")
    capture = Capture(outputs=False, inputs=False, matrices=Matrices.MEAN)
    site = vit.trace(images, 1, gradient=False, capture=capture).sites[0]
    assert (site.batch, site.heads, site.queries) == (len(images), site.info.heads, site.info.queries)
    with pytest.raises(
        TraceError, match=r"were not kept; take the trace with capture=Capture\(inputs=True\)"
    ):
        site.q  # noqa: B018
    with pytest.raises(TraceError, match="were not kept"):
        site.attention()


def test_each_target_of_one_forward_has_its_own() -> None:
    vit, images = open_zoo("timm-deit"), pictures("timm-deit")
    capture = Capture(matrices=EVERYTHING)
    both = vit.traces(images, [0, 1], capture=capture)
    for trace, target in zip(both, (0, 1), strict=True):
        alone = vit.trace(images, target, capture=capture)
        for one, other in zip(trace.sites, alone.sites, strict=True):
            torch.testing.assert_close(one.gradient_norm(), other.gradient_norm(), rtol=1e-5, atol=1e-7)
