"""A class asked for by its name, ``class:golden retriever``: found among the model's class names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from vitscope.errors import TargetError, TraceError, nearest
from vitscope.options.door import checked
from vitscope.tracing.targets.classes import ClassIndex
from vitscope.tracing.targets.each_its_own import EachItsOwn
from vitscope.tracing.targets.quantity import Quantity, as_quantity
from vitscope.tracing.targets.resolved import ResolvedTarget
from vitscope.tracing.targets.target import AskedModel, Target


@dataclass(frozen=True)
class ClassName(Target):
    """The class of that name, for all pictures.

    text: the name, with ``:probability`` or ``:log_probability`` behind it where that is asked for. A name may hold
    colons and commas. Upper and lower case are alike, and so are underscores and blanks; where no label is called so,
    a part of a label between its commas is enough (``tench`` for ``tench, Tinca tinca``)."""

    text: str

    def bind(self, model: AskedModel) -> Target:
        return self.among(model.class_names, model.source)

    def among(self, names: Sequence[str] | None, source: str = "this model") -> ClassIndex:
        """The same class by its number. Raises TargetError where no class, or more than one, is called so."""
        if not names:
            raise TargetError(
                f"{source} has no class names to find {self.text!r} in; give the class number, class:207, or the "
                "names (class_names=, --class-names)"
            )
        head, _, tail = self.text.rpartition(":")
        readings: list[tuple[str, Quantity]] = [(self.text, "logit")]
        if head.strip() and (named := as_quantity(tail)) is not None:
            readings.append((head, named))
        for name, quantity in readings:
            found = _called(name, names)
            if len(found) > 1:
                raise TargetError(
                    f"{len(found)} classes are called {name.strip()!r}; give the number of one: {found[:5]}"
                )
            if found:
                return ClassIndex(found[0], quantity)
        name = readings[-1][0]
        labels = {_plain(part): part.strip() for label in names for part in [*label.split(","), label]}
        near = ", ".join(labels[word] for word in nearest(_plain(name), labels))
        raise TargetError(f"no class is called {name.strip()!r}; nearest: {near}")

    def resolve(self, logits: Tensor) -> ResolvedTarget:
        raise TargetError(f"target '{self.describe()}' needs its model; give it to vit.trace or vs.explain")

    def describe(self) -> str:
        return f"class:{self.text}"


@checked(TraceError)
def by_number(target: Target, names: Sequence[str] | None, source: str = "this model") -> Target:
    """The same target with a class's name replaced by its number; other targets as they are."""
    if isinstance(target, EachItsOwn):
        return EachItsOwn(tuple(by_number(each, names, source) for each in target.targets))
    return target.among(names, source) if isinstance(target, ClassName) else target


def _called(name: str, names: Sequence[str]) -> list[int]:
    """The classes of that name: labels exactly so, else but for case and blanks, else a part between commas."""
    wanted = _plain(name)
    exact = [index for index, label in enumerate(names) if label.strip() == name.strip()]
    alike = [index for index, label in enumerate(names) if _plain(label) == wanted]
    parts = [index for index, label in enumerate(names) if wanted in map(_plain, label.split(","))]
    return exact or alike or parts


def _plain(name: str) -> str:
    return " ".join(name.replace("_", " ").lower().split())
