"""A class asked for by its name, and the difference of two: found among the model's class names."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from vitscope.errors import TargetError, TraceError, nearest
from vitscope.options.door import checked
from vitscope.tracing.targets.classes import ClassIndex, LogitDifference
from vitscope.tracing.targets.each_its_own import EachItsOwn
from vitscope.tracing.targets.quantity import Quantity, as_quantity
from vitscope.tracing.targets.resolved import ResolvedTarget
from vitscope.tracing.targets.target import AskedModel, Target

FORMS = (
    "top1, top3, 207, NAME, class:207, class:NAME, difference:3,5, difference:NAME,NAME, 'text: a photo of a dog', "
    "picture:FILE; classes also with :probability or :log_probability"
)


class Named(Target):
    """A target in which classes stand by name, until a model tells their numbers."""

    def bind(self, model: AskedModel) -> Target:
        return self.among(model.class_names, model.source)

    @abstractmethod
    def among(self, names: Sequence[str] | None, source: str = "this model") -> Target:
        """The same with numbers. Raises TargetError where no class, or more than one, is called so."""

    def resolve(self, logits: Tensor) -> ResolvedTarget:
        raise TargetError(f"target '{self.describe()}' needs its model; give it to vit.trace or vs.explain")


@dataclass(frozen=True)
class ClassName(Named):
    """The class of that name, for all pictures.

    Upper and lower case are alike, and so are underscores and blanks; where no label is called so, a part of a label
    between its commas is enough (``tench`` for ``tench, Tinca tinca``).

    Args:
        text: The name, with ``:probability`` or ``:log_probability`` behind it where that is asked for. A name may
            hold colons and commas.
        alone: Whether it was given without ``class:``, so that it may have been meant for another form.

    Example:
        >>> from vitscope.tracing import ClassName
        >>> ClassName("Tench").among(["goldfish", "tench, Tinca tinca"])
        ClassIndex(index=1, quantity='logit')
    """

    text: str
    alone: bool = False

    def among(self, names: Sequence[str] | None, source: str = "this model") -> ClassIndex:
        """The same class by its number. Raises TargetError where no class, or more than one, is called so."""
        if not names:
            raise TargetError(
                f"{source} has no class names to find {self.text!r} in; give the class number, class:207, or the "
                f"names with class_names={self._forms()}"
            )
        head, _, tail = self.text.rpartition(":")
        readings: list[tuple[str, Quantity]] = [(self.text, "logit")]
        if head.strip() and (named := as_quantity(tail)) is not None:
            readings.append((head, named))
        for name, quantity in readings:
            if (found := _number(name, names)) is not None:
                return ClassIndex(found, quantity)
        raise TargetError(f"{_nobody(readings[-1][0], names)}{self._forms()}")

    def _forms(self) -> str:
        return f"; other targets are {FORMS}" if self.alone else ""

    def describe(self) -> str:
        return f"class:{self.text}"


@dataclass(frozen=True)
class NamedDifference(Named):
    """The logit of one class minus that of another, at least one of them by name.

    Args:
        text: Two of a name, a class number, ``top1`` (first) and ``top2`` (second), with a comma between them. A name
            may hold commas itself.
    """

    text: str

    def among(self, names: Sequence[str] | None, source: str = "this model") -> LogitDifference:
        """The same classes by their numbers. Raises TargetError where no class, or more than one, is called so."""
        pieces = self.text.split(",")
        refused: TargetError | None = None
        for place in range(1, len(pieces)):
            first, second = ",".join(pieces[:place]).strip(), ",".join(pieces[place:]).strip()
            try:
                return LogitDifference(
                    None if first == "top1" else _class_of(first, names, source),
                    None if second == "top2" else _class_of(second, names, source),
                )
            except TargetError as error:
                refused = refused or error
        raise refused or TargetError(f"target '{self.describe()}' is not understood; forms: {FORMS}")

    def describe(self) -> str:
        return f"difference:{self.text}"


@checked(TraceError)
def by_number(target: Target, names: Sequence[str] | None, source: str = "this model") -> Target:
    """The same target with the names of classes replaced by their numbers; other targets as they are.

    Args:
        target: What is explained.
        names: The names of the classes in their order; None where nobody knows them.
        source: What the model is called in messages.

    Returns:
        The target by number.

    Raises:
        TargetError: No class, or more than one, is called so.

    Example:
        >>> from vitscope.tracing import ClassName, by_number
        >>> by_number(ClassName("ring"), ["star", "ring"]).index
        1
    """
    if isinstance(target, EachItsOwn):
        return EachItsOwn(tuple(by_number(each, names, source) for each in target.targets))
    return target.among(names, source) if isinstance(target, Named) else target


def _class_of(text: str, names: Sequence[str] | None, source: str) -> int:
    if text.isascii() and text.isdecimal():
        return int(text)
    index = ClassName(text).among(names, source).index
    assert isinstance(index, int)
    return index


def _number(name: str, names: Sequence[str]) -> int | None:
    """The class of that name, None where there is none: labels exactly so, else but for case and blanks, else a part
    between commas. Raises TargetError for several."""
    wanted = _plain(name)
    exact = [index for index, label in enumerate(names) if label.strip() == name.strip()]
    alike = [index for index, label in enumerate(names) if _plain(label) == wanted]
    parts = [index for index, label in enumerate(names) if wanted in map(_plain, label.split(","))]
    found = exact or alike or parts
    if len(found) > 1:
        raise TargetError(
            f"{len(found)} classes are called {name.strip()!r}; give the number of one: {found[:5]}"
        )
    return found[0] if found else None


def _nobody(name: str, names: Sequence[str]) -> str:
    labels = {_plain(part): part.strip() for label in names for part in [*label.split(","), label]}
    near = ", ".join(labels[word] for word in nearest(_plain(name), labels))
    return f"no class is called {name.strip()!r}; nearest: {near}"


def _plain(name: str) -> str:
    return " ".join(name.replace("_", " ").lower().split())
