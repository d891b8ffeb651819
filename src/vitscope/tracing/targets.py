"""The scalar that is explained: one number per picture, computed from the model's output."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor

from vitscope.errors import TargetError

if TYPE_CHECKING:
    from vitscope.tracing.vit import Vit

Quantity = Literal["logit", "log_probability", "probability"]
QUANTITIES: tuple[str, ...] = get_args(Quantity)

Probability = Literal["softmax", "sigmoid"]
"""How logits become probabilities: over the classes together, or each class by itself (several labels, one logit)."""


def quantity_of(logits: Tensor, quantity: str, probability: Probability = "softmax") -> Tensor:
    """Logits (B, C) as logits, log-probabilities or probabilities."""
    if quantity == "logit":
        return logits
    alone = probability == "sigmoid"
    if quantity == "log_probability":
        return torch.nn.functional.logsigmoid(logits) if alone else torch.log_softmax(logits, -1)
    return torch.sigmoid(logits) if alone else torch.softmax(logits, -1)


@dataclass(frozen=True)
class ResolvedTarget:
    """A target made definite on one batch: ``classes`` (B,) are the explained ones, None when there is none."""

    name: str
    classes: Tensor | None
    function: Callable[[Any, Tensor], Tensor]
    rebuild: Callable[[Tensor], ResolvedTarget] | None = None

    def select(self, index: Tensor) -> ResolvedTarget:
        """The same target for other rows: row i of the new batch is row ``index[i]`` of this one.

        A target that says nothing of single pictures is handed on as it is: its function sees only the output."""
        if self.rebuild is None:
            return self
        return self.rebuild(index)

    def score(self, output: Any, logits: Tensor) -> Tensor:
        """One score per picture, (B,), in the graph of the output."""
        scores = self.function(output, logits)
        if not isinstance(scores, Tensor) or scores.shape != logits.shape[:1]:
            came = tuple(scores.shape) if isinstance(scores, Tensor) else type(scores).__name__
            raise TargetError(
                f"target '{self.name}' must give one number per picture ({logits.shape[0]},), got {came}"
            )
        return scores


class Target(ABC):
    """What is explained."""

    needs_classifier = True

    def bind(self, vit: Vit) -> Target:
        """The same target with what it needs of the model (a text's embedding); most need nothing."""
        return self

    def by(self, probability: Probability) -> Target:
        """The same target for a model whose probabilities are made that way; only probabilities of classes differ."""
        return self

    @abstractmethod
    def resolve(self, logits: Tensor) -> ResolvedTarget:
        """Make the target definite for clean logits (B, C)."""

    @abstractmethod
    def describe(self) -> str:
        """The short form that ``parse_target`` reads."""


def _suffix(quantity: str) -> str:
    return "" if quantity == "logit" else f":{quantity}"


def _check_quantity(quantity: str) -> None:
    if quantity not in QUANTITIES:
        raise TargetError(f"expected one of {', '.join(QUANTITIES)}, got '{quantity}'")


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


@dataclass(frozen=True)
class TopK(Target):
    """The k-th most likely class of each picture (k = 1: the prediction)."""

    k: int = 1
    quantity: str = "logit"
    probability: Probability = field(default="softmax", repr=False, compare=False)

    def __post_init__(self) -> None:
        _check_quantity(self.quantity)
        if self.k < 1:
            raise TargetError(f"expected top-k with k >= 1, got {self.k}")

    def by(self, probability: Probability) -> Target:
        return replace(self, probability=probability)

    def resolve(self, logits: Tensor) -> ResolvedTarget:
        if self.k > logits.shape[1]:
            raise TargetError(f"top{self.k} was asked, but the model has {logits.shape[1]} classes")
        classes = logits.detach().float().topk(self.k, dim=1).indices[:, -1]
        return _at_classes(self.describe(), classes, self.quantity, self.probability)

    def describe(self) -> str:
        return f"top{self.k}{_suffix(self.quantity)}"


@dataclass(frozen=True)
class ClassIndex(Target):
    """One class for all pictures, or one per picture."""

    index: int | tuple[int, ...]
    quantity: str = "logit"
    probability: Probability = field(default="softmax", repr=False, compare=False)

    def __post_init__(self) -> None:
        _check_quantity(self.quantity)

    def by(self, probability: Probability) -> Target:
        return replace(self, probability=probability)

    def resolve(self, logits: Tensor) -> ResolvedTarget:
        B, C = logits.shape
        wanted = [self.index] * B if isinstance(self.index, int) else list(self.index)
        if len(wanted) != B:
            raise TargetError(f"expected one class or {B} classes (one per picture), got {len(wanted)}")
        wrong = [index for index in wanted if not 0 <= index < C]
        if wrong:
            raise TargetError(f"class {wrong[0]} does not exist, the model has {C} classes (0 to {C - 1})")
        return _at_classes(self.describe(), torch.tensor(wanted, device=logits.device), self.quantity, self.probability)

    def describe(self) -> str:
        index = self.index if isinstance(self.index, int) else ",".join(map(str, self.index))
        return f"class:{index}{_suffix(self.quantity)}"


@dataclass(frozen=True)
class LogitDifference(Target):
    """Logit of ``a`` minus logit of ``b``: why this class and not that one. ``b`` None means the runner-up."""

    a: int | None
    b: int | None = None

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


@dataclass(frozen=True)
class Custom(Target):
    """Any function of the model's raw output that gives one number per picture, (B,)."""

    function: Callable[[Any], Tensor]
    name: str = "custom"
    needs_classifier = False

    def resolve(self, logits: Tensor) -> ResolvedTarget:
        return ResolvedTarget(self.name, None, lambda output, logits: self.function(output))

    def describe(self) -> str:
        return self.name


@dataclass(frozen=True)
class OutputLength(Target):
    """Length of the output vector: what a model without classes can be asked for where any score serves."""

    needs_classifier = False

    def resolve(self, logits: Tensor) -> ResolvedTarget:
        def function(output: Any, features: Tensor) -> Tensor:
            length: Tensor = torch.linalg.vector_norm(features.float(), dim=1)
            return length

        return ResolvedTarget(self.describe(), None, function)

    def describe(self) -> str:
        return "output length"


TargetLike = Target | str | int | Sequence[int] | Tensor | np.ndarray | Callable[[Any], Tensor] | None

FORMS = (
    "top1, top3, 207, class:207, difference:3,5, 'text: a photo of a dog', picture:FILE; "
    "classes also with :probability or :log_probability"
)
_TEXT_FORMS: dict[str, Callable[[str], Target]] = {}


def register_text_form(prefix: str, kind: Callable[[str], Target]) -> None:
    """Let ``parse_target`` read strings that start with ``prefix`` as ``kind(the rest)``."""
    _TEXT_FORMS[prefix] = kind


def parse_target(target: TargetLike) -> Target:
    """A target from its loose form.

    None or ``"top1"``, ``"top3"``; a class index, ``"207"`` or ``"class:207"``; a sequence or tensor with one index
    per picture; ``"difference:3,5"``; ``"logit"``, ``"probability"``, ``"log_probability"`` of the prediction; the
    quantity as a suffix (``"top1:probability"``); a callable on the model's output. Raises TargetError."""
    if target is None:
        return TopK()
    if isinstance(target, Target):
        return target
    if isinstance(target, (bool, np.bool_)):
        raise TargetError(f"expected a target ({FORMS}), got a boolean")
    if isinstance(target, (int, np.integer)):
        return ClassIndex(int(target))
    if isinstance(target, str):
        return _parse_text(target.strip())
    if isinstance(target, (Tensor, np.ndarray)):
        if isinstance(target, Tensor) and target.is_floating_point():
            raise TargetError("expected integer class indices, got a floating point tensor")
        return ClassIndex(tuple(int(i) for i in target.reshape(-1).tolist()))
    if isinstance(target, Sequence):
        if not all(isinstance(i, (int, np.integer)) for i in target):
            raise TargetError(f"expected one class index per picture, got {list(target)[:3]}")
        return ClassIndex(tuple(int(i) for i in target))
    if callable(target):
        return Custom(target, getattr(target, "__name__", "custom"))
    raise TargetError(
        f"expected a target ({FORMS}), an index per picture or a callable, got {type(target).__name__}"
    )


def _parse_text(text: str) -> Target:
    quantity = "logit"
    if text in QUANTITIES:
        return TopK(1, text)
    head, _, tail = text.rpartition(":")
    if head and tail in QUANTITIES:
        text, quantity = head, tail
    if match := re.fullmatch(r"top-?(\d+)", text):
        return TopK(int(match[1]), quantity)
    if match := re.fullmatch(r"(?:class:)?(\d+(?:,\d+)*)", text):
        indices = tuple(int(part) for part in match[1].split(","))
        return ClassIndex(indices[0] if len(indices) == 1 else indices, quantity)
    for prefix, kind in _TEXT_FORMS.items():
        if text.startswith(prefix) and text[len(prefix) :].strip():
            return kind(text[len(prefix) :].strip())
    if match := re.fullmatch(r"difference:(top1|\d+),(top2|\d+)", text):
        a, b = match[1], match[2]
        return LogitDifference(None if a == "top1" else int(a), None if b == "top2" else int(b))
    raise TargetError(f"target '{text}' is not understood; forms: {FORMS}")
