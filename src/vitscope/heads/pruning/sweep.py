"""What every pruning analysis starts from and ends with: the clean run of a batch, and what a changed copy changed.

A changed copy is one (picture, ablation) pair; `resuming` runs it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from vitscope.heads.errors import HeadsError
from vitscope.heads.pruning.change_metrics import as_classes, class_changes, output_changes, patch_changes
from vitscope.models.anatomy import Anatomy
from vitscope.tracing import Vit
from vitscope.tracing.copies.clean import Clean, run_clean

Representation = Literal["standard", "all", "none"]
"""Which tokens are compared before and after a change."""


def clean_run(vit: Vit, pixels: Tensor, labels: Tensor | None) -> Clean:
    """One full forward that keeps what changed copies need. Raises HeadsError for a model without class scores."""
    anatomy = vit.anatomy_for((int(pixels.shape[-2]), int(pixels.shape[-1])))
    if anatomy.classes is None:
        raise HeadsError(
            f"expected a model with class scores, got {vit.source} without a classifier; "
            "pass classes=C to open_model if its output are class scores"
        )
    if anatomy.blocks:
        as_classes(torch.zeros(1, anatomy.classes), anatomy)  # refused before any work
    return run_clean(vit, pixels, labels)


def read_vector(tokens: Tensor, anatomy: Anatomy) -> Tensor | None:
    """What the classifier reads of tokens (n, N, D), as (n, D): the class token, a lone class query's token, or for
    pooled models the mean of the patch tokens. None where the tokens lie on no known grid."""
    layout = anatomy.layout
    if tokens.shape[1] == 1:
        return tokens[:, 0]
    if layout is None or tokens.shape[1] != layout.tokens:
        return None
    if layout.class_index is not None:
        return tokens[:, layout.class_index]
    return tokens[:, layout.patch_slice].mean(1)


def measure_output(clean: Clean, logits: Tensor, index: Tensor) -> dict[str, Tensor]:
    """Every output metric for changed copies with logits (M, C) of the pictures `index` (M,): values (M,), CPU."""
    labels = None if clean.labels is None else clean.labels[index.cpu()]
    full = clean.cache.logits[index.to(clean.cache.logits.device)]
    before, after = (as_classes(each, clean.anatomy) for each in (full.cpu(), logits.float().cpu()))
    return output_changes(before, after, labels)


def measure_tokens(
    clean: Clean, after: Tensor, block: int, index: Tensor, where: str, patches: bool = True
) -> dict[str, Tensor]:
    """Changes of what is read after `block` and, with `patches`, of the patch tokens; where: "block" or "last".

    after: the copies' tokens (M, N, D), perhaps the prefix tokens alone. Values (M,) on the CPU."""
    where_in = index.to(clean.cache.logits.device)
    values = _token_metrics(clean, _tokens(after, clean, block), block, where_in, where, patches)
    return {name: value.detach().cpu() for name, value in values.items()}


def measure(
    clean: Clean, logits: Tensor, outputs: dict[int, Tensor], block: int, index: Tensor, representation: str
) -> dict[str, Tensor]:
    """Every metric for changed copies: logits (M, C) and block outputs, against the pictures `index` (M,) of `clean`.

    representation: "standard", "all" (also the patch tokens of the last block) or "none" (output metrics only).
    Values are (M,) on the CPU.
    """
    values = measure_output(clean, logits, index)
    last = len(clean.anatomy.blocks) - 1
    if representation != "none":
        values.update(measure_tokens(clean, outputs[block], block, index, "block"))
        values.update(measure_tokens(clean, outputs[last], last, index, "last", representation == "all"))
    return values


def _tokens(output: Tensor, clean: Clean, block: int) -> Tensor:
    return clean.anatomy.blocks[block].as_sequence(output)


def _token_metrics(
    clean: Clean, after: Tensor, block: int, index: Tensor, where: str, patches: bool
) -> dict[str, Tensor]:
    """Changes of what is read and, with `patches`, of the patch tokens; `after` may hold the prefix tokens alone."""
    layout = clean.anatomy.layout
    full = clean.cache.tokens(block)
    values: dict[str, Tensor] = {}
    short = layout is not None and full.shape[1] == layout.tokens and after.shape[1] == layout.prefix_count
    if short and layout is not None and layout.class_index is not None:
        return class_changes(full[index, layout.class_index], after[:, layout.class_index], where)
    first, second = read_vector(full, clean.anatomy), read_vector(after, clean.anatomy)
    if first is not None and second is not None:
        values.update(class_changes(first[index], second, where))
    if patches and layout is not None and full.shape[1] == after.shape[1] in (layout.tokens, layout.patches):
        start = full.shape[1] - layout.patches
        values.update(patch_changes(full[index, start:], after[:, start:], where))
    return values


def groups(items: Sequence[int], pictures: int, batch_size: int) -> list[list[int]]:
    """`items` cut so that each group times `pictures` stays within `batch_size` (at least one item each)."""
    size = max(1, batch_size // max(1, pictures))
    return [list(items[start : start + size]) for start in range(0, len(items), size)]


def stacked_index(pictures: int, copies: int) -> Tensor:
    """(copies * pictures,) long: every picture once per copy, copy after copy."""
    return torch.arange(pictures).repeat(copies)
