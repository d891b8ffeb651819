"""Local gradients: the score read from each block's own output, with respect to that block's attention alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from vitscope.models.anatomy import Anatomy
from vitscope.tracing.calls.calling import Inputs, batch_of, select
from vitscope.tracing.changes.ablation import Ablation
from vitscope.tracing.changes.rules import Rules
from vitscope.tracing.passes.backward import FP16_SCALE, backward
from vitscope.tracing.passes.forward_pass import PassRecord, run_pass
from vitscope.tracing.passes.request import Capture, PassRequest
from vitscope.tracing.passes.resume import BlockCache, shortcuts
from vitscope.tracing.site import AttentionSite
from vitscope.tracing.targets.resolved import ResolvedTarget


def local_sites(
    model: nn.Module,
    anatomy: Anatomy,
    inputs: Inputs,
    target: ResolvedTarget,
    rules: Rules | None = None,
    precision: str = "float32",
    ablations: Sequence[Ablation] = (),
) -> list[AttentionSite]:
    """One site per block whose ``output_gradient`` is that of s_l = target(read out of block l's output).

    Block inputs are detached, so the sum over blocks and pictures needs one backward; the read-outs of all blocks
    run as one batch behind the last block. ``rules`` hold in the blocks and in the read-out, ``ablations`` in the
    blocks."""
    along = PassRequest(
        precision=precision,
        gradient=True,
        record=True,
        capture=Capture(streams=True),
        rules=replace(rules or Rules(), detach_blocks=True),
        ablations=ablations,
    )
    record = run_pass(model, anatomy, inputs, along)
    L, B = len(anatomy.blocks), batch_of(inputs)
    tokens = torch.cat(
        [record.block_outputs[block] for block in range(L)], 1 if anatomy.blocks[0].tokens_first else 0
    )
    cache = BlockCache(
        inputs, record.logits, tuple(record.raw_outputs[block] for block in range(L)), anatomy.blocks
    )
    index = torch.arange(B, device=tokens.device).repeat(L)
    behind = PassRequest(
        precision=precision,
        gradient=True,
        rules=rules,
        skip=shortcuts(anatomy, cache, L, index, tokens),
    )
    readout = run_pass(model, anatomy, select(inputs, index), behind)
    with torch.inference_mode(False), torch.enable_grad():
        if isinstance(readout.output, torch.Tensor) or target.rebuild is not None:
            # rows of one block belong to the same pictures as the target's own classes
            scores = sum(_block_scores(readout, target, slice(b * B, (b + 1) * B)) for b in range(L))
        else:
            scores = target.function(readout.output, readout.logits)
    record.block_inputs, record.block_outputs = {}, {}
    gradients = backward(record, scores, scale=FP16_SCALE if precision == "fp16" else 1.0)
    return [
        replace(s, raw_gradient=gradients.sites[i])
        for i, s in sorted(record.sites.items())
        if s.info.block is not None
    ]


def _block_scores(readout: PassRecord, target: ResolvedTarget, rows: slice) -> Any:
    output = readout.output[rows] if isinstance(readout.output, torch.Tensor) else readout.output
    return target.score(output, readout.logits[rows])
