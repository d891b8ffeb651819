"""kappa, the factor on the gradient of each MLP branch in DART and GMAR+, as the model alone decides it.

With the constant-gate backward a block's MLP explains more than it adds, since its biases, mostly negative, take
relevance away that nobody gives back. One half is what conservation gives on DeiT-Tiny (see ``calibration``), and on
two real models it explains removal at least as well as kappa found by conservation on the pictures themselves
(docs/methods/dart.md). A constant depends on no picture, no order and no earlier call.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from weakref import WeakKeyDictionary

import torch

from vitscope.errors import MethodError, TraceError
from vitscope.methods.fullgrad import STREAMS
from vitscope.models.anatomy import Anatomy
from vitscope.tracing import Vit, constant_gate
from vitscope.tracing.calls.calling import Inputs, select
from vitscope.tracing.passes.forward_pass import run_pass
from vitscope.tracing.passes.request import PassRequest

DEFAULT = 0.5
HIGHEST = 2.0
"""No model needs more to conserve, and powers of a larger factor overflow in deep models."""

_HAS_BRANCH: WeakKeyDictionary[Vit, dict[Anatomy, bool]] = WeakKeyDictionary()


def default_kappa(vit: Vit, inputs: Inputs) -> float:
    """One half; 1 for a model in which no MLP branch can be told from the attention's (parallel blocks in one sum).

    ``inputs`` give the size alone: which additions are seen does not depend on what they add. One forward of one
    picture when first asked at this size."""
    known = _HAS_BRANCH.setdefault(vit, {})
    anatomy = vit.probe_for(inputs).anatomy
    if anatomy not in known:
        first = select(inputs, torch.zeros(1, dtype=torch.long))
        try:
            run_pass(
                vit.model,
                anatomy,
                first,
                PassRequest(
                    precision=vit.precision,
                    gradient=True,
                    capture=STREAMS,  # as the methods have it, since what is kept of the stream is a tensor of its own
                    rules=constant_gate(DEFAULT),
                ),
            )
        except TraceError:
            known[anatomy] = False
        else:
            known[anatomy] = True
    return DEFAULT if known[anatomy] else 1.0


def resolve_kappa(vit: Vit, inputs: Inputs, options: Mapping[str, Any]) -> dict[str, Any]:
    """The options with ``kappa="auto"`` replaced by the number that is used.

    Raises MethodError for a number where the model has no MLP branch to scale."""
    kappa = options["kappa"]
    if kappa == 1.0:
        return dict(options)
    default = default_kappa(vit, inputs)
    if kappa != "auto" and default == 1.0:
        raise MethodError(
            f"no MLP branch can be told apart in '{vit.source}', so kappa is 1 there, got {kappa:g}; leave kappa out"
        )
    return {**options, "kappa": default if kappa == "auto" else kappa}
