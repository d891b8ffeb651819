"""Re-run changed copies of a batch from one block on, doing no work whose result nobody reads.

Three savings, each checked on the model itself once and left out where the check fails:
the blocks before the changed one give what is cached (`Vit.resume_pass`); the embedding, whose result is then thrown
away, sees one picture instead of all copies; and in the last block of a model whose classifier reads prefix tokens
only, projection and MLP run for the prefix tokens alone (no patch query of that block can change the answer).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from vitscope.errors import VitscopeError
from vitscope.heads.sweep import Clean
from vitscope.tracing import Capture, EntryAblation, HeadAblation, Vit
from vitscope.tracing.blocks import first_tensor, is_tokens, replace_first
from vitscope.tracing.forward_pass import PassRecord, run_pass
from vitscope.tracing.resume import select, shortcuts

READS_PREFIX = ("class", "class+distillation")
TOLERANCE = 1e-4
STREAMS = Capture(streams=True)

Ablation = HeadAblation | EntryAblation | None


class _Reached(Exception):
    """Not an error: the last block's attention output is known, the rest of the pass is not wanted."""

    def __init__(self, output: Tensor) -> None:
        super().__init__("the attention of the last block was reached")
        self.output = output


@dataclass(frozen=True)
class _StopAt(HeadAblation):
    """An ablation that ends the pass when it is asked to change the given block."""

    block: int = 0

    def apply(self, output: Tensor, block: int) -> Tensor:
        if block == self.block:
            raise _Reached(output)
        return output


@dataclass(frozen=True)
class _Given(HeadAblation):
    """An ablation that puts a known output (B, H, Nq, d), one per batch item, in the place of one block's."""

    block: int = 0
    output: Tensor | None = None

    def apply(self, output: Tensor, block: int) -> Tensor:
        return self.output if block == self.block and self.output is not None else output


class _PrefixQueries(TorchFunctionMode):
    """Lies under the interceptor and ends the pass at the first fused attention, computed for the prefix queries only.

    Attention that is not fused passes by and is stopped by `_StopAt`, whole.
    """

    def __init__(self, prefix: int) -> None:
        super().__init__()
        self.prefix = prefix

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is not F.scaled_dot_product_attention or len(args) < 3:
            return func(*args, **(kwargs or {}))
        query, rest = args[0][..., : self.prefix, :], list(args[1:])
        if len(rest) > 2 and rest[2] is not None and rest[2].shape[-2] != 1:
            rest[2] = rest[2][..., : self.prefix, :]
        raise _Reached(func(query, *rest, **(kwargs or {})))


@dataclass
class Savings:
    """Which savings hold on this model; None until checked. Shared by all batches of a sweep."""

    one_picture: bool | None = None
    short_tail: bool | None = None
    allowed: bool = True


@dataclass
class Resumer:
    """Runs changed copies of one batch."""

    vit: Vit
    clean: Clean
    savings: Savings = field(default_factory=Savings)

    def __post_init__(self) -> None:
        self.last = len(self.clean.anatomy.blocks) - 1
        self._nobody = torch.ones(1, self.last + 1, self.clean.anatomy.heads)
        if self.savings.one_picture is None:
            self.savings.one_picture = self.savings.allowed and self._check(short_tail=False)
        if self.savings.short_tail is None:
            self.savings.short_tail = (
                self.savings.allowed and self._may_shorten() and self._check(short_tail=True)
            )

    def run(
        self, block: int, ablation: Ablation, index: Tensor, *, patches: bool = False
    ) -> tuple[Tensor, dict[int, Tensor]]:
        """(logits (M, C), block outputs) of copies of the pictures `index` (M,), changed by `ablation` in `block` or
        later. patches: the last block's patch tokens are wanted, so it runs whole."""
        in_tail = isinstance(ablation, EntryAblation) and ablation.block == self.last
        if self.savings.short_tail and not patches and block < self.last and not in_tail:
            return self._run_short(block, ablation, index)
        record = self._resume(block, self._tokens(block, index), ablation, index)
        return record.logits.float(), record.block_outputs

    def cost(self, block: int, patches: bool = False) -> float:
        """Share of a full forward that one copy costs, by counting blocks (the last one's attention as 0.4)."""
        blocks = self.last + 1 - block
        return (blocks - 0.6 if self.savings.short_tail and not patches and block < self.last else blocks) / (
            self.last + 1
        )

    # ---- inside ----------------------------------------------------------------------------------------------
    def _tokens(self, block: int, index: Tensor) -> Tensor | None:
        if block == 0:
            return None
        tokens = first_tensor(self.clean.cache.outputs[block - 1])
        assert tokens is not None
        pictures = self.clean.pictures
        if len(index) == pictures and bool((index == torch.arange(pictures)).all()):
            return tokens
        return tokens[index.to(tokens.device)]

    def _resume(
        self, block: int, tokens: Tensor | None, ablation: Ablation, index: Tensor, skip_last: bool = False
    ) -> PassRecord:
        """Run blocks block ... end on `tokens`; skip_last lets the last block hand its input on."""
        cache, anatomy = self.clean.cache, self.clean.anatomy
        inputs = select(cache.inputs, index[:1] if tokens is not None and self.savings.one_picture else index)
        skip = shortcuts(
            anatomy, cache, block, None if tokens is not None and self.savings.one_picture else index, tokens
        )
        if skip_last:
            skip[anatomy.blocks[self.last].path] = _hand_on(
                cache.outputs[self.last], anatomy.blocks[self.last].width
            )
        return run_pass(
            self.vit.model,
            anatomy,
            inputs,
            precision=self.vit.precision,
            capture=STREAMS,
            ablations=[] if ablation is None else [ablation],
            skip=skip,
        )

    def _run_short(self, block: int, ablation: Ablation, index: Tensor) -> tuple[Tensor, dict[int, Tensor]]:
        """Blocks up to the last but one as usual; then the last block's attention; then its prefix tokens alone."""
        layout = self.clean.anatomy.layout
        assert layout is not None
        before = self._resume(block, self._tokens(block, index), ablation, index, skip_last=True)
        tokens = before.block_outputs[self.last - 1]
        prefix = slice(0, layout.prefix_count)
        attended = self._attention_output(tokens, index)[:, :, prefix]
        if isinstance(ablation, HeadAblation):
            attended = _for_prefix(ablation, layout.prefix_count).apply(attended, self.last)
        after = self._resume(
            self.last, tokens[:, prefix], _Given(self._nobody, None, self.last, attended), index
        )
        outputs = {b: out for b, out in before.block_outputs.items() if b < self.last}
        outputs[self.last] = after.block_outputs[self.last]
        return after.logits.float(), outputs

    def _attention_output(self, tokens: Tensor, index: Tensor) -> Tensor:
        """T of the last block, (M, H, N or prefix, d), for the tokens that enter it."""
        stop = _StopAt(self._nobody, None, self.last)
        layout = self.clean.anatomy.layout
        assert layout is not None
        try:
            with _PrefixQueries(layout.prefix_count):
                self._resume(self.last, tokens, stop, index)
        except _Reached as reached:
            return reached.output
        raise RuntimeError("the last block has no attention of its own")

    def _may_shorten(self) -> bool:
        anatomy, layout = self.clean.anatomy, self.clean.anatomy.layout
        block = anatomy.blocks[self.last]
        return (
            layout is not None
            and layout.prefix_count > 0
            and self.last >= 1
            and block.tokens == layout.tokens
            and anatomy.pooling in READS_PREFIX
            and block.kind == "self"
            and len(block.sites) == 1
        )

    def _check(self, short_tail: bool) -> bool:
        """Whether a saving gives the full run's logits on two copies of the first picture and one of the last."""
        anatomy = self.clean.anatomy
        if self.last < 1 or (
            not short_tail and len({b.path.rpartition(".")[0] for b in anatomy.blocks}) != 1
        ):
            return False
        index = torch.tensor([0, self.clean.pictures - 1, 0])
        before = self.savings.one_picture
        try:
            if short_tail:
                logits, _ = self._run_short(self.last - 1, None, index)
            else:
                self.savings.one_picture = True
                record = self._resume(
                    max(1, self.last - 1), self._tokens(max(1, self.last - 1), index), None, index
                )
                logits = record.logits.float()
        except (RuntimeError, IndexError, ValueError, TypeError, VitscopeError):
            # Models that insist on the whole grid (relative positions, rotary tables) or on the batch they began with.
            return False
        finally:
            self.savings.one_picture = before
        full = self.clean.cache.logits[index.to(self.clean.cache.logits.device)]
        limit = TOLERANCE * max(1.0, float(full.abs().max()))
        return logits.shape == full.shape and float((logits - full).abs().max()) <= limit


def _for_prefix(ablation: HeadAblation, prefix: int) -> HeadAblation:
    """The same ablation for the prefix queries alone."""
    means = ablation.replacement
    return HeadAblation(
        ablation.keep, means[:, :, :prefix] if means is not None and means.dim() == 4 else means
    )


def _hand_on(structure: Any, width: int) -> Callable[..., Any]:
    """A block that returns its input tokens in the structure of its usual output."""

    def forward(*args: Any, **kwargs: Any) -> Any:
        tokens = next(t for t in (*args, *kwargs.values()) if is_tokens(t, width))
        return replace_first(structure, tokens)

    return forward


def head_masks(heads: Sequence[tuple[int, int]], blocks: int, width: int) -> Tensor:
    """keep (len(heads), L, H): row i takes head i away and leaves all others."""
    keep = torch.ones(len(heads), blocks, width)
    for row, (block, head) in enumerate(heads):
        keep[row, block, head] = 0
    return keep
