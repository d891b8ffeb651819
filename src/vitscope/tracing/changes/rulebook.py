"""Apply ``Rules`` to the functions that arrive at the interceptor, except attention itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.weak import WeakIdKeyDictionary

from vitscope.tracing.changes.rules import (
    Rules,
    WayBack,
    blend,
    constant_std_norm,
    gate_of,
    gated,
    ratio_gate,
    residual_ratio,
    scale_gradient,
)

LAYER_NORM: frozenset[Any] = frozenset({F.layer_norm, torch.layer_norm})
RMS_NORM: frozenset[Any] = frozenset(
    f for f in (getattr(F, "rms_norm", None), getattr(torch, "rms_norm", None)) if f
)
ACTIVATION: dict[Any, str] = {
    F.gelu: "gelu", F.silu: "silu", torch.relu: "relu", F.relu: "relu", Tensor.relu: "relu", F.hardswish: "hardswish",
    Tensor.relu_: "relu", torch.relu_: "relu", F.leaky_relu: "ratio", F.mish: "ratio", F.elu: "ratio",
}  # fmt: skip
DEVIATION: frozenset[Any] = frozenset(
    {
        torch.rsqrt, Tensor.rsqrt, torch.sqrt, Tensor.sqrt, torch.std, Tensor.std, torch.linalg.vector_norm,
        Tensor.norm, torch.norm,
    }
)  # fmt: skip
"""What a norm written out by hand divides by."""
TANH: frozenset[Any] = frozenset({torch.tanh, Tensor.tanh, F.tanh})
SQUASH: frozenset[Any] = frozenset({torch.sigmoid, Tensor.sigmoid, F.sigmoid, torch.erf, Tensor.erf, *TANH})
MUL: frozenset[Any] = frozenset(
    {torch.mul, Tensor.mul, Tensor.__mul__, Tensor.__rmul__, Tensor.multiply, torch.multiply}
)
ADD_IN_PLACE: frozenset[Any] = frozenset({Tensor.__iadd__, Tensor.add_})
ADD: frozenset[Any] = frozenset({torch.add, Tensor.add, Tensor.__add__, Tensor.__radd__, *ADD_IN_PLACE})

Call = Callable[..., Any]


class RuleBook:
    """Other backward rules for norms, activations, products and residual additions of one pass.

    The stream of a block is what entered it; an addition of the stream and another tensor of its shape is a
    residual addition, whose other operand is a branch: attention when a site was seen since the last one, else
    MLP. In a post-norm block the norm of the stream takes the stream's place. Where the additions are written
    outside the blocks' modules, everything from the first block to the end counts as inside."""

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self.way = WayBack(rules.share) if rules.share or rules.ordinary_too else None
        self._stream: Any = WeakIdKeyDictionary()
        self._norms: Any = WeakIdKeyDictionary()
        self._gates: Any = WeakIdKeyDictionary()
        self._sources: Any = WeakIdKeyDictionary()
        self._site_seen = False
        self._inside = False
        self.branches = 0
        """Residual additions whose branch was taken for an MLP so far."""

    # ---- called when blocks start and end --------------------------------------------------------------------
    def enter_block(self, inputs: list[Tensor]) -> None:
        """A block starts; ``inputs`` are the token tensors it was given."""
        self._inside, self._site_seen = True, False
        for tensor in inputs:
            self._stream[tensor] = True
            source = self._sources.get(tensor)
            if source is not None:  # a norm written before the block's module: the stream is what was normed
                self._stream[source] = True

    def leave_block(self, whole: bool = True) -> None:
        """The block is done; ``whole``: with its residual additions."""
        self._inside = not whole

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
            return self._squash(func, args, kwargs, call)
        if func in DEVIATION or func is F.normalize:
            return self._deviation(func, args, kwargs, call)
        if func in MUL:
            return self._product(args, kwargs, call)
        if func in ADD:
            return self._addition(func, args, kwargs, call)
        return call(*args, **kwargs)

    def _norm(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], call: Call) -> Any:
        result = call(*args, **kwargs)
        value = args[0] if args else kwargs["input"]
        if self.rules.norm is not None and result.requires_grad:
            names = ["input", "normalized_shape", "weight", "bias", "eps"]
            if func in RMS_NORM:
                names.remove("bias")
            given = {**dict(zip(names, args, strict=False)), **kwargs}
            centre = func in LAYER_NORM
            eps = given.get("eps", 1e-5 if centre else None)
            ruled = constant_std_norm(
                value, result, given["normalized_shape"], given.get("weight"), eps, centre
            )
            result = self._either(result, ruled)
        if self._inside:
            self._norms[result] = True
        if self.rules.touches_residual:
            self._sources[result] = value
        return result

    def _deviation(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], call: Call) -> Any:
        """Norms written out by hand, and vectors brought to length 1: what they divide by is constant."""
        result = call(*args, **kwargs)
        value = args[0] if args else kwargs.get("input")
        if self.rules.norm is None or not isinstance(result, Tensor) or not isinstance(value, Tensor):
            return result
        if func is not F.normalize:
            return scale_gradient(result, 0.0, self.way)
        if not value.requires_grad:
            return result
        order, axis, epsilon = ({**dict(zip(("p", "dim", "eps"), args[1:], strict=False)), **kwargs}.get(n, d)
                                for n, d in (("p", 2.0), ("dim", 1), ("eps", 1e-12)))  # fmt: skip
        length = value.detach().norm(order, axis, keepdim=True).clamp_min(epsilon)
        return self._either(result, gated(value, result, length.reciprocal()))

    def _activation(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any], call: Call) -> Any:
        value = args[0] if args else kwargs["input"]
        if self.rules.activation is None or not value.requires_grad:
            result = call(*args, **kwargs)
        else:
            # an in-place activation overwrites its input, whose value the graph no longer needs
            given = value.detach() if self.way is None else value
            given = given.clone() if kwargs.get("inplace") else given
            others = {key: other for key, other in kwargs.items() if key != "input"}
            plain = call(given, *args[1:], **others)
            approximate = kwargs.get("approximate", "none")
            gate = ratio_gate(value, plain) if name == "ratio" else gate_of(name, value, approximate)
            result = self._either(plain, gated(value, plain, gate))
        self._gates[result] = "activation"
        return result

    def _squash(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], call: Call) -> Any:
        """Inside blocks the gate of x * sigmoid(x) and its relatives; behind them tanh is a layer of its own."""
        result = call(*args, **kwargs)
        if self.rules.activation is None or not isinstance(result, Tensor):
            return result
        value = args[0] if args else kwargs.get("input")
        if func in TANH and not self._inside and isinstance(value, Tensor) and value.requires_grad:
            return self._either(result, gated(value, result, ratio_gate(value, result)))
        result = scale_gradient(result, 0.0, self.way)
        self._gates[result] = "squash"
        return result

    def _product(self, args: tuple[Any, ...], kwargs: dict[str, Any], call: Call) -> Any:
        left: Any = args[0]
        right: Any = args[1] if len(args) > 1 else kwargs.get("other")
        if _is_activation(left) and _is_activation(right) and left.shape == right.shape:
            gates = [self._gates.get(left), self._gates.get(right)]
            if any(gates) and self.rules.product == "half":
                return call(scale_gradient(left, 0.5, self.way), scale_gradient(right, 0.5, self.way))
            if any(gates) and self.rules.product == "gate":
                held, other = (left, right) if gates[0] else (right, left)
                held = scale_gradient(held, 0.0, self.way)
                return call(held, other) if gates[0] else call(other, held)
        return call(*args, **kwargs)

    def _addition(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], call: Call) -> Any:
        left: Any = args[0]
        right: Any = args[1] if len(args) > 1 else kwargs.get("other")
        both = isinstance(left, Tensor) and isinstance(right, Tensor)
        if not both or not self._is_residual(left, right) or kwargs.get("alpha", 1) != 1:
            return self._other_addition(left, right, call(*args, **kwargs))
        skip_left = self._is_skip(left, right)
        branch = right if skip_left else left
        if not self._site_seen:
            self.branches += 1
            branch = scale_gradient(branch, self.rules.mlp_scale, self.way)
        self._site_seen = False
        a, b = (left, branch) if skip_left else (branch, right)
        if self.rules.residual is None:
            result = a + b
        elif func in ADD_IN_PLACE:  # the rule keeps both summands, one of which is overwritten below
            result = residual_ratio(a.clone(), b.clone(), self.rules.residual)
        else:
            result = residual_ratio(a, b, self.rules.residual)
        if func in ADD_IN_PLACE:
            result = left.copy_(result)
        self._stream[result] = True
        return result

    def _either(self, ordinary: Tensor, ruled: Tensor) -> Tensor:
        """A value as its rule has it; where the ordinary way back is open too, with both behind it."""
        return ruled if self.way is None else blend(ordinary, ruled, self.way)

    def _other_addition(self, left: Any, right: Any, result: Any) -> Any:
        """The stream plus something else of its shape (positions) is still the stream."""
        if isinstance(result, Tensor) and self._inside:
            for tensor in (left, right):
                if isinstance(tensor, Tensor) and self._stream.get(tensor) and result.shape == tensor.shape:
                    self._stream[result] = True
        return result

    def _is_residual(self, left: Tensor, right: Tensor) -> bool:
        if not (self._inside and self.rules.touches_residual) or left.shape != right.shape or left.dim() < 3:
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


def _is_activation(value: Any) -> bool:
    return isinstance(value, Tensor) and value.requires_grad and not isinstance(value, nn.Parameter)
