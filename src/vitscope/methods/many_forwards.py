"""The score under many changes of the same pictures, in batches: what black-box methods and some CAMs are made of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from vitscope.errors import MethodError
from vitscope.tracing import Trace
from vitscope.tracing.calls.calling import Inputs, select
from vitscope.tracing.passes.request import PassRequest
from vitscope.tracing.take import take_scores

Change = Callable[[slice, Tensor, Inputs], tuple[Inputs, PassRequest]]
"""(which changes, which picture each row is of (R,), the R rows of inputs) -> (inputs, request); rows of one change lie
together, picture by picture."""


def scores_under(trace: Trace, count: int, change: Change, batch_size: int = 32) -> Tensor:
    """The target's score for every picture under every one of ``count`` changes: (count, B), float32; what was switched
    off in the trace stays off.

    ``batch_size``: about how many rows go through the model at once. Raises MethodError for a trace without target."""
    if trace.resolved is None:
        raise MethodError("this method needs a target; the trace has none")
    scores = []
    step = max(1, batch_size // trace.batch)
    for start in range(0, count, step):
        part = slice(start, min(start + step, count))
        rows = torch.arange(trace.batch).repeat(part.stop - part.start)
        inputs, request = change(part, rows, select(trace.inputs, rows))
        request = replace(request, ablations=trace.request.ablations)
        found = take_scores(trace.model, inputs, trace.resolved.select(rows), request)
        scores.append(found.reshape(-1, trace.batch))
    return torch.cat(scores)
