"""The engine of every pruning analysis: many changed copies of a batch resumed from one block, and what changed.

A changed copy is one (picture, ablation) pair. Copies are stacked into one batch and only the blocks from the changed
one on are run again; the earlier ones give what they gave in the cache.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from vitscope.heads.change_metrics import class_changes, output_changes, patch_changes
from vitscope.heads.problems import HeadsError
from vitscope.models.anatomy import Anatomy
from vitscope.tracing import BlockCache, Vit

REPRESENTATIONS = ("standard", "all", "none")


@dataclass(frozen=True)
class Clean:
    """The full run of one batch: its cache, anatomy and labels (or None)."""

    cache: BlockCache
    anatomy: Anatomy
    labels: Tensor | None

    @property
    def pictures(self) -> int:
        return int(self.cache.logits.shape[0])


def clean_run(vit: Vit, pixels: Tensor, labels: Tensor | None) -> Clean:
    """One full forward that keeps every block's output. Raises HeadsError for a model without class scores."""
    anatomy = vit.anatomy_for((int(pixels.shape[-2]), int(pixels.shape[-1])))
    if anatomy.classes is None:
        raise HeadsError(
            f"expected a model with class scores, got {vit.source} without a classifier; "
            "pass classes=C to open_model if its output are class scores"
        )
    return Clean(vit.cache(pixels), anatomy, labels)


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


def measure(
    clean: Clean, logits: Tensor, outputs: dict[int, Tensor], block: int, index: Tensor, representation: str
) -> dict[str, Tensor]:
    """Every metric for changed copies: logits (M, C) and block outputs, against the pictures `index` (M,) of `clean`.

    representation: "standard", "all" (also the patch tokens of the last block) or "none" (output metrics only).
    Values are (M,) on the CPU.
    """
    where = index.to(clean.cache.logits.device)
    labels = None if clean.labels is None else clean.labels[index.cpu()]
    values = output_changes(clean.cache.logits[where].cpu(), logits.float().cpu(), labels)
    if representation != "none":
        last = len(clean.anatomy.blocks) - 1
        for name, position in (("block", block), ("last", last)):
            patches = representation == "all" or name == "block"
            values.update(_token_metrics(clean, _tokens(outputs[position]), position, where, name, patches))
    return {name: value.detach().cpu() for name, value in values.items()}


def _tokens(output: Tensor) -> Tensor:
    return output.flatten(1, 2) if output.dim() == 4 else output


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


def check_representation(name: str) -> str:
    """The name, or HeadsError."""
    if name not in REPRESENTATIONS:
        raise HeadsError(f"expected representation standard, all or none, got {name!r}; choose one of them")
    return name


def groups(items: Sequence[int], pictures: int, batch_size: int) -> list[list[int]]:
    """`items` cut so that each group times `pictures` stays within `batch_size` (at least one item each)."""
    size = max(1, batch_size // max(1, pictures))
    return [list(items[start : start + size]) for start in range(0, len(items), size)]


def stacked_index(pictures: int, copies: int) -> Tensor:
    """(copies * pictures,) long: every picture once per copy, copy after copy."""
    return torch.arange(pictures).repeat(copies)
