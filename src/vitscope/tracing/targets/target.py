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
from torch.utils._pytree import tree_map

from vitscope.errors import TargetError, VitscopeError, brief

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
    """Any function of the model's raw output that gives one number per picture, (B,).

    by_row: the function must give a picture the same wherever it stands in a batch. So it is asked when pictures come
    in several batches, and it is tested: one that holds something of each picture would take it for another's.
    """

    function: Callable[[Any], Tensor]
    name: str = "custom"
    by_row: bool = False
    needs_classifier = False

    def _of(self, positions: list[int]) -> Target:
        return Custom(self.function, self.name, by_row=True)

    def resolve(self, logits: Tensor) -> ResolvedTarget:
        return ResolvedTarget(self.name, None, self._score)

    def _score(self, output: Any, logits: Tensor) -> Tensor:
        if not self.by_row:
            try:
                return self.function(output)
            except VitscopeError:
                raise
            except Exception as error:
                raise TargetError(
                    f"target '{self.name}' fails on the model's output ({brief(error)}); it takes the output and gives "
                    "one number for each picture"
                ) from error
        B = len(logits)
        order = [*reversed(range(B)), 0]
        try:
            scores = self.function(output)
            with torch.no_grad():
                again = self.function(rows_of(output, order, B))
            exact = scores.detach().double()
            tolerance = (1e-4 if logits.dtype in (torch.float32, torch.float64) else 2e-2) * float(
                exact.abs().max()
            )
            same = again.shape == (B + 1,) and torch.allclose(
                exact[order], again.double(), 1e-6, tolerance, True
            )
        except TargetError:
            raise
        except Exception as error:
            raise self._depends(brief(error)) from error
        if not same:
            raise self._depends("another number where it stands elsewhere")
        return scores

    def _depends(self, what: str) -> TargetError:
        return TargetError(
            f"target '{self.name}' depends on the place of a picture in its batch ({what}), and the pictures come in "
            "several batches; pass a list with one callable for each picture, or a batch_size that holds them all"
        )

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


@dataclass(frozen=True)
class EachItsOwn(Target):
    """A target of its own for each picture, of any kinds."""

    targets: tuple[Target, ...]

    @property
    def needs_classifier(self) -> bool:  # type: ignore[override]
        return any(target.needs_classifier for target in self.targets)

    @property
    def count(self) -> int | None:
        return len(self.targets)

    def _of(self, positions: list[int]) -> Target:
        return EachItsOwn(tuple(self.targets[place] for place in positions))

    def bind(self, vit: Vit) -> Target:
        return EachItsOwn(tuple(target.bind(vit) for target in self.targets))

    def by(self, probability: Probability) -> Target:
        return EachItsOwn(tuple(target.by(probability) for target in self.targets))

    def resolve(self, logits: Tensor) -> ResolvedTarget:
        if len(self.targets) != len(logits):
            raise TargetError(
                f"expected one target or {len(logits)} (one for each picture), got {len(self.targets)}"
            )
        return self._joined([each.resolve(logits[i : i + 1]) for i, each in enumerate(self.targets)])

    def _joined(self, each: list[ResolvedTarget]) -> ResolvedTarget:
        def function(output: Any, logits: Tensor) -> Tensor:
            found = [
                one.score(rows_of(output, [row], len(each)), logits[row : row + 1])
                for row, one in enumerate(each)
            ]
            return torch.cat([score.float() for score in found])

        known = [one.classes for one in each if one.classes is not None]
        classes = torch.cat(known) if len(known) == len(each) else None
        return ResolvedTarget(
            self.describe(), classes, function, lambda index: self._joined([each[i] for i in index.tolist()])
        )

    def describe(self) -> str:
        shown = ", ".join(target.describe() for target in self.targets[:3])
        return f"each its own: {shown}{', ...' if len(self.targets) > 3 else ''}"


def rows_of(output: Any, rows: list[int], batch: int) -> Any:
    """A model's raw output for some pictures of a batch: every tensor in it of ``batch`` rows is cut to ``rows``."""

    def cut(value: Any) -> Any:
        return value[rows] if isinstance(value, Tensor) and value.dim() and len(value) == batch else value

    return tree_map(cut, output)


TargetLike = (
    Target | str | int | Sequence["int | str | Target | Callable[[Any], Tensor]"] | Tensor | np.ndarray
    | Callable[[Any], Tensor] | None
)  # fmt: skip

FORMS = (
    "top1, top3, 207, class:207, class:NAME, difference:3,5, 'text: a photo of a dog', picture:FILE; "
    "classes also with :probability or :log_probability"
)
_TEXT_FORMS: dict[str, Callable[[str], Target]] = {}


def register_text_form(prefix: str, kind: Callable[[str], Target]) -> None:
    """Let ``parse_target`` read strings that start with ``prefix`` as ``kind(the rest)``."""
    _TEXT_FORMS[prefix] = kind


def parse_target(target: TargetLike) -> Target:
    """A target from its loose form.

    None or ``"top1"``, ``"top3"``; a class index, ``"207"`` or ``"class:207"``; a class's name, ``"class:NAME"`` (all
    digits are an index); a sequence or tensor with one index per picture; ``"difference:3,5"``; ``"logit"``,
    ``"probability"``, ``"log_probability"`` of the prediction; the quantity as a suffix (``"top1:probability"``); a
    callable on the model's output; a list with a target of any kind for each picture. Raises TargetError."""
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
    if isinstance(target, np.ndarray) and target.dtype.kind not in "biufc":
        raise TargetError(f"expected integer class indices, got an array of {target.dtype}; convert them")
    if isinstance(target, (Tensor, np.ndarray)):
        return _classes_of(torch.as_tensor(target))
    if isinstance(target, Sequence):
        if not len(target):
            raise TargetError("expected one target for each picture, got none")
        whole: list[Any] = [i.item() if isinstance(i, Tensor) and i.dim() == 0 else i for i in target]
        if all(isinstance(i, (int, np.integer)) and not isinstance(i, bool) for i in whole):
            return ClassIndex(tuple(int(i) for i in whole))
        if all(isinstance(i, (Target, str)) or callable(i) for i in whole):
            return EachItsOwn(tuple(parse_target(i) for i in whole))
        hint = (
            "; one-hot rows? take their argmax"
            if isinstance(whole[0], (Sequence, Tensor, np.ndarray))
            else ""
        )
        raise TargetError(
            f"expected one class index for each picture, got {str(list(target)[:3])[:80]}{hint}"
        )
    if callable(target):
        return Custom(target, getattr(target, "__name__", "custom"))
    raise TargetError(
        f"expected a target ({FORMS}), an index per picture or a callable, got {type(target).__name__}"
    )


def _classes_of(indices: Tensor) -> Target:
    if indices.dim() > 1:
        raise TargetError(
            f"expected one class index for each picture, got a shape of {tuple(indices.shape)}: one-hot rows? take "
            "their argmax(1)"
        )
    if indices.is_floating_point() or indices.is_complex() or indices.dtype == torch.bool:
        raise TargetError(
            f"expected integer class indices, got {str(indices.dtype).removeprefix('torch.')}; convert them"
        )
    return ClassIndex(int(indices) if indices.dim() == 0 else tuple(indices.tolist()))


def _parse_text(text: str) -> Target:
    if text in QUANTITIES:
        return TopK(1, text)
    head, _, tail = text.rpartition(":")
    plain, quantity = (head, tail) if head and tail in QUANTITIES else (text, "logit")
    if match := re.fullmatch(r"top-?([0-9]{1,18})", plain):
        return TopK(int(match[1]), quantity)
    if match := re.fullmatch(r"(?:class:\s*)?([0-9]{1,18}(?:,[0-9]{1,18})*)", plain):
        indices = tuple(int(part) for part in match[1].split(","))
        return ClassIndex(indices[0] if len(indices) == 1 else indices, quantity)
    # What follows a prefix is anybody's text, in which a colon means nothing.
    for prefix, kind in _TEXT_FORMS.items():
        if text.startswith(prefix) and text[len(prefix) :].strip():
            return kind(text[len(prefix) :].strip())
    if match := re.fullmatch(r"difference:(top1|[0-9]{1,18}),(top2|[0-9]{1,18})", text):
        a, b = match[1], match[2]
        return LogitDifference(None if a == "top1" else int(a), None if b == "top2" else int(b))
    raise TargetError(f"target '{text}' is not understood; forms: {FORMS}")
