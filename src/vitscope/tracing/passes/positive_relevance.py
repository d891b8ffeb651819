"""Layer-wise relevance of the attention with the z+ rule (Chefer, Gur and Wolf, CVPR 2021), by interception.

Here the way back carries relevance itself and not a gradient. Linear layers share it by the positive parts of their
products; a product of two activations gives each half, by their parts of the value; norms, activations and the
softmax hand it on; a residual sum shares it by the summands' sizes and then by their parts of the value. Functions
that only move numbers (reshape, slice, concatenation) move relevance as they move gradients.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vitscope.errors import TraceError
from vitscope.models.anatomy import Anatomy
from vitscope.tracing.calls.calling import Inputs, batch_of, call_model
from vitscope.tracing.calls.guard import quiet
from vitscope.tracing.calls.outputs import scores_of
from vitscope.tracing.changes.rulebook import ACTIVATION, ADD, ADD_IN_PLACE, LAYER_NORM, MUL, RMS_NORM, SQUASH
from vitscope.tracing.interception.attention_call import EagerInputs, FusedInputs
from vitscope.tracing.interception.interceptor import Interceptor
from vitscope.tracing.interception.multihead import call_arguments
from vitscope.tracing.site import AttentionSite
from vitscope.tracing.targets.resolved import ResolvedTarget

DIVIDE: frozenset[Any] = frozenset({torch.div, Tensor.div, Tensor.__truediv__, torch.true_divide})
HANDED_ON: frozenset[Any] = frozenset(
    {*LAYER_NORM, *RMS_NORM, *ACTIVATION, *SQUASH, F.normalize, F.batch_norm, torch.batch_norm}
)
BILINEAR: frozenset[Any] = frozenset(
    {torch.matmul, Tensor.matmul, Tensor.__matmul__, torch.bmm, Tensor.bmm, torch.einsum}
)
MEAN: frozenset[Any] = frozenset({torch.mean, Tensor.mean, torch.sum, Tensor.sum, F.adaptive_avg_pool1d})
UNKNOWN: frozenset[Any] = frozenset(
    {torch.conv1d, F.conv1d, torch.conv2d, F.conv2d, torch.baddbmm, Tensor.baddbmm, torch.addmm}
)
SMALLEST = 1e-9


def ratio(a: Tensor, b: Tensor) -> Tensor:
    """a / b, 0 where b is nearly 0."""
    small = b.abs() < SMALLEST
    return torch.where(small, 0.0, a / torch.where(small, 1.0, b))


class _HandOn(torch.autograd.Function):
    """``result`` in place of ``value``; relevance passes as it is."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, result: Tensor) -> Tensor:
        return result.view_as(result)

    @staticmethod
    def backward(ctx: Any, *relevance: Tensor) -> tuple[Tensor, None]:
        return relevance[0], None


class _Part(torch.autograd.Function):
    """Before an operation that is linear in ``value``: relevance = share * value * its gradient."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, share: float) -> Tensor:
        ctx.save_for_backward(value)
        ctx.share = share
        return value.view_as(value)

    @staticmethod
    def backward(ctx: Any, *gradient: Tensor) -> tuple[Tensor, None]:
        return gradient[0] * ctx.saved_tensors[0] * ctx.share, None


class _Whole(torch.autograd.Function):
    """Behind that operation: its gradient is relevance over value."""

    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        ctx.save_for_backward(value)
        return value.view_as(value)

    @staticmethod
    def backward(ctx: Any, *relevance: Tensor) -> Tensor:
        return ratio(relevance[0], ctx.saved_tensors[0])


class _LinearPositive(torch.autograd.Function):
    """x W^T + b: relevance by the positive products x+ W+ and x- W-; the bias gets none."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(value, weight)
        made = F.linear(value, weight, bias)
        return (
            made.clone() if made._is_view() else made
        )  # PyTorch 2.7 to 2.12: a view made here may not be written into

    @staticmethod
    def backward(ctx: Any, *relevance: Tensor) -> tuple[Tensor, None, None]:
        value, weight = ctx.saved_tensors
        positive, negative = value.clamp(min=0), value.clamp(max=0)
        up, down = weight.clamp(min=0), weight.clamp(max=0)
        share = ratio(relevance[0], positive @ up.T + negative @ down.T)
        return positive * (share @ up) + negative * (share @ down), None, None


class _ResidualShare(torch.autograd.Function):
    """a + b: relevance by parts of the value, each side then rescaled to |sum a| : |sum b|, per picture."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor) -> Tensor:
        ctx.save_for_backward(a, b)
        return a + b

    @staticmethod
    def backward(ctx: Any, *relevance: Tensor) -> tuple[Tensor, Tensor]:
        a, b = ctx.saved_tensors
        share = ratio(relevance[0], a + b)
        parts = a * share, b * share
        axes = tuple(range(1, a.dim()))
        sums = [part.sum(axes, keepdim=True) for part in parts]
        size = sums[0].abs() + sums[1].abs()
        total = relevance[0].sum(axes, keepdim=True)
        first, second = (
            part * ratio(ratio(s.abs(), size) * total, s) for part, s in zip(parts, sums, strict=True)
        )
        return first, second


def _hand_on(value: Tensor, result: Tensor) -> Tensor:
    made: Tensor = _HandOn.apply(value, result.detach())
    return made


def _part(value: Tensor, share: float) -> Tensor:
    made: Tensor = _Part.apply(value, share)
    return made if value.requires_grad else value


def _whole(value: Tensor) -> Tensor:
    made: Tensor = _Whole.apply(value)
    return made


def _linear(value: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    if not value.requires_grad:
        return F.linear(value, weight, bias)
    made: Tensor = _LinearPositive.apply(value, weight, bias)
    return made


class ZPlusSurgeon:
    """Implements ``interception.Surgeon``; ``outputs`` are the attention outputs T in the order of the calls."""

    def __init__(self) -> None:
        self.outputs: list[Tensor] = []

    def attention_logits(self, logits: Tensor) -> Tensor:
        """An eager softmax's input, unchanged."""
        return logits

    def fused(self, inputs: FusedInputs, run: Callable[[FusedInputs], Tensor]) -> Tensor:
        """softmax(q k^T) v: half to v, half through the softmax, of which a half each to q and k."""
        plain = run(inputs).detach()
        if not inputs.v.requires_grad:
            return self._start(plain)
        q, k, v = inputs.q, inputs.repeated(inputs.k), inputs.repeated(inputs.v)
        logits = _whole(_part(q, 0.5) @ _part(k, 0.5).transpose(-2, -1))
        with torch.no_grad():
            attention = torch.softmax(inputs.attention_logits(slice(None)), -1).to(v.dtype)
        return self._product(_hand_on(logits, attention), v, plain)

    def eager(self, inputs: EagerInputs, run: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        """The product of an eager attention with its values."""
        plain = run(inputs.attention, inputs.v).detach()
        if not inputs.v.requires_grad:
            return self._start(plain)
        logits = inputs.attention_logits
        attention = _hand_on(logits, inputs.attention) if logits.requires_grad else inputs.attention.detach()
        return self._product(attention, inputs.v, plain)

    def other(
        self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], call: Callable[..., Any]
    ) -> Any:
        """Every other function of the model."""
        given = [value for value in (*args, *kwargs.values()) if isinstance(value, Tensor)]
        active = [value for value in given if value.requires_grad]
        if not active:
            return call(*args, **kwargs)
        if func is F.linear:
            names = {**dict(zip(("input", "weight", "bias"), args, strict=False)), **kwargs}
            return _linear(names["input"], names["weight"], names.get("bias"))
        if func in HANDED_ON or (len(active) == 1 and (func in MUL or func in DIVIDE)):
            result = call(*(_detached(a) for a in args), **{k: _detached(v) for k, v in kwargs.items()})
            return _hand_on(active[0], result) if result.shape == active[0].shape else call(*args, **kwargs)
        if func in ADD and _is_sum(given):
            made: Tensor = _ResidualShare.apply(*(v.clone() if func in ADD_IN_PLACE else v for v in given))
            return args[0].copy_(made) if func in ADD_IN_PLACE else made
        if func in BILINEAR or (func in MUL and len(active) == 2):
            share = 1 / len(active)
            return _whole(call(*(_part(a, share) if isinstance(a, Tensor) else a for a in args), **kwargs))
        if func in MEAN:
            return _whole(call(_part(args[0], 1.0), *args[1:], **kwargs))
        if func in UNKNOWN:
            raise TraceError(
                f"no relevance rule for '{getattr(func, '__name__', func)}' inside the blocks; use another method"
            )
        return call(*args, **kwargs)

    def _product(self, attention: Tensor, v: Tensor, plain: Tensor) -> Tensor:
        output = _hand_on(_whole(_part(attention, 0.5) @ _part(v, 0.5)), plain)
        self.outputs.append(output)
        return output

    def _start(self, output: Tensor) -> Tensor:
        self.outputs.append(output.requires_grad_())
        return output


class _ZPlusInterceptor(Interceptor):
    """Opens ``F.multi_head_attention_forward``, whose projections a mode does not see."""

    def _multi_head(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        call = call_arguments(args, kwargs)
        if call.get("use_separate_proj_weight") or call.get("bias_k") is not None or call["query"].dim() != 3:
            raise TraceError("no relevance rule for this form of nn.MultiheadAttention; use another method")
        heads = call["num_heads"]
        weights = call["in_proj_weight"].chunk(3)
        biases = call["in_proj_bias"].chunk(3) if call["in_proj_bias"] is not None else (None,) * 3
        projected = []
        for value, weight, bias in zip(
            (call["query"], call["key"], call["value"]), weights, biases, strict=True
        ):
            y = _linear(value, weight, bias)  # (tokens, batch, width)
            projected.append(y.unflatten(-1, (heads, -1)).permute(1, 2, 0, 3))
        mask = call.get("attn_mask")
        if call.get("key_padding_mask") is not None:
            raise TraceError("no relevance rule for a key padding mask; use another method")
        q, k, v = projected
        output = self._fused(q, k, v, mask, is_causal=bool(call.get("is_causal")) and mask is None)
        return _linear(
            output.permute(2, 0, 1, 3).flatten(2), call["out_proj_weight"], call["out_proj_bias"]
        ), None


def _is_sum(given: list[Tensor]) -> bool:
    """A sum of two activations. In the first block the skip has no way back, but takes its share all the same."""
    return (
        len(given) == 2
        and given[0].shape == given[1].shape
        and given[0].dim() > 1
        and not any(isinstance(value, nn.Parameter) for value in given)
    )


def _detached(value: Any) -> Any:
    return value.detach() if isinstance(value, Tensor) else value


def relevance_sites(
    model: nn.Module,
    anatomy: Anatomy,
    inputs: Inputs,
    sites: Sequence[AttentionSite],
    target: ResolvedTarget,
) -> dict[int, AttentionSite]:
    """The traced ``sites`` by index, with relevance in place of gradient: ``output_gradient`` is R at T.

    One more forward and backward. The relevance that starts at the output is the target's gradient there, one-hot
    for a logit. Raises TraceError where a function inside the blocks has no rule."""
    surgeon = ZPlusSurgeon()
    with quiet(model, gradient=True), _ZPlusInterceptor(surgeon):
        output = call_model(model, inputs)
    calls, known = len(surgeon.outputs), len(anatomy.sites)
    if calls != known:
        raise TraceError(
            f"{calls} attention calls were seen where the anatomy knows {known}; use another method"
        )
    with torch.enable_grad():
        score = target.score(output, scores_of(output, anatomy.output, batch_of(inputs))).sum()
    found = torch.autograd.grad(score, surgeon.outputs, allow_unused=True)
    made = {}
    for site in sites:
        index = site.info.index
        relevance = torch.zeros_like(site.with_graph()) if found[index] is None else found[index]
        made[index] = replace(site, raw_gradient=relevance.reshape(site.with_graph().shape))
    return made
