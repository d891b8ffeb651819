"""Learn a model's anatomy by watching one small pass. Nothing is configured; every part can be overridden."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import nn

from vitscope.errors import VitscopeError
from vitscope.tracing.calls.calling import Inputs, call_model, pictures_of
from vitscope.tracing.calls.failed_forward import why_not_run
from vitscope.tracing.calls.guard import quiet
from vitscope.tracing.interception.interceptor import Interceptor
from vitscope.tracing.interception.provenance import PICTURES, add_reads
from vitscope.tracing.probing.conclusion import Conclusion, Probe
from vitscope.tracing.probing.overrides import Overrides
from vitscope.tracing.probing.recorder import Recorder, watch_modules
from vitscope.tracing.probing.token_order import why_out_of_order


def probe(
    model: nn.Module,
    inputs: Inputs,
    *,
    source: str,
    family: str,
    overrides: Overrides | None = None,
    output_kind: str = "unknown",
) -> Probe:
    """Anatomy of ``model`` for inputs of this size. The pass runs on a batch of two so that batch and tokens cannot
    be mistaken for each other; no global random state is used and nothing stays on the model. ``output_kind``:
    whether the output are ``logits``, an ``embedding``, or ``unknown``."""
    overrides = overrides or Overrides()
    recorder = Recorder()
    add_reads(pictures_of(inputs), PICTURES)
    can_differentiate = not any(p.is_inference() for p in model.parameters())
    devices = {p.device for p in model.parameters() if p.device.type == "cuda"}
    with (
        torch.random.fork_rng(
            devices=list(devices)
        ),  # a model that draws (a masked autoencoder) shifts nobody's draws
        quiet(model, gradient=can_differentiate),
        watch_modules(model, recorder),
        recorder.provenance,
        Interceptor(recorder),
    ):
        try:
            output = call_model(model, inputs)
        except VitscopeError:
            raise
        except Exception as error:  # a model's own code may fail in any way
            place = recorder.stack[-1][0] if recorder.stack else ""
            raise why_not_run(source, model, inputs, error, place) from error
    with torch.inference_mode(False):
        found = Conclusion(model, inputs, output, recorder, overrides, output_kind).probe(source, family)
    del output, recorder
    pictures = pictures_of(inputs)
    if pictures is not None:
        reason = why_out_of_order(model, found.anatomy, pictures, inputs)
        found = replace(found, anatomy=replace(found.anatomy, misplaced=reason))
    return found
