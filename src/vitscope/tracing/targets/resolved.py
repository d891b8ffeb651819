"""A target made definite on one batch: which class of each picture, and how its score is computed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from vitscope.errors import TargetError


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
