"""DART for the order of removal: the account of the residual stream and the derivative of taking each token away.

What holds the score (rho, constant gates) and what its absence would change (Gamma, the ordinary gradient) are two
things; the first adds up to the score, the second is exact to first order. Derivation and figures:
docs/methods/dart.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from vitscope.methods.dart import Kappa, accumulated, key_gates, stream_accounts, used_kappa
from vitscope.methods.fullgrad import STREAMS, stream_methods
from vitscope.methods.kappa import resolve_kappa
from vitscope.methods.registry import register
from vitscope.methods.relevance import Needs, Relevance
from vitscope.tracing import Trace, Vit, constant_gate
from vitscope.tracing.calls.calling import Inputs

SHARE_OF_REMOVAL = 0.5
"""The part of Gamma beside the mean account: the weight of one end in the trapezoid from no patch to all."""


def both_gradients(vit: Vit, inputs: Inputs, options: Mapping[str, Any]) -> Needs:
    """Two ways back through one graph: with constant gates, and the ordinary one."""
    return Needs(gradient=True, rules=constant_gate(options["kappa"], ordinary_too=True), capture=STREAMS)


@register(
    "dart-removal",
    family="residual-stream",
    title="DART for the order of removal",
    citation="vitscope: docs/methods/dart.md",
    class_specific=True,
    signed=True,
    backwards=2,
    has_flow=True,
    accumulates=True,
    needs=both_gradients,
    applies=stream_methods,
    answers="in which order patches are best taken away",
    resolve=resolve_kappa,
)
def dart_removal(trace: Trace, *, kappa: Kappa = "auto", centre: bool = False) -> Relevance:
    """M[n] = sum_l rho_l[n] + L/2 sum_l Gamma_l[n], signed; the flow's entry b is the sum over blocks up to b.

    rho_l[n] = <X_l[n], g_l[n]> on the block inputs, with constant gates as in ``dart``. Gamma_l[n] is the derivative of
    the score, by the ordinary gradient, for scaling token n's weight as a key of block l before the softmax is
    renormalised; at weight 0 in every block the token is removed. L counts the accounts: the blocks, and an attention
    pooling, whose part joins the last entry of the flow. ``kappa`` and ``centre`` as in ``dart``. ``extras``: ``kappa``
    (B,), ``block_relevance`` (B, L), sum_n rho_l, and ``removal`` (B, N), Gamma, in the score's own unit."""
    used = used_kappa(trace)
    removal = key_gates(trace.ordinary)
    accounts = len(trace.anatomy.blocks) + (trace.pool is not None)
    steps = stream_accounts(trace) + SHARE_OF_REMOVAL * accounts * removal
    extras = {"kappa": torch.full((trace.batch,), used), "removal": removal.sum(1)}
    return accumulated(trace, steps, centre, extras)
