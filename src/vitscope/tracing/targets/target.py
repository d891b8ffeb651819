"""What every target is: bound to a model, made definite on a batch, cut to some of its pictures."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Protocol

from torch import Tensor

from vitscope.errors import TargetError
from vitscope.models.opening.loaded import TextTower
from vitscope.tracing.targets.quantity import Probability
from vitscope.tracing.targets.resolved import ResolvedTarget


class AskedModel(Protocol):
    """What a target asks of an opened model before it is resolved."""

    @property
    def source(self) -> str:
        """The name that the model was opened by."""

    @property
    def class_names(self) -> list[str] | None:
        """Class names, None when unknown."""

    @property
    def text_tower(self) -> TextTower | None:
        """The text side of a contrastive model, None when there is none."""

    def forward(self, images: Any) -> Tensor:
        """Logits or features (B, C) of pictures."""


class Target(ABC):
    """What is explained.

    A subclass says how it is made definite for logits (``resolve``) and what it is called (``describe``); for a number
    of one's own, :class:`vitscope.Custom` takes a function.

    Example:
        >>> from vitscope.tracing import parse_target
        >>> target = parse_target("class:3:probability")
        >>> isinstance(target, Target), target.describe()
        (True, 'class:3:probability')
    """

    needs_classifier = True

    def bind(self, model: AskedModel) -> Target:
        """The same target with what it needs of the model (a text's embedding); most need nothing."""
        return self

    def by(self, probability: Probability) -> Target:
        """The same target for a model whose probabilities are made that way; only probabilities of classes differ."""
        return self

    @property
    def count(self) -> int | None:
        """How many pictures it says something of, one by one; None when the same is asked of any."""
        return None

    def of(self, positions: Sequence[int], count: int) -> Target:
        """The target of some of ``count`` pictures, those at these positions: what belongs to them alone.

        Raises TargetError when it was made for another number of pictures."""
        if self.count not in (None, count):
            raise TargetError(
                f"expected one target or {count} (one for each picture), got {self.count}; give one for each"
            )
        return self if len(positions) == count and self.count is None else self._of(list(positions))

    def _of(self, positions: list[int]) -> Target:
        return self

    @abstractmethod
    def resolve(self, logits: Tensor) -> ResolvedTarget:
        """Make the target definite for clean logits (B, C)."""

    @abstractmethod
    def describe(self) -> str:
        """The short form that ``parse_target`` reads."""
