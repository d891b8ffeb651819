"""Apply ``Rules`` to the functions that arrive at the interceptor, except attention itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.weak import WeakIdKeyDictionary

from vitscope.tracing.rules import (
    Rules,
    constant_std_norm,
    gate_of,
    gated,
    ratio_gate,
    residual_ratio,
    scale_gradient,
)

LAYER_NORM: frozenset[Any] = frozenset({F.layer_norm, torch.layer_norm})
RMS_NORM: frozenset[Any] = frozenset(f for f in (getattr(F, "rms_norm", None), getattr(torch, "rms_norm", None)) if f)
ACTIVATION: dict[Any, str] = {
    F.gelu: "gelu", F.silu: "silu", torch.relu: "relu", F.relu: "relu", Tensor.relu: "relu", F.hardswish: "hardswish",
    Tensor.relu_: "relu", torch.relu_: "relu", F.leaky_relu: "ratio", F.mish: "ratio", F.elu: "ratio",
}  # fmt: skip
DEVIATION: frozenset[Any] = frozenset(
    {torch.rsqrt, Tensor.rsqrt, torch.sqrt, Tensor.sqrt, torch.std, Tensor.std, torch.linalg.vector_norm, Tensor.norm, torch.norm}
)
"""What a norm written out by hand divides by."""
SQUASH: frozenset[Any] = frozenset({torch.sigmoid, Tensor.sigmoid, F.sigmoid, torch.tanh, Tensor.tanh, torch.erf, Tensor.erf})
MUL: frozenset[Any] = frozenset({torch.mul, Tensor.mul, Tensor.__mul__, Tensor.__rmul__, Tensor.multiply, torch.multiply})
ADD: frozenset[Any] = frozenset({torch.add, Tensor.add, Tensor.__add__, Tensor.__radd__, Tensor.__iadd__, Tensor.add_})

Call = Callable[..., Any]


class RuleBook:
    """Other backward rules for norms, activations, products and residual additions of one pass.

    The stream of a block is what entered it; an addition of the stream and another tensor of its shape is a
    residual addition, whose other operand is a branch: attention when a site was seen since the last one, else
    MLP. In a post-norm block the norm of the stream takes the stream's place."""

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self._stream: Any = WeakIdKeyDictionary()
        self._norms: Any = WeakIdKeyDictionary()
        self._gates: Any = WeakIdKeyDictionary()
        self._site_seen = False
        self._inside = False

    # ---- told by the watch over the blocks -------------------------------------------------------------------
    def enter_block(self, inputs: list[Tensor]) -> None:
        """A block starts; ``inputs`` are the token tensors it was given."""
        self._inside, self._site_seen = True, False
        for tensor in inputs:
            self._stream[tensor] = True

    def leave_block(self) -> None:
        """The block is done."""
        self._inside = False

    def saw_site(self) -> None:
        """An attention call was made in the current block."""
        self._site_seen = True

    # ---- functions -------------------------------------------------------------------------------------------
    def apply(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], call: Call) -> Any:
        """The function's value, perhaps with another backward."""
        if func in LAYER_NORM or func in RMS_NORM:
            return self._norm(func, args, kwargs, call)
        name = ACTIVATION.get(func)
        if name is not None:
            return self._activation(name, args, kwargs, call)
        if func in SQUASH:
            return self._squash(args, kwargs, call)
        if func in DEVIATION or func is F.normalize:
            return self._deviation(func, args, kwargs, call)
        if func in MUL:
            return self._product(args, kwargs, call)
        if func in ADD:
            return self._addition(args, kwargs, call)
        return call(*args, **kwargs)

    def _norm(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], call: Call) -> Any:
        result = call(*args, **kwargs)
        value = args[0] if args else kwargs["input"]
        if self.rules.norm is not None and result.requires_grad:
            names = ("input", "normalized_shape", "weight", "bias", "eps")
            if func in RMS_NORM:
                names = ("input", "normalized_shape", "weight", "eps")
            given = {**dict(zip(names, args, strict=False)), **kwargs}
            centre = func in LAYER_NORM
            eps = given.get("eps", 1e-5 if centre else None)
            result = constant_std_norm(value, result, given["normalized_shape"], given.get("weight"), eps, centre)
        if self._inside:
            self._norms[result] = True
        return result

    def _deviation(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], call: Call) -> Any:
        """Norms written out by hand, and vectors brought to length 1: what they divide by is constant."""
        result = call(*args, **kwargs)
        value = args[0] if args else kwargs.get("input")
        if self.rules.norm is None or not isinstance(result, Tensor) or not isinstance(value, Tensor):
            return result
        if func is not F.normalize:
            return result.detach()
        if not value.requires_grad:
            return result
        order, axis, epsilon = ({**dict(zip(("p", "dim", "eps"), args[1:], strict=False)), **kwargs}.get(n, d)
                                for n, d in (("p", 2.0), ("dim", 1), ("eps", 1e-12)))  # fmt: skip
        length = value.detach().norm(order, axis, keepdim=True).clamp_min(epsilon)
        return gated(value, result, length.reciprocal())

    def _activation(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any], call: Call) -> Any:
        value = args[0] if args else kwargs["input"]
        if self.rules.activation is None or not value.requires_grad:
            result = call(*args, **kwargs)
        else:
            # an in-place activation overwrites its input, whose value the graph no longer needs
            given = value.detach().clone() if kwargs.get("inplace") else value.detach()
            others = {key: other for key, other in kwargs.items() if key != "input"}
            plain = call(given, *args[1:], **others)
            gate = ratio_gate(value, plain) if name == "ratio" else gate_of(name, value, kwargs.get("approximate", "none"))
            result = gated(value, plain, gate)
        self._gates[result] = "activation"
        return result

    def _squash(self, args: tuple[Any, ...], kwargs: dict[str, Any], call: Call) -> Any:
        result = call(*args, **kwargs)
        if self.rules.activation is not None and isinstance(result, Tensor):
            result = result.detach()
            self._gates[result] = "squash"
        return result

    def _product(self, args: tuple[Any, ...], kwargs: dict[str, Any], call: Call) -> Any:
        left, right = args[0], args[1] if len(args) > 1 else kwargs.get("other")
        gates = [self._gates.get(t) if isinstance(t, Tensor) else None for t in (left, right)]
        both = all(isinstance(t, Tensor) and t.requires_grad and not isinstance(t, nn.Parameter) for t in (left, right))
        if both and left.shape == right.shape and any(gates):
            if self.rules.product == "half":
                return call(scale_gradient(left, 0.5), scale_gradient(right, 0.5))
            if self.rules.product == "gate":
                return call(left.detach(), right) if gates[0] else call(left, right.detach())
        return call(*args, **kwargs)

    def _addition(self, args: tuple[Any, ...], kwargs: dict[str, Any], call: Call) -> Any:
        left, right = args[0], args[1] if len(args) > 1 else kwargs.get("other")
        if not self._is_residual(left, right) or kwargs.get("alpha", 1) != 1:
            result = call(*args, **kwargs)
            if isinstance(result, Tensor) and self._inside:
                for tensor in (left, right):
                    if isinstance(tensor, Tensor) and self._stream.get(tensor) and result.shape == tensor.shape:
                        self._stream[result] = True
            return result
        skip_left = self._is_skip(left, right)
        branch = right if skip_left else left
        if not self._site_seen and self.rules.mlp_scale != 1.0:
            branch = scale_gradient(branch, self.rules.mlp_scale)
        self._site_seen = False
        a, b = (left, branch) if skip_left else (branch, right)
        result = a + b if self.rules.residual is None else residual_ratio(a, b, self.rules.residual)
        self._stream[result] = True
        return result

    def _is_residual(self, left: Any, right: Any) -> bool:
        if not (self._inside and self.rules.touches_residual):
            return False
        if not (isinstance(left, Tensor) and isinstance(right, Tensor)) or left.shape != right.shape or left.dim() < 3:
            return False
        if isinstance(left, nn.Parameter) or isinstance(right, nn.Parameter):
            return False
        return any(self._stream.get(t) or self._norms.get(t) for t in (left, right))

    def _is_skip(self, left: Tensor, right: Tensor) -> bool:
        """True when the left operand is the skip connection, False when the right one is."""
        for known in (self._stream, self._norms):
            if known.get(left) is not None:
                return True
            if known.get(right) is not None:
                return False
        return True
