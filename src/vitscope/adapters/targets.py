"""Targets as grad-cam and Captum write them, as vitscope's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from vitscope.adapters.errors import AdapterError
from vitscope.errors import TargetError, VitscopeError, brief
from vitscope.tracing import parse_target
from vitscope.tracing.targets.each_its_own import EachItsOwn
from vitscope.tracing.targets.resolved import ResolvedTarget
from vitscope.tracing.targets.target import Target


@dataclass(frozen=True)
class OfRow(Target):
    """A target of grad-cam: a function of one picture's logits (C,) that gives one number."""

    function: Callable[[Tensor], Tensor]

    def resolve(self, logits: Tensor) -> ResolvedTarget:
        return ResolvedTarget(self.describe(), None, self._score)

    def _score(self, output: Any, logits: Tensor) -> Tensor:
        try:
            score = self.function(logits[0])
        except VitscopeError:
            raise
        except Exception as error:
            raise TargetError(
                f"target '{self.describe()}' fails on a picture's logits ({brief(error)})"
            ) from error
        if not isinstance(score, Tensor) or score.numel() != 1:
            got = f"shape {tuple(score.shape)}" if isinstance(score, Tensor) else type(score).__name__
            raise TargetError(
                f"target '{self.describe()}' must give one number for a picture's logits, got {got}"
            )
        return score.reshape(1)

    def describe(self) -> str:
        name = getattr(self.function, "__name__", type(self.function).__name__)
        category = getattr(self.function, "category", None)
        return f"{name}({category})" if category is not None else str(name)


def from_grad_cam(targets: Any, count: int) -> Any:
    """None, a class, or one target for each picture: classes, ``ClassifierOutputTarget`` and the like, functions."""
    if targets is None or isinstance(targets, (str, Target, Tensor, np.ndarray)) or _whole(targets):
        return targets
    if callable(targets) or not isinstance(targets, Sequence):
        raise AdapterError(
            f"expected targets as a list with one for each picture, or one class, got {type(targets).__name__}; put it "
            "in a list"
        )
    if len(targets) != count:
        raise AdapterError(f"expected {count} targets, one for each picture, got {len(targets)}")
    each = [_one(target) for target in targets]
    return each if all(_whole(target) for target in each) else EachItsOwn(tuple(map(parse_target, each)))


def _one(target: Any) -> Any:
    # By its name, so that grad-cam need not be installed.
    if type(target).__name__ == "ClassifierOutputTarget":
        return target.category
    plain = isinstance(target, (str, Target)) or _whole(target)
    return OfRow(target) if callable(target) and not plain else target


def from_captum(target: Any) -> Any:
    """A class, one for each picture, or Captum's tuples of one index. Raises AdapterError for longer ones."""
    if isinstance(target, tuple):
        return _only(target)
    if isinstance(target, list):
        return [_only(each) if isinstance(each, tuple) else each for each in target]
    return (
        target.flatten()
        if isinstance(target, Tensor) and target.dim() == 2 and target.shape[1] == 1
        else target
    )


def _only(index: tuple[Any, ...]) -> Any:
    if len(index) != 1:
        raise AdapterError(
            f"expected a class, got the index {index}: the model's answer is one row of classes"
        )
    return index[0]


def _whole(value: Any) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)
