"""Targets computed from the model's raw output: any function of it, and the length of the output vector."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from vitscope.errors import TargetError, VitscopeError, brief
from vitscope.tracing.targets.resolved import ResolvedTarget
from vitscope.tracing.targets.target import Target


@dataclass(frozen=True)
class Custom(Target):
    """Any function of the model's raw output that gives one number per picture.

    Args:
        function: From the model's output to scores (B,), differentiable where a gradient is wanted.
        name: What it is called in results.
        by_row: The function must give a picture the same wherever it stands in a batch. So it is asked when pictures
            come in several batches, and it is tested: one that holds something of each picture would take it for
            another's.

    Raises:
        TargetError: When it is scored: the function fails, or does not give one number per picture.

    Example:
        >>> import vitscope as vs
        >>> vit = vs.open_model("bundled/shapes")
        >>> target = vs.Custom(lambda logits: logits[:, :3].sum(1), "first three")
        >>> tuple(vit.trace(vs.worlds.world("shapes").sample(2, seed=1).pictures, target).scores.shape)
        (2,)
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


def rows_of(output: Any, rows: list[int], batch: int) -> Any:
    """A model's raw output for some pictures of a batch: every tensor in it of ``batch`` rows is cut to ``rows``."""

    def cut(value: Any) -> Any:
        return value[rows] if isinstance(value, Tensor) and value.dim() and len(value) == batch else value

    return tree_map(cut, output)
