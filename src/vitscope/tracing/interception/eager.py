"""Follow an eager softmax to the product with the values.

A model that writes attention out calls softmax, then perhaps a dropout, a cast, a talking-heads mix or a
reshape, and then multiplies with v. The matrix that arrives at that product is the attention of the site.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.weak import WeakIdKeyDictionary

SOFTMAX: frozenset[Any] = frozenset(
    {torch.softmax, Tensor.softmax, F.softmax, torch._softmax, torch.special.softmax}
)
PRODUCT: frozenset[Any] = frozenset(
    {torch.matmul, Tensor.matmul, Tensor.__matmul__, torch.bmm, Tensor.bmm, torch.einsum}
)
KEEP: frozenset[Any] = frozenset(
    {
        F.dropout, torch.dropout, F.linear, F.conv2d, torch.conv2d, F.batch_norm, F.layer_norm, Tensor.to,
        Tensor.type_as, Tensor.float, Tensor.half, Tensor.bfloat16, Tensor.double, Tensor.type, Tensor.reshape,
        torch.reshape, Tensor.view, Tensor.contiguous, Tensor.clone, Tensor.mul, torch.mul, Tensor.__mul__,
        Tensor.__rmul__, Tensor.add, torch.add, Tensor.__add__, Tensor.__radd__, Tensor.sub, torch.sub,
        Tensor.__sub__, Tensor.__rsub__, Tensor.div, torch.div, Tensor.__truediv__, Tensor.masked_fill, torch.where,
        torch.masked_fill, torch.nan_to_num, Tensor.nan_to_num, Tensor.flatten, torch.flatten, Tensor.unflatten,
        torch.unflatten, Tensor.squeeze, torch.squeeze, Tensor.unsqueeze, torch.unsqueeze, Tensor.expand,
        Tensor.__getitem__, torch.clamp, Tensor.clamp,
    }
)  # fmt: skip
"""Operations that hand an attention matrix on, with its axes in their order (in-place ones return the same object)."""
_MATRIX_TRANSPOSE: Any = Tensor.__dict__.get("mT", torch._C.TensorBase.__dict__["mT"]).__get__
MOVE: frozenset[Any] = frozenset(
    {
        Tensor.permute, torch.permute, Tensor.transpose, torch.transpose, Tensor.swapaxes, torch.swapaxes,
        Tensor.swapdims, torch.swapdims, torch.adjoint, Tensor.adjoint, _MATRIX_TRANSPOSE, torch.einsum,
        torch.movedim, Tensor.movedim,
    }
)  # fmt: skip
"""Operations that hand it on with its axes moved."""
CARRY: frozenset[Any] = KEEP | MOVE


@dataclass(frozen=True)
class SoftmaxOrigin:
    """Where an attention matrix came from. ``axis``: the softmax's axis now, counted from the end (-1 or less)."""

    logits: Tensor
    axis: int


class EagerTracker:
    """Remembers which tensors descend from a softmax, for one forward pass."""

    def __init__(self) -> None:
        self._origin: Any = WeakIdKeyDictionary()
        self.follows = False
        """False until the first softmax: nothing can descend from one."""

    def start(self, probabilities: Tensor, logits: Tensor, axis: int) -> None:
        """``probabilities`` came out of a softmax over ``axis`` (from the end); ``logits`` have keys last."""
        self._origin[probabilities] = SoftmaxOrigin(logits, axis)
        self.follows = True

    def origin(self, tensor: Any) -> SoftmaxOrigin | None:
        """The softmax behind a tensor, None when there is none."""
        if not isinstance(tensor, Tensor):
            return None
        found: SoftmaxOrigin | None = self._origin.get(tensor)
        return found

    def carry(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        """Mark the result of a carrying operation whose first tensors descend from a softmax."""
        if not isinstance(result, Tensor) or result.dim() < 3:
            return
        for position, argument in enumerate(_operands(func, args)):
            origin = self.origin(argument)
            if origin is None:
                continue
            axis = origin.axis
            if func in MOVE:
                moved = _moved(func, args, kwargs, argument.dim(), axis, position)
                if moved is None:
                    return
                axis = moved
            elif -axis > result.dim() or (
                result.shape[axis] != argument.shape[axis] and func is not Tensor.__getitem__
            ):
                return
            self._origin[result] = SoftmaxOrigin(origin.logits, axis)
            return


def _operands(func: Any, args: tuple[Any, ...]) -> tuple[Any, ...]:
    if func is torch.einsum:
        return tuple(args[1]) if len(args) == 2 and isinstance(args[1], (list, tuple)) else args[1:]
    return args[:3]


def _moved(
    func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], dims: int, axis: int, position: int
) -> int | None:
    """Where the axis (from the end) of an operand of ``dims`` axes lies after an operation that moves axes."""
    if func is torch.einsum:
        terms, out = einsum_terms(args[0])
        letters = terms[position] if position < len(terms) else ""
        if -axis > len(letters) or letters[axis] not in out:
            return None
        return out.index(letters[axis]) - len(out)
    given = list(args[1:]) or [
        kwargs[k] for k in ("dims", "dim0", "dim1", "source", "destination") if k in kwargs
    ]
    order = list(range(dims))
    if func in (Tensor.permute, torch.permute):
        flat = given[0] if len(given) == 1 and isinstance(given[0], (tuple, list)) else given
        order = [d % dims for d in flat]
    elif func in (_MATRIX_TRANSPOSE, torch.adjoint, Tensor.adjoint):
        order[-2:] = order[:-3:-1]
    elif func in (torch.movedim, Tensor.movedim):
        if not (len(given) == 2 and all(isinstance(g, int) for g in given)):
            return None
        order.insert(given[1] % dims, order.pop(given[0] % dims))
    elif len(given) == 2:
        a, b = given[0] % dims, given[1] % dims
        order[a], order[b] = order[b], order[a]
    return order.index(dims + axis) - dims


def softmax_axis(logits: Tensor, args: tuple[Any, ...], kwargs: dict[str, Any]) -> int | None:
    """-1 or -2 when the softmax runs over one of the last two axes of at least three, the form of an attention."""
    axis = kwargs.get("dim", args[1] if len(args) > 1 else None)
    if not isinstance(axis, int) or logits.dim() < 3:
        return None
    from_end = axis - logits.dim() if axis >= 0 else axis
    return from_end if from_end in (-1, -2) else None


class Product(NamedTuple):
    """An attention times values product in canonical form: attention (..., q, k), values (..., k, d).

    ``finish`` turns the canonical output (..., q, d) into the layout that the model asked for, contiguous in memory as
    the model's own product would be."""

    attention: Tensor
    logits: Tensor
    values: Tensor
    finish: Callable[[Tensor], Tensor]


def as_product(func: Callable[..., Any], args: tuple[Any, ...], tracker: EagerTracker) -> Product | None:
    """The product in canonical form, None when the call is no product of an attention with its values.

    A v, or v^T A^T: the axis that the softmax ran over is the one that is summed away."""
    if func is torch.einsum:
        return _einsum_product(args, tracker)
    if len(args) < 2 or not all(isinstance(t, Tensor) and t.dim() >= 3 for t in args[:2]):
        return None
    left, right = args[0], args[1]
    if left.shape[-1] != right.shape[-2]:
        return None
    origin = tracker.origin(left)
    if origin is not None and origin.axis == -1:
        return Product(left, origin.logits, right, lambda output: output)
    origin = tracker.origin(right)
    if origin is not None and origin.axis == -2:
        return Product(right.mT, origin.logits, left.mT, lambda output: output.mT.contiguous())
    return None


def einsum_terms(equation: Any) -> tuple[list[str], str]:
    """The operands' letters and the result's, an ellipsis written as one sign; ([], "") when it says no result."""
    if not isinstance(equation, str) or "->" not in equation:
        return [], ""
    left, out = equation.replace(" ", "").replace("...", "*").split("->")
    return left.split(","), out


def _einsum_product(args: tuple[Any, ...], tracker: EagerTracker) -> Product | None:
    """``b h i j, b j h d -> b i h d`` and its relatives: the softmax's axis of the attention is summed away."""
    operands = _operands(torch.einsum, args)
    terms, out = einsum_terms(args[0])
    if len(operands) != 2 or len(terms) != 2:
        return None
    for attention, values, first, second in ((*operands, *terms), (*operands[::-1], *terms[::-1])):
        origin = tracker.origin(attention)
        if origin is None or origin.axis not in (-1, -2) or "*" in first[-2:] or len(first) < 2:
            continue
        key = first[origin.axis]
        query = first[-3 - origin.axis]
        batch = [letter for letter in first if letter not in (key, query)]
        width = [letter for letter in second if letter not in first]
        given, wanted, result = list(second), [*batch, key, *width], [*batch, query, *width]
        if len(width) != 1 or key in out or sorted(wanted) != sorted(given) or sorted(result) != sorted(out):
            continue
        spread = attention.dim() - len(first) + 1 if "*" in first else 1
        if "*" in first and values.dim() - len(second) + 1 != spread:
            continue
        finish = partial(_arranged, axes=_axes(list(out), result, spread))
        matrix = attention if origin.axis == -1 else attention.mT
        return Product(matrix, origin.logits, values.permute(_axes(wanted, given, spread)), finish)
    return None


def _arranged(output: Tensor, axes: list[int]) -> Tensor:
    """In the order that the model asked for, and laid out in memory so that it may take a view of it."""
    return output.permute(axes).contiguous()


def _axes(wanted: list[str], given: list[str], spread: int) -> list[int]:
    """The permutation that brings ``given`` letters into ``wanted`` order; ``*`` stands for ``spread`` axes."""
    start: dict[str, int] = {}
    position = 0
    for letter in given:
        start[letter] = position
        position += spread if letter == "*" else 1
    axes: list[int] = []
    for letter in wanted:
        axes += range(start[letter], start[letter] + spread) if letter == "*" else [start[letter]]
    return axes
