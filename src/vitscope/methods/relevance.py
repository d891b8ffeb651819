"""What a method returns, and what it needs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from vitscope.models.anatomy import Anatomy
from vitscope.tracing import Capture, Rules, Target, Vit


@dataclass(frozen=True)
class Relevance:
    """Raw relevance of one batch, no min-max.

    ``tokens`` (B, N): one value per token, prefix included; or ``maps`` (B, h, w) for methods that know no tokens.
    ``flow`` (B, L, N) or (B, L, h, w): one map per block, or per what ``flow_of`` names.
    ``extras``: named tensors with the batch first (head weights and the like)."""

    tokens: Tensor | None = None
    maps: Tensor | None = None
    flow: Tensor | None = None
    extras: Mapping[str, Tensor] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    flow_of: str = "block"


@dataclass(frozen=True)
class Needs:
    """What a method's trace must hold. Methods with equal rules, target and precision share one trace.

    ``target`` replaces the caller's (self-supervised methods bring their own score). ``precision`` replaces the
    model's: methods that divide by sums near zero are forced to float32, since bf16 would change their ranks."""

    gradient: bool = False
    rules: Rules | None = None
    capture: Capture = field(default_factory=Capture)
    target: Target | None = None
    precision: str | None = None


NeedsOf = Callable[[Vit, Any, Mapping[str, Any]], Needs]
"""(vit, inputs of one batch, the method's options) -> Needs, for methods whose needs depend on them."""

Applies = Callable[[Anatomy], str | None]
"""Reason why a method does not apply to a model, None when it does."""
