"""Backward rules: another way back through a function whose forward value stays bit-equal.

With them a plain backward pass computes layer-wise relevance propagation, Libra or DART for any ViT, without a
rewritten model. Every rule is stated as what happens to the gradient (relevance = value * modified gradient).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
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
    bilinear product: probabilities and values get half each, q and k again half each of what reaches the logits.

    Example:
        >>> from vitscope.tracing import AttentionRule
        >>> AttentionRule(logits=0, probabilities=0).constant, AttentionRule().constant
        (True, False)
    """

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
    w(u) = 1 + gamma [sign u = sign z]. detach_blocks: nothing goes back from a block into the one before.
    share: of the ordinary derivative that passes wherever one of the rules stands, 0 to 1. ordinary_too: one more way
    back through the same graph, the ordinary one, see ``Trace.ordinary``.

    Example:
        >>> import vitscope as vs
        >>> from vitscope.tracing import AttentionRule, Rules
        >>> vit = vs.open_model("bundled/shapes")
        >>> picture = vit.images(vs.worlds.demo_pictures(1).images())
        >>> libra = Rules("constant-std", "gate", "gate", AttentionRule(logits=0, probabilities=0))
        >>> plain, changed = vit.trace(picture), vit.trace(picture, rules=libra)
        >>> plain.logits.equal(changed.logits)  # the way back alone is changed
        True
    """

    norm: Literal["constant-std"] | None = None
    activation: Literal["gate"] | None = None
    product: Literal["gate", "half"] | None = None
    attention: AttentionRule | None = None
    mlp_scale: float = 1.0
    residual: float | None = None
    detach_blocks: bool = False
    share: float = 0.0
    ordinary_too: bool = False

    def __post_init__(self) -> None:
        if (self.share or self.ordinary_too) and (self.residual is not None or self.detach_blocks):
            raise TraceError(
                "expected rules without residual and detach_blocks beside share or ordinary_too, which need one graph "
                "with the ordinary way back; leave one of them out"
            )

    @property
    def touches_residual(self) -> bool:
        """True when residual additions have to be recognised."""
        return self.mlp_scale != 1.0 or self.residual is not None


@checked(TraceError)
def constant_gate(mlp_scale: float = 1.0, *, share: float = 0.0, ordinary_too: bool = False) -> Rules:
    """The constant-gate gradients of DART and Libra: std, attention and gates constant.

    Args:
        mlp_scale: Factor on the gradient of each block's MLP branch, DART's kappa.
        share: Of the ordinary derivative that passes all the same, 0 to 1.
        ordinary_too: The ordinary gradient beside, through the same graph, see ``Trace.ordinary``.

    Returns:
        The rules, for ``vit.trace(pictures, rules=…)``.

    Example:
        >>> constant_gate(0.5).norm, constant_gate(0.5).mlp_scale
        ('constant-std', 0.5)
    """
    return Rules(
        "constant-std", "gate", "gate", CONSTANT_ATTENTION, mlp_scale, share=share, ordinary_too=ordinary_too
    )


@dataclass
class WayBack:
    """Which way the gradients of one pass go where a rule stands; read on the way back, so that it can be changed
    between two of them.

    ordinary: the share of the ordinary derivative; the rule has the rest."""

    ordinary: float

    @contextmanager
    def by_no_rule(self) -> Iterator[None]:
        """The ordinary way back, until the block ends."""
        before, self.ordinary = self.ordinary, 1.0
        try:
            yield
        finally:
            self.ordinary = before


class _Blend(torch.autograd.Function):
    """One value that was reached twice: the gradient goes back by both, in the shares of a :class:`WayBack`."""

    @staticmethod
    def forward(ctx: Any, ordinary: Tensor, ruled: Tensor, way: WayBack) -> Tensor:
        ctx.way = way
        ctx.set_materialize_grads(False)
        return ordinary.view_as(ordinary)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, Tensor | None, None]:
        share = ctx.way.ordinary
        return _times(gradients[0], share), _times(gradients[0], 1.0 - share), None


def blend(ordinary: Tensor, ruled: Tensor, way: WayBack) -> Tensor:
    """The value of both, whose gradient goes back through each in the shares that ``way`` has then."""
    made: Tensor = _Blend.apply(ordinary, ruled, way)
    return made


class _ScaleGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, value: Tensor, factor: float, way: WayBack | None) -> Tensor:
        ctx.factor, ctx.way = factor, way
        ctx.set_materialize_grads(False)
        return value.view_as(value)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, None, None]:
        share = 0.0 if ctx.way is None else ctx.way.ordinary
        return _times(gradients[0], share + (1.0 - share) * ctx.factor), None, None


def _times(gradient: Tensor | None, factor: float) -> Tensor | None:
    """None where nothing comes or goes back, which spares the way behind it."""
    if gradient is None or factor == 0.0:
        return None
    return gradient if factor == 1.0 else gradient * factor


def scale_gradient(value: Tensor, factor: float, way: WayBack | None = None) -> Tensor:
    """The same value; its gradient is multiplied by ``factor``, but for the ordinary share that ``way`` has then."""
    if factor == 1.0:
        return value
    if factor == 0.0 and way is None:
        return value.detach()
    result: Tensor = _ScaleGradient.apply(value, factor, way)
    return result


class _ConstantStdNorm(torch.autograd.Function):
    """LayerNorm (axes > 0) with its standard deviation held constant on the way back."""

    @staticmethod
    def forward(
        ctx: Any, value: Tensor, result: Tensor, weight: Tensor | None, std: Tensor, axes: int, centre: bool
    ) -> Tensor:
        ctx.save_for_backward(weight, std)
        ctx.axes, ctx.centre, ctx.dtype = axes, centre, value.dtype
        ctx.set_materialize_grads(False)
        return result.view_as(result)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        if gradients[0] is None:
            return (None,) * 6
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
        ctx.set_materialize_grads(False)
        return result.view_as(result)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, None, None]:
        (gate,) = ctx.saved_tensors
        return None if gradients[0] is None else gradients[0] * gate, None, None


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
