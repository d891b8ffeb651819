"""beta-DART: DART with gates that give way a little, for the order of removal at one backward.

Derivation and figures: docs/methods/dart.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from vitscope.methods.dart import accumulated, block_relevance
from vitscope.methods.fullgrad import STREAMS, stream_methods
from vitscope.methods.registry import register
from vitscope.methods.relevance import Needs, Relevance
from vitscope.options.bounds import Range
from vitscope.tracing import Trace, Vit, constant_gate
from vitscope.tracing.calls.calling import Inputs

Beta = Annotated[float, Range(0, 1)]


def yielding_gates(vit: Vit, inputs: Inputs, options: Mapping[str, Any]) -> Needs:
    """The gradient whose gates pass ``beta`` of their derivative."""
    return Needs(gradient=True, rules=constant_gate(share=options["beta"]), capture=STREAMS)


@register(
    "beta-dart",
    family="residual-stream",
    title="beta-DART, gates that give way",
    citation="vitscope: docs/methods/dart.md",
    class_specific=True,
    signed=True,
    backwards=1,
    has_flow=True,
    accumulates=True,
    needs=yielding_gates,
    applies=stream_methods,
    answers="in which order patches are best taken away",
)
def beta_dart(trace: Trace, *, beta: Beta = 0.2, centre: bool = False) -> Relevance:
    """M[n] = sum_l (rho_l[n] + gamma_l[n]) as in DART with kappa = 1, by gradients between constant gates and none.

    LayerNorm's standard deviation, the attention probabilities and the activations' gates each pass the share ``beta``
    of their true derivative; 0 holds them constant, 1 is the ordinary gradient. ``centre`` as in ``dart``.
    ``extras["block_relevance"]`` (B, L): sum_n rho_l."""
    return accumulated(trace, block_relevance(trace), centre, {})
