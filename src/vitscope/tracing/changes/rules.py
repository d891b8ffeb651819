"""Backward rules: another way back through a function whose forward value stays bit-equal.

With them a plain backward pass computes layer-wise relevance propagation, Libra or DART for any ViT, without a
rewritten model. Every rule is stated as what happens to the gradient (relevance = value * modified gradient).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from vitscope.errors import TraceError
from vitscope.options.door import checked


@dataclass(frozen=True)
class AttentionRule:
    """Factors on the gradients at one attention: of the attention logits, of the probabilities A, of the values v.

    CP-LRP and Libra hold A constant: (logits 0, probabilities 0, values 1). AttnLRP halves the gradient at each
    bilinear product: probabilities and values get half each, q and k again half each of what reaches the logits."""

    logits: float = 1.0
    probabilities: float = 1.0
    values: float = 1.0

    @property
    def constant(self) -> bool:
        """True when nothing goes back through the probabilities."""
        return self.probabilities == 0 or self.logits == 0


CONSTANT_ATTENTION = AttentionRule(logits=0.0, probabilities=0.0, values=1.0)
HALVED_ATTENTION = AttentionRule(logits=0.5, probabilities=0.5, values=0.5)


@dataclass(frozen=True)
class Rules:
    """Which functions get another backward.

    norm: ``constant-std`` treats the standard deviation of LayerNorm and RMSNorm as a constant (the mean not).
    activation: ``gate`` treats f(u)/u of GELU, SiLU, QuickGELU and ReLU as a constant.
    product: what happens at the product of two activations (gated MLPs): ``gate`` holds the gate constant,
    ``half`` gives each factor half of the gradient (the uniform rule).
    attention: an AttentionRule. mlp_scale: factor on the gradient of each block's MLP branch (DART's kappa).
    residual: gamma of ResLRP, which shares the relevance of z = a + b as w(a) a : w(b) b with
    w(u) = 1 + gamma [sign u = sign z]. detach_blocks: nothing goes back from a block into the one before."""

    norm: Literal["constant-std"] | None = None
    activation: Literal["gate"] | None = None
    product: Literal["gate", "half"] | None = None
    attention: AttentionRule | None = None
    mlp_scale: float = 1.0
    residual: float | None = None
    detach_blocks: bool = False

    @property
    def touches_residual(self) -> bool:
        """True when residual additions have to be recognised."""
        return self.mlp_scale != 1.0 or self.residual is not None


@checked(TraceError)
def constant_gate(mlp_scale: float = 1.0) -> Rules:
    """The constant-gate gradients of DART and Libra: std, attention and gates constant."""
    return Rules("constant-std", "gate", "gate", CONSTANT_ATTENTION, mlp_scale)


class _ScaleGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, value: Tensor, factor: float) -> Tensor:
        ctx.factor = factor
        return value.view_as(value)

    @staticmethod
    def backward(ctx: Any, *gradient: Tensor) -> tuple[Tensor, None]:
        return gradient[0] * ctx.factor, None


def scale_gradient(value: Tensor, factor: float) -> Tensor:
    """The same value; the gradient is multiplied by ``factor`` on its way back."""
    if factor == 1.0:
        return value
    if factor == 0.0:
        return value.detach()
    result: Tensor = _ScaleGradient.apply(value, factor)
    return result


class _ConstantStdNorm(torch.autograd.Function):
    """LayerNorm (axes > 0) with its standard deviation held constant on the way back."""

    @staticmethod
    def forward(
        ctx: Any, value: Tensor, result: Tensor, weight: Tensor | None, std: Tensor, axes: int, centre: bool
    ) -> Tensor:
        ctx.save_for_backward(weight, std)
        ctx.axes, ctx.centre, ctx.dtype = axes, centre, value.dtype
        return result.view_as(result)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        weight, std = ctx.saved_tensors
        gradient = gradients[0].to(std.dtype)
        if weight is not None:
            gradient = gradient * weight.to(std.dtype)
        if ctx.centre:
            gradient = gradient - gradient.mean(tuple(range(-ctx.axes, 0)), keepdim=True)
        return (gradient / std).to(ctx.dtype), None, None, None, None, None


def constant_std_norm(
    value: Tensor, result: Tensor, shape: Any, weight: Tensor | None, eps: float | None, centre: bool
) -> Tensor:
    """``result`` = LayerNorm (``centre``) or RMSNorm of ``value``, with the constant-std backward."""
    axes = 1 if isinstance(shape, int) else len(shape)
    dims = tuple(range(-axes, 0))
    with torch.no_grad():
        wide = value if value.dtype == torch.float64 else value.float()
        epsilon = torch.finfo(value.dtype).eps if eps is None else eps
        square = (
            wide.var(dims, unbiased=False, keepdim=True) if centre else wide.square().mean(dims, keepdim=True)
        )
        std = (square + epsilon).sqrt()
    made: Tensor = _ConstantStdNorm.apply(value, result.detach(), weight, std, axes, centre)
    return made


class _Gated(torch.autograd.Function):
    """y = u * gate with a constant gate, ``y`` given so that its value stays bit-equal."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, result: Tensor, gate: Tensor) -> Tensor:
        ctx.save_for_backward(gate)
        return result.view_as(result)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (gate,) = ctx.saved_tensors
        return gradients[0] * gate, None, None


def gated(value: Tensor, result: Tensor, gate: Tensor) -> Tensor:
    """``result``, whose gradient at ``value`` is ``gate`` times the incoming one."""
    made: Tensor = _Gated.apply(value, result.detach(), gate)
    return made


def gate_of(name: str, value: Tensor, approximate: str = "none") -> Tensor:
    """f(u)/u, the constant gate of an activation: Phi(u) of GELU, sigmoid(u) of SiLU, [u > 0] of ReLU."""
    with torch.no_grad():
        u = value if value.dtype == torch.float64 else value.float()
        if name == "gelu" and approximate == "tanh":
            gate = 0.5 * (1 + torch.tanh((2 / torch.pi) ** 0.5 * (u + 0.044715 * u**3)))
        elif name == "gelu":
            gate = 0.5 * (1 + torch.erf(u * 0.5**0.5))
        elif name == "silu":
            gate = torch.sigmoid(u)
        elif name == "hardswish":
            gate = F.hardsigmoid(u)
        else:
            gate = (u > 0).to(u.dtype)
        return gate.to(value.dtype)


def ratio_gate(value: Tensor, result: Tensor) -> Tensor:
    """f(u)/u by division, for activations with f(0) = 0; at u = 0, where nothing passes, 0."""
    with torch.no_grad():
        zero = value == 0
        return torch.where(zero, 0.0, result / torch.where(zero, 1.0, value))


class _ResidualRatio(torch.autograd.Function):
    """z = a + b with the relevance shared as w(a) a : w(b) b (ResLRP)."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor, gamma: float) -> Tensor:
        z = a + b
        # copies, because a model that adds in place writes into its stream after this
        ctx.save_for_backward(a.clone(), b.clone())
        ctx.gamma = gamma
        return z

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None]:
        a, b = ctx.saved_tensors
        z = a + b
        wide = torch.promote_types(z.dtype, torch.float32)
        a_, b_, z_ = a.to(wide), b.to(wide), z.to(wide)
        weight_a = 1 + ctx.gamma * (torch.sign(a_) == torch.sign(z_))
        weight_b = 1 + ctx.gamma * (torch.sign(b_) == torch.sign(z_))
        total = weight_a * a_ + weight_b * b_
        # where z vanishes its relevance z * g does too, so the ratio's limit is irrelevant there
        ratio = torch.where(total == 0, torch.zeros_like(z_), z_ / total)
        gradient = gradients[0].to(wide) * ratio
        return (gradient * weight_a).to(a.dtype), (gradient * weight_b).to(b.dtype), None


def residual_ratio(a: Tensor, b: Tensor, gamma: float) -> Tensor:
    """a + b with ResLRP's backward rule."""
    made: Tensor = _ResidualRatio.apply(a, b, gamma)
    return made
