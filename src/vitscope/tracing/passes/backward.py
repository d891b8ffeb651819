"""The way back of one pass: gradients of the summed scores at everything that the pass kept."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from vitscope.errors import TraceError
from vitscope.tracing.calls.counting import count_backward
from vitscope.tracing.interception.explicit_attention import FromGradient
from vitscope.tracing.passes.forward_pass import PassRecord

FP16_SCALE = 1024.0
"""Scores are multiplied by this before a half precision backward, gradients divided, so that small ones survive."""


@dataclass
class Gradients:
    """Gradients of the summed scores at what the capture named."""

    sites: dict[int, Tensor] = field(default_factory=dict)
    matrices: dict[int, FromGradient] = field(default_factory=dict)
    """What was made of the attention gradients' matrices on the way back, where it was."""
    block_inputs: dict[int, list[Tensor]] = field(default_factory=dict)
    block_outputs: dict[int, Tensor] = field(default_factory=dict)
    norm_tokens: dict[int, Tensor] = field(default_factory=dict)
    stages: dict[int, Tensor] = field(default_factory=dict)
    embedding: Tensor | None = None
    image: Tensor | None = None
    logits: Tensor | None = None
    """At the model's scores or feature; None where the target reads something else of the output."""


def backward(record: PassRecord, scores: Tensor, *, scale: float = 1.0, retain: bool = False) -> Gradients:
    """One ``autograd.grad`` over everything the record holds. The sum over pictures is exact: no cross terms."""
    wanted: list[tuple[str, Any, Tensor]] = []
    for index, site in record.sites.items():
        wanted.append(("sites", index, site.with_graph()))
    for block, tensors in record.block_inputs.items():
        wanted += [("block_inputs", (block, i), t) for i, t in enumerate(tensors)]
    for block, tensor in record.block_outputs.items():
        wanted.append(("block_outputs", block, tensor))
    for block, tensor in record.norm_tokens.items():
        wanted.append(("norm_tokens", block, tensor))
    for stage, tensor in record.stages.items():
        wanted.append(("stages", stage, tensor))
    if record.embedding is not None:
        wanted.append(("embedding", None, record.embedding))
    if record.image is not None:
        wanted.append(("image", None, record.image))
    wanted.append(("logits", None, record.logits))
    if not scores.requires_grad:
        raise TraceError(
            "the score does not depend on any attention that was seen, so it has no gradient; "
            "check the target, and that the model does not detach or convert its output"
        )
    wanted = [entry for entry in wanted if entry[2].requires_grad]
    count_backward(len(scores))
    with torch.inference_mode(False), torch.enable_grad():
        grads = torch.autograd.grad(
            (scores * scale).sum(), [entry[2] for entry in wanted], retain_graph=retain, allow_unused=True
        )
    result = Gradients()
    for (kind, key, tensor), grad in zip(wanted, grads, strict=True):
        if kind == "logits" and grad is None:
            continue
        value = torch.zeros_like(tensor) if grad is None else grad if scale == 1.0 else grad / scale
        if kind == "block_inputs":
            result.block_inputs.setdefault(key[0], []).append(value)
        elif key is None:
            setattr(result, kind, value)
        else:
            getattr(result, kind)[key] = value
    _add_later_ways(record, result)
    for index, site in record.sites.items():
        if site.made is None:
            continue
        found = site.made.taken()
        if found is None and index in result.sites and result.sites[index].any():
            with torch.no_grad():
                site.made.read(result.sites[index], site.v)
            found = site.made.taken()
        if found is not None:
            result.matrices[index] = found
    return result


def _add_later_ways(record: PassRecord, result: Gradients) -> None:
    """What entered several blocks counts, at each of them, for all blocks from there on."""
    later: dict[int, Tensor] = {}
    for block in sorted(set(record.block_sources) & set(result.block_inputs), reverse=True):
        gradients = result.block_inputs[block]
        for slot, source in enumerate(record.block_sources[block]):
            if id(source) in later:
                gradients[slot] = gradients[slot] + later[id(source)]
            later[id(source)] = gradients[slot]
