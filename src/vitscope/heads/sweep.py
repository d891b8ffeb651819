"""What every pruning analysis starts from and ends with: the clean run of a batch, and what a changed copy changed.

A changed copy is one (picture, ablation) pair; `resuming` runs it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from vitscope.heads.change_metrics import as_classes, class_changes, output_changes, patch_changes
from vitscope.heads.errors import HeadsError
from vitscope.heads.shortening import Watching
from vitscope.models.anatomy import Anatomy
from vitscope.tracing import BlockCache, Vit
from vitscope.tracing.answers import require_numbers
from vitscope.tracing.blocks import first_tensor, is_tokens
from vitscope.tracing.forward_pass import run_pass
from vitscope.tracing.guard import exclusive
from vitscope.tracing.resume import collect_outputs, no_blocks
from vitscope.tracing.scope import own

REPRESENTATIONS = ("standard", "all", "none")


@dataclass(frozen=True)
class Clean:
    """The full run of one batch.

    labels: one class index per picture, or None. entering[block]: the tokens that entered it, as it lays them out.
    attended[block]: its attention output (B, H, Nq, d), for blocks with one attention. embedding: for each convolution
    that ran once before the first block, by path, a forward that gives what it gave for the first picture."""

    cache: BlockCache
    anatomy: Anatomy
    labels: Tensor | None
    entering: dict[int, Tensor]
    attended: dict[int, Tensor]
    embedding: dict[str, Callable[..., Any]]

    @property
    def pictures(self) -> int:
        return int(self.cache.logits.shape[0])

    @property
    def size(self) -> tuple[int, ...]:
        """(H, W) of the pictures."""
        assert isinstance(self.cache.inputs, Tensor)
        return tuple(self.cache.inputs.shape[-2:])


def clean_run(vit: Vit, pixels: Tensor, labels: Tensor | None) -> Clean:
    """One full forward that keeps what changed copies need. Raises HeadsError for a model without class scores."""
    anatomy = vit.anatomy_for((int(pixels.shape[-2]), int(pixels.shape[-1])))
    if anatomy.classes is None:
        raise HeadsError(
            f"expected a model with class scores, got {vit.source} without a classifier; "
            "pass classes=C to open_model if its output are class scores"
        )
    if not anatomy.blocks:
        raise no_blocks(anatomy)
    as_classes(torch.zeros(1, anatomy.classes), anatomy)  # refused before any work
    watching = Watching(torch.ones(1, len(anatomy.blocks), anatomy.heads))
    with exclusive(vit.model), _Beginning(vit.model, anatomy) as beginning:
        record, outputs = collect_outputs(
            vit.model,
            anatomy,
            lambda: run_pass(vit.model, anatomy, pixels, precision=vit.precision, ablations=[watching]),
        )
    require_numbers(vit.source, record.logits)
    cache = BlockCache(pixels, record.logits.float(), tuple(outputs), anatomy.blocks)
    entering = {block + 1: first_tensor(output) for block, output in enumerate(outputs[:-1])}
    entering[0] = beginning.tokens
    attended = {
        block.index: watching.seen[block.index]
        for block in anatomy.blocks
        if len(block.sites) == 1 and block.index in watching.seen
    }
    return Clean(
        cache,
        anatomy,
        labels,
        {block: tokens for block, tokens in entering.items() if tokens is not None},
        attended,
        beginning.convolutions,
    )


class _Beginning:
    """Watches a run up to its first block: the tokens that enter it and the convolutions that ran before."""

    def __init__(self, model: nn.Module, anatomy: Anatomy) -> None:
        self.tokens: Tensor | None = None
        self.convolutions: dict[str, Callable[..., Any]] = {}
        self._model, self._first = model, anatomy.blocks[0]
        self._over = False
        self._handles: list[Any] = []

    def __enter__(self) -> _Beginning:
        for path, module in self._model.named_modules():
            if isinstance(module, nn.Conv2d):
                self._handles.append(module.register_forward_hook(own(self._keep(path))))
        first = self._model.get_submodule(self._first.path)
        self._handles.append(first.register_forward_pre_hook(own(self._enter), with_kwargs=True))
        return self

    def __exit__(self, *_: object) -> None:
        for handle in self._handles:
            handle.remove()

    def _keep(self, path: str) -> Callable[..., None]:
        def hook(_: nn.Module, __: Any, output: Tensor) -> None:
            if not self._over:
                kept = output[:1].detach().clone()
                self.convolutions[path] = lambda *args, **kwargs: kept.clone()

        return hook

    def _enter(self, _: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if not self._over:
            given = [a for a in (*args, *kwargs.values()) if is_tokens(a, self._first.width)]
            self.tokens = given[0].detach().clone() if len(given) == 1 else None
            self._over = True


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
