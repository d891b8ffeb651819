"""A target of its own for each picture of a batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from vitscope.errors import TargetError
from vitscope.tracing.targets.custom import rows_of
from vitscope.tracing.targets.quantity import Probability
from vitscope.tracing.targets.resolved import ResolvedTarget
from vitscope.tracing.targets.target import AskedModel, Target


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

    def bind(self, model: AskedModel) -> Target:
        return EachItsOwn(tuple(target.bind(model) for target in self.targets))

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
