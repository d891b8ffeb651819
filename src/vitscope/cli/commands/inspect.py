"""``vitscope inspect``: what is inside a model, and which methods can explain it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vitscope.cli.shared import console
from vitscope.cli.shared.options import MODEL, JsonOptions, ModelOptions
from vitscope.cli.shared.session import open_vit

if TYPE_CHECKING:
    from vitscope.models import Anatomy
    from vitscope.tracing import Vit

EXAMPLE = "vitscope inspect timm/vit_small_patch16_224 --image-size 224x336"


@dataclass(frozen=True, kw_only=True)
class InspectedModel(ModelOptions):
    """The model is what the command is about, so it is named without ``--model``."""

    model: Annotated[str, typer.Argument(help=MODEL.help)]


def inspect(model: InspectedModel, told: JsonOptions) -> None:
    """Print a model's anatomy (blocks, heads, tokens), and what each method reads out or why it does not apply."""
    vit = open_vit(model)
    from vitscope.methods.explaining.support import support

    anatomy = vit.anatomy
    methods = support(anatomy)
    if told.json:
        listed = [{**asdict(each), "applies": each.applies} for each in methods]
        document = {**asdict(anatomy), "fingerprint": vit.fingerprint, "class_names": vit.class_names}
        document["methods"] = listed
        document.pop("readout", None)
        console.emit_json(document)
        return
    print_anatomy(vit)
    console.say()
    console.table(
        ["method", "applies", "reads out, or why not"],
        [[each.name, "yes" if each.applies else "no", each.reason or each.reads] for each in methods],
    )


def _few(names: Sequence[str]) -> str:
    """The first of the class names."""
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "") or "unknown"


def print_anatomy(vit: Vit) -> None:
    """The facts of one model, then its blocks with equal neighbours drawn together."""
    from vitscope.methods.explaining.support import describe_cells, describe_chain, describe_readout

    anatomy = vit.anatomy
    size = anatomy.image_size
    facts = {
        "model": anatomy.source,
        "family": anatomy.family,
        "weights": vit.fingerprint,
        "parameters": f"{anatomy.parameters:,}",
        "input": f"{size[0]} x {size[1]} pixels" if size else "unknown",
        "tokens": anatomy.layout.describe() if anatomy.layout else "on no single grid",
        "cells": describe_cells(anatomy),
        "chain": anatomy.asunder or describe_chain(anatomy),
        "reads out": describe_readout(anatomy),
        "classifier": f"{anatomy.classifier} ({anatomy.classes} classes)" if anatomy.classifier else "none",
        "class names": _few(vit.class_names or []),
        "probability": anatomy.probability if anatomy.classes else "none: no class scores",
        "norm": "after the residual add" if anatomy.post_norm else "before attention and MLP",
    }
    for name, value in facts.items():
        console.say(f"{name:<12}{value}")
    for remark in (*anatomy.notes, *vit.loaded.notes):
        console.say(f"{'note':<12}{remark}")
    console.say()
    console.table(["blocks", "modules", "attention", "heads", "width", "tokens"], _block_rows(anatomy))


def _block_rows(anatomy: Anatomy) -> list[list[Any]]:
    """One row per run of blocks that differ in nothing but their number."""
    runs: list[list[Any]] = []
    for block in anatomy.blocks:
        likeness = (block.kind, block.heads, block.width, block.tokens)
        if runs and runs[-1][0] == likeness:
            runs[-1][2] = block
        else:
            runs.append([likeness, block, block])
    rows = []
    for (kind, heads, width, tokens), first, last in runs:
        one = first.index == last.index
        rows.append(
            [
                str(first.index) if one else f"{first.index}-{last.index}",
                first.path if one else f"{first.path} … {last.path}",
                kind,
                heads,
                width,
                tokens,
            ]
        )
    return rows
