"""What a method returns, and what it needs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from vitscope.models.anatomy import Anatomy
from vitscope.options.bounds import Precision
from vitscope.tracing import Capture, Rules, Target, Vit


@dataclass(frozen=True)
class Relevance:
    """What a method returns: raw relevance of one batch, not normalised.

    Either ``tokens`` or ``maps`` is given.

    Args:
        tokens: (B, N) float, one value per token, prefix tokens included.
        maps: (B, h, w) float, for methods that know no tokens.
        flow: (B, L, N) or (B, L, h, w), one map per block, or per what ``flow_of`` names; None when there is no flow.
        extras: Further tensors by name, with the batch first, such as weights of heads (B, L, H).
        notes: What a reader of the map should know, a sentence each.
        flow_of: What the entries of the flow are: ``"block"`` or ``"stage"``.

    Example:
        >>> import torch
        >>> import vitscope as vs
        >>> relevance = vs.Relevance(tokens=torch.zeros(2, 145))
        >>> relevance.maps is None, relevance.flow_of
        (True, 'block')
    """

    tokens: Tensor | None = None
    maps: Tensor | None = None
    flow: Tensor | None = None
    extras: Mapping[str, Tensor] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    flow_of: str = "block"


@dataclass(frozen=True)
class Needs:
    """What the trace must hold for a method. Methods with equal rules, target and precision share one trace.

    Args:
        gradient: True for the gradient of the score at every attention site.
        rules: Backward rules in place of the plain gradient, see :mod:`vitscope.tracing`.
        capture: What is kept beside the attention sites.
        target: Replaces the caller's target (self-supervised methods bring their own score).
        precision: Replaces the model's: methods that divide by sums near zero or take small differences of scores are
            run in float32, because bf16 would change the order of the patches.

    Example:
        >>> import vitscope as vs
        >>> vs.methods.get_method("gmar").needs.gradient, vs.methods.get_method("raw-attention").needs.gradient
        (True, False)
    """

    gradient: bool = False
    rules: Rules | None = None
    capture: Capture = field(default_factory=Capture)
    target: Target | None = None
    precision: Precision | None = None


NeedsOf = Callable[[Vit, Any, Mapping[str, Any]], Needs]
"""(vit, inputs of one batch, the method's options) -> Needs, for methods whose needs depend on them."""

Applies = Callable[[Anatomy], str | None]
"""Reason why a method does not apply to a model, None when it does."""
