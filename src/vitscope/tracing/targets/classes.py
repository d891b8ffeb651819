"""Targets that are classes: the k-th most likely one, a given one, the difference of two."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from vitscope.errors import TargetError
from vitscope.options.bounds import Count
from vitscope.options.door import check_fields
from vitscope.tracing.targets.quantity import Probability, Quantity, quantity_of, suffix_of
from vitscope.tracing.targets.resolved import ResolvedTarget
from vitscope.tracing.targets.target import Target


@dataclass(frozen=True)
class TopK(Target):
    """The k-th most likely class of each picture.

    Args:
        k: 1 for the prediction, 2 for the runner-up.
        quantity: ``logit``, ``log_probability`` or ``probability`` of the class.
        probability: How logits become probabilities; set by the model that is explained.

    Raises:
        TargetError: ``k`` below 1, or an unknown quantity.

    Example:
        >>> import torch, vitscope as vs
        >>> vs.TopK(2).resolve(torch.tensor([[0.1, 3.0, 2.0]])).classes.tolist()
        [2]
    """

    k: Count = 1
    quantity: Quantity = "logit"
    probability: Probability = field(default="softmax", repr=False, compare=False)

    def __post_init__(self) -> None:
        check_fields(self, TargetError)

    def by(self, probability: Probability) -> Target:
        return replace(self, probability=probability)

    def resolve(self, logits: Tensor) -> ResolvedTarget:
        if self.k > logits.shape[1]:
            raise TargetError(f"top{self.k} was asked, but the model has {logits.shape[1]} classes")
        classes = logits.detach().float().topk(self.k, dim=1).indices[:, -1]
        return _at_classes(self.describe(), classes, self.quantity, self.probability)

    def describe(self) -> str:
        return f"top{self.k}{suffix_of(self.quantity)}"


@dataclass(frozen=True)
class ClassIndex(Target):
    """One class for all pictures, or one per picture.

    Args:
        index: The class, counted from 0, or a tuple with one for each picture.
        quantity: ``logit``, ``log_probability`` or ``probability`` of the class.
        probability: How logits become probabilities; set by the model that is explained.

    Raises:
        TargetError: An unknown quantity; when it is resolved, a class that the model does not have.

    Example:
        >>> import torch, vitscope as vs
        >>> target = vs.ClassIndex(1).resolve(torch.tensor([[0.1, 3.0, 2.0]]))
        >>> target.name, target.score(None, torch.tensor([[0.1, 3.0, 2.0]])).tolist()
        ('class:1', [3.0])
    """

    index: int | tuple[int, ...]
    quantity: Quantity = "logit"
    probability: Probability = field(default="softmax", repr=False, compare=False)

    def __post_init__(self) -> None:
        check_fields(self, TargetError)

    def by(self, probability: Probability) -> Target:
        return replace(self, probability=probability)

    @property
    def count(self) -> int | None:
        return None if isinstance(self.index, int) else len(self.index)

    def _of(self, positions: list[int]) -> Target:
        if isinstance(self.index, int):
            return self
        return replace(self, index=tuple(self.index[place] for place in positions))

    def resolve(self, logits: Tensor) -> ResolvedTarget:
        B, C = logits.shape
        wanted = [self.index] * B if isinstance(self.index, int) else list(self.index)
        if len(wanted) != B:
            raise TargetError(f"expected one class or {B} classes (one per picture), got {len(wanted)}")
        wrong = [index for index in wanted if not 0 <= index < C]
        if wrong:
            raise TargetError(f"class {wrong[0]} does not exist, the model has {C} classes (0 to {C - 1})")
        return _at_classes(
            self.describe(), torch.tensor(wanted, device=logits.device), self.quantity, self.probability
        )

    def describe(self) -> str:
        index = self.index if isinstance(self.index, int) else ",".join(map(str, self.index))
        return f"class:{index}{suffix_of(self.quantity)}"


@dataclass(frozen=True)
class LogitDifference(Target):
    """Logit of one class minus logit of another: why this class and not that one.

    Args:
        a: A class, counted from 0; None for each picture's prediction.
        b: The class it is held against; None for the most likely other one.

    Raises:
        TargetError: Twice the same class; when it is resolved, a class that the model does not have.

    Example:
        >>> import torch, vitscope as vs
        >>> logits = torch.tensor([[0.5, 3.0, 2.0]])
        >>> vs.LogitDifference(1, 0).resolve(logits).score(None, logits).tolist()
        [2.5]
    """

    a: int | None
    b: int | None = None

    def __post_init__(self) -> None:
        check_fields(self, TargetError)
        if self.a is not None and self.a == self.b:
            raise TargetError(
                f"expected two classes, got {self.a} twice, whose difference is 0 for every picture; name another"
            )

    def resolve(self, logits: Tensor) -> ResolvedTarget:
        B, C = logits.shape
        for index in (self.a, self.b):
            if index is not None and not 0 <= index < C:
                raise TargetError(f"class {index} does not exist, the model has {C} classes (0 to {C - 1})")
        if C < 2:
            raise TargetError("a logit difference needs at least two classes")
        top = logits.detach().float().topk(2, dim=1).indices
        a = top[:, 0] if self.a is None else torch.full((B,), self.a, device=logits.device)
        b = torch.where(top[:, 0] == a, top[:, 1], top[:, 0])
        if self.b is not None:
            b = torch.full((B,), self.b, device=logits.device)

        return _difference(self.describe(), a, b)

    def describe(self) -> str:
        return f"difference:{'top1' if self.a is None else self.a},{'top2' if self.b is None else self.b}"


def _at_classes(name: str, classes: Tensor, quantity: str, probability: Probability) -> ResolvedTarget:
    def function(output: Any, logits: Tensor) -> Tensor:
        return quantity_of(logits.float(), quantity, probability).gather(1, classes[:, None])[:, 0]

    def rebuild(index: Tensor) -> ResolvedTarget:
        return _at_classes(name, classes[index], quantity, probability)

    return ResolvedTarget(name, classes, function, rebuild)


def _difference(name: str, a: Tensor, b: Tensor) -> ResolvedTarget:
    def function(output: Any, logits: Tensor) -> Tensor:
        logits = logits.float()
        return (logits.gather(1, a[:, None]) - logits.gather(1, b[:, None]))[:, 0]

    return ResolvedTarget(name, a, function, lambda index: _difference(name, a[index], b[index]))
