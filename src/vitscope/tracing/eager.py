"""Follow an eager softmax to the product with the values.

A model that writes attention out calls softmax, then perhaps a dropout, a cast, a talking-heads mix or a
reshape, and then multiplies with v. The matrix that arrives at that product is the attention of the site.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.weak import WeakIdKeyDictionary

SOFTMAX: frozenset[Any] = frozenset({torch.softmax, Tensor.softmax, F.softmax, torch._softmax})
PRODUCT: frozenset[Any] = frozenset({torch.matmul, Tensor.matmul, Tensor.__matmul__, torch.bmm, Tensor.bmm, torch.einsum})
CARRY: frozenset[Any] = frozenset(
    {
        F.dropout, torch.dropout, F.linear, F.conv2d, torch.conv2d, Tensor.to, Tensor.type_as, Tensor.float, Tensor.half,
        Tensor.bfloat16, Tensor.type, Tensor.permute, torch.permute, Tensor.transpose, torch.transpose, Tensor.reshape,
        torch.reshape, Tensor.view, Tensor.contiguous, Tensor.clone, Tensor.mul, torch.mul, Tensor.__mul__,
        Tensor.__rmul__, Tensor.add, torch.add, Tensor.__add__, Tensor.__radd__, Tensor.sub, torch.sub, Tensor.div,
        torch.div, Tensor.masked_fill, torch.where, torch.nan_to_num, Tensor.nan_to_num, Tensor.flatten,
        torch.flatten, Tensor.unflatten, Tensor.squeeze, Tensor.unsqueeze, Tensor.expand,
    }
)  # fmt: skip
"""Operations that hand an attention matrix on: what they return is still that attention, changed."""


class SoftmaxOrigin(NamedTuple):
    """Where an attention matrix came from."""

    scores: Tensor


class EagerTracker:
    """Remembers which tensors descend from a softmax, for one forward pass."""

    def __init__(self) -> None:
        self._origin: Any = WeakIdKeyDictionary()

    def start(self, probabilities: Tensor, scores: Tensor) -> None:
        """``probabilities`` came out of a softmax over the last axis of ``scores``."""
        self._origin[probabilities] = SoftmaxOrigin(scores)

    def origin(self, tensor: Any) -> SoftmaxOrigin | None:
        """The softmax behind a tensor, None when there is none."""
        if not isinstance(tensor, Tensor):
            return None
        found: SoftmaxOrigin | None = self._origin.get(tensor)
        return found

    def carry(self, args: tuple[Any, ...], result: Any) -> None:
        """Mark the result of a carrying operation whose first tensors descend from a softmax."""
        if not isinstance(result, Tensor) or result.dim() < 3:
            return
        for argument in args[:2]:
            origin = self.origin(argument)
            if origin is not None:
                self._origin[result] = origin
                return


def softmax_axis_is_last(scores: Tensor, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """True when the softmax runs over the last axis of at least three: the form of an attention."""
    axis = kwargs.get("dim", args[1] if len(args) > 1 else None)
    return isinstance(axis, int) and scores.dim() >= 3 and axis in (-1, scores.dim() - 1)


class Product(NamedTuple):
    """An attention times values product in canonical form: attention (..., q, k), values (..., k, d).

    ``finish`` turns the canonical output (..., q, d) into the layout that the model asked for."""

    attention: Tensor
    values: Tensor
    finish: Callable[[Tensor], Tensor]


def as_product(func: Callable[..., Any], args: tuple[Any, ...]) -> Product | None:
    """The product in canonical form, None when the call is no product of two tensors."""
    if func is torch.einsum:
        return _einsum_product(args)
    if len(args) < 2 or not isinstance(args[0], Tensor) or not isinstance(args[1], Tensor):
        return None
    return Product(args[0], args[1], lambda output: output)


def _einsum_product(args: tuple[Any, ...]) -> Product | None:
    """``b h i j, b j h d -> b i h d`` and its relatives: the last axis of the attention is summed away."""
    if len(args) == 2 and isinstance(args[1], (list, tuple)):
        args = (args[0], *args[1])
    if len(args) != 3 or not isinstance(args[0], str) or "->" not in args[0] or "." in args[0]:
        return None
    left, out = args[0].replace(" ", "").split("->")
    first, second = left.split(",")
    attention, values = args[1], args[2]
    key = first[-1]
    width = [letter for letter in second if letter not in first]
    batch = first[:-2]
    wanted = [*batch, key, *width]
    result = [*first[:-1], *width]
    if len(width) != 1 or key in out or sorted(wanted) != sorted(second) or sorted(result) != sorted(out):
        return None
    values = values.permute([second.index(letter) for letter in wanted])
    order = [result.index(letter) for letter in out]
    return Product(attention, values, lambda output: output.permute(order))
