"""What the page's main map shows, as an explanation: a map, one block of its flow, or rows of attention."""

from __future__ import annotations

from typing import Any

import torch

from vitscope.app.answers.attention import rows_answer
from vitscope.app.model.asked import ExportAsked
from vitscope.app.model.bench import Bench
from vitscope.errors import TraceError
from vitscope.methods import Explanation
from vitscope.models.preparing.inputs import drawable
from vitscope.progress import Progress
from vitscope.reports import words
from vitscope.tracing.recipe import library_versions

ATTENTION = "attention"
"""What rows of attention are called in the place of a method."""


def seen(bench: Bench, asked: ExportAsked, progress: Progress) -> Explanation:
    """What is drawn, listed or animated.

    Raises:
        MethodError: The method has no map after that block.
        TraceError: Attention that was not seen.
    """
    looks = asked.looks
    if looks.query is not None:
        return attention_seen(bench, asked, looks.query)
    found = bench.explanation(asked, progress)
    if looks.block is not None:
        words.step_of(found, looks.block)
    return found


def attention_seen(bench: Bench, asked: ExportAsked, query: str) -> Explanation:
    """The attention of one token on the patches of one block, mean over the pinned heads of that block or over all."""
    looks = asked.looks
    trace = bench.trace(asked)
    block = len(trace.anatomy.blocks) - 1 if looks.block is None else looks.block
    arrays, known = rows_answer(trace, block, query, looks.direction)
    heads = [head for at, head in looks.heads if at == block] or list(range(known["heads"]))
    if max(heads) >= known["heads"]:
        raise TraceError(f"block {block} has heads from 0 to {known['heads'] - 1}, got {max(heads)}")
    row = torch.from_numpy(arrays["rows"])[heads].mean(0)
    layout = trace.layout
    metadata: dict[str, Any] = {
        "model": bench.vit.source,
        "fingerprint": bench.vit.fingerprint,
        "keys": [asked.picture.key],
        "ids": [asked.picture.content],
        "versions": library_versions(),
        "notes": [],
        "prefix": list(layout.prefix),
        "prefix_share": [float(row[: known["prefix"]].sum() / row.sum().clamp_min(1e-12))],
        "extent": list(trace.cells.extent),
        "ablation": [list(head) for head in asked.off],
    }
    does = "looks at" if looks.direction == "out" else "is looked at by"
    return Explanation(
        ATTENTION,
        layout.to_grid(row[known["prefix"] :][None]),
        None,
        f"what {known['query']} {does}",
        None,
        torch.full((1,), float("nan")),
        trace.logits.cpu(),
        layout,
        {"block": block, "heads": heads, "query": known["query"], "direction": looks.direction},
        metadata,
        pictures=drawable(trace.images[0].float().cpu(), bench.vit.preprocessor)[None],
        class_names=None if bench.vit.class_names is None else tuple(bench.vit.class_names),
    )
