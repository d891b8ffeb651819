"""Re-run changed copies of a batch from one block on, without the work whose result is not needed.

The blocks before the changed one give what is cached. Three further savings are tried on the model itself once and
left out where they do not give the full run's logits:

* one_picture: the embedding, whose result is then thrown away, sees one picture instead of all copies, and its
  convolutions give what they gave;
* known_attention: heads are taken away after the attention, so the changed block takes its attention output from the
  clean run; norm, q, k, v and softmax are not computed again;
* short_tail: in the last block of a model whose classifier reads prefix tokens only, the attention is computed for
  their queries, projection and MLP run for them alone, and these tails of many copies run as one batch (`finish`);
* direct: up to that last block nothing but the blocks is run, each called with what the one before it gave.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from vitscope.errors import VitscopeError
from vitscope.tracing.calls.calling import select
from vitscope.tracing.calls.guard import quiet
from vitscope.tracing.calls.scope import running
from vitscope.tracing.changes.ablation import EntryAblation, HeadAblation
from vitscope.tracing.copies.clean import Clean
from vitscope.tracing.copies.direct import run_blocks
from vitscope.tracing.copies.savings import Savings, savings_of
from vitscope.tracing.copies.shortening import (
    Around,
    Given,
    KnownAttention,
    PrefixQueries,
    Reached,
    StopAt,
    for_prefix,
    only_in,
)
from vitscope.tracing.passes.forward_pass import run_pass
from vitscope.tracing.passes.request import Capture, PassRequest
from vitscope.tracing.passes.resume import can_resume, shortcuts
from vitscope.tracing.vit import Vit

READS_PREFIX = ("class", "class+distillation")
TOLERANCE = 1e-4
STREAMS = Capture(streams=True)
TAILS = 512
"""Copies whose shortened last block runs as one batch."""

Ablation = HeadAblation | EntryAblation | None


@dataclass
class Started:
    """A run of changed copies so far. outputs: tokens after the resumed block, and after the last where it ran.

    logits (M, C) are None until `Resumer.finish` where the last block is shortened; then what enters it for the prefix
    (M, p, D) and its attention output (M, H, p, d) are kept instead."""

    index: Tensor
    outputs: dict[int, Tensor]
    logits: Tensor | None = None
    prefix: Tensor | None = None
    attended: Tensor | None = None


class Resumer:
    """Runs changed copies of one batch. savings: None takes what is known of the model, or finds it out."""

    def __init__(self, vit: Vit, clean: Clean, savings: Savings | None = None) -> None:
        self.vit, self.clean = vit, clean
        self.last = len(clean.anatomy.blocks) - 1
        self._modules = [vit.model.get_submodule(block.path) for block in clean.anatomy.blocks]
        self.prefix = clean.anatomy.layout.prefix_count if clean.anatomy.layout else 0
        self.whole = can_resume(clean.anatomy) is not None
        self.stacks = all(block.kind != "window" for block in clean.anatomy.blocks)
        """Whether copies of a picture may lie in one batch: not where windows are laid out as a batch."""
        self._all_kept = torch.ones(1, self.last + 1, clean.anatomy.heads)
        self.savings = savings_of(vit, clean.size) if savings is None else savings
        if self.savings.one_picture is None:
            self._find_savings()

    def run(
        self, block: int, ablation: Ablation, index: Tensor, *, patches: bool = False
    ) -> tuple[Tensor, dict[int, Tensor]]:
        """(logits (M, C), block outputs) of copies of the pictures `index` (M,), changed by `ablation` in `block` or
        later. patches: the last block's patch tokens are wanted, so it runs whole."""
        return self.finish([self.start(block, ablation, index, patches=patches)])[0]

    def start(
        self, block: int, ablation: Ablation, index: Tensor, *, patches: bool = False, tokens: bool = True
    ) -> Started:
        """Everything but the shortened last block, which `finish` runs for many copies at once. tokens: False where
        those that leave the resumed block are not read."""
        saved = self.savings
        in_tail = isinstance(ablation, EntryAblation) and ablation.block == self.last
        short = bool(saved.short_tail) and not patches and not in_tail
        known = bool(saved.known_attention) and not isinstance(ablation, EntryAblation)
        known = known and block in self.clean.attended
        if saved.direct and known and short and block < self.last and only_in(block, ablation):
            return self._start_direct(block, ablation, index, tokens)
        if saved.one_picture and block in self.clean.entering and (block < self.last or not short or known):
            return self._start_fast(block, ablation, index, known, short)
        return self._run_plain(block, ablation, index)

    def finish(self, started: Sequence[Started]) -> list[tuple[Tensor, dict[int, Tensor]]]:
        """(logits (M, C), block outputs) of each, in order. Outputs of a shortened last block are prefix tokens."""
        for group in _by_size([item for item in started if item.logits is None], TAILS):
            prefix = torch.cat([item.prefix for item in group if item.prefix is not None])
            attended = torch.cat([item.attended for item in group if item.attended is not None])
            index = torch.cat([item.index for item in group])
            outputs: dict[int, Tensor] = {}
            around = {self.last: self._around(self.last, tokens=prefix, left=outputs.__setitem__)}
            logits = self._fast_pass(
                self.last, [Given(self._all_kept, None, self.last, attended)], index, around
            )
            at = 0
            for item in group:
                part = slice(at, at := at + len(item.index))
                item.logits, item.outputs[self.last] = logits[part], outputs[self.last][part]
        return [(item.logits, item.outputs) for item in started if item.logits is not None]

    def cost(self, block: int, patches: bool = False) -> float:
        """Share of a full forward that one copy costs, in multiplications of plain blocks: q, k, v 3, projection 1 and
        MLP 8 times D per token and channel, attention 2 N."""
        info, saved = self.clean.anatomy.blocks[block], self.savings
        short = bool(saved.short_tail) and not patches
        all_of_it = 12 * info.width + 2 * info.tokens
        blocks = float(self.last + 1 - block)
        if saved.known_attention:
            blocks -= (3 * info.width + 2 * info.tokens) / all_of_it
        if short and block < self.last:
            blocks -= 1 - 3 * info.width / all_of_it
        if short and saved.known_attention and block == self.last:
            blocks = 0.0
        return blocks / (self.last + 1)

    # ---- the fast way ----------------------------------------------------------------------------------------
    def _start_fast(self, block: int, ablation: Ablation, index: Tensor, known: bool, short: bool) -> Started:
        at_last = known and short and block == self.last
        attended = self._attended(block, ablation, index, prefix_only=at_last) if known else None
        if at_last:
            tokens = self._entering(block, index)[:, : self.prefix].clone()
            return Started(index, {}, prefix=tokens, attended=attended)
        outputs: dict[int, Tensor] = {}
        entered: list[Tensor] = []
        around = {
            block: self._around(
                block,
                tokens=self._entering(block, index),
                known=attended,
                short=False,
                left=outputs.__setitem__,
            )
        }
        stop: list[HeadAblation | EntryAblation] = []
        if short:
            stop.append(StopAt(self._all_kept, None, self.last))
            around[self.last] = self._around(self.last, short=True, entered=entered.append)
        elif block < self.last:
            around[self.last] = self._around(self.last, left=outputs.__setitem__)
        try:
            logits = self._fast_pass(block, [*stop, *([] if ablation is None else [ablation])], index, around)
            return Started(index, outputs, logits)
        except Reached as reached:
            attended = reached.output[:, :, : self.prefix].clone()
            if isinstance(ablation, HeadAblation):
                attended = for_prefix(ablation, self.prefix).apply(attended, self.last)
            return Started(index, outputs, prefix=entered[0], attended=attended)

    def _start_direct(self, block: int, ablation: Ablation, index: Tensor, keep: bool) -> Started:
        """The blocks alone, one after the other, up to the attention of the last."""
        attended = self._attended(block, ablation, index, prefix_only=False)
        with quiet(self.vit.model, gradient=False, precision=self.vit.precision), running():
            after, prefix, last = run_blocks(
                self._modules[block:], self._entering(block, index), attended, self.prefix, keep
            )
        return Started(index, {} if after is None else {block: after}, prefix=prefix, attended=last)

    def _around(
        self,
        block: int,
        *,
        tokens: Tensor | None = None,
        known: Tensor | None = None,
        short: bool = False,
        entered: Callable[[Tensor], None] | None = None,
        left: Callable[[int, Tensor], None] | None = None,
    ) -> Around:
        info = self.clean.anatomy.blocks[block]
        mode = KnownAttention(known) if known is not None else PrefixQueries(self.prefix) if short else None
        return Around(
            self.vit.model.get_submodule(info.path).forward,
            info.width,
            tokens,
            mode,
            None if entered is None else lambda given: entered(given[:, : self.prefix].clone()),
            None if left is None else lambda output: left(block, output.clone()),
        )

    def _fast_pass(
        self,
        block: int,
        ablations: list[HeadAblation | EntryAblation],
        index: Tensor,
        around: dict[int, Around],
    ) -> Tensor:
        """Logits from `block` on, whose `around` gives it its tokens: everything before it sees one picture."""
        anatomy, cache = self.clean.anatomy, self.clean.cache
        skip = {**shortcuts(anatomy, cache, block, None), **self.clean.embedding}
        skip.update({anatomy.blocks[position].path: instead for position, instead in around.items()})
        record = run_pass(
            self.vit.model,
            anatomy,
            select(cache.inputs, index[:1]),
            PassRequest(precision=self.vit.precision, ablations=ablations, skip=skip),
        )
        return record.logits.float()

    def _entering(self, block: int, index: Tensor) -> Tensor:
        """The tokens that enter a block, as the block itself lays them out, in a tensor that it may write into."""
        axis = 1 if self.clean.anatomy.blocks[block].tokens_first else 0
        return self.clean.entering[block].index_select(axis, index.to(self.clean.cache.logits.device))

    def _attended(self, block: int, ablation: Ablation, index: Tensor, prefix_only: bool) -> Tensor:
        """The block's attention output of the clean run with the ablation's heads taken away."""
        output = self.clean.attended[block]
        if prefix_only:
            output = output[:, :, : self.prefix]
            ablation = for_prefix(ablation, self.prefix) if isinstance(ablation, HeadAblation) else ablation
        every = self._every(index)
        if not every:
            output = output[index.to(output.device)]
        changed = ablation.apply(output, block) if isinstance(ablation, HeadAblation) else output
        return changed.clone() if every and changed is output else changed

    def _every(self, index: Tensor) -> bool:
        """Whether these are all pictures, once each, in their order."""
        return len(index) == self.clean.pictures and bool((index == torch.arange(len(index))).all())

    # ---- the plain way ---------------------------------------------------------------------------------------
    def _run_plain(self, block: int, ablation: Ablation, index: Tensor) -> Started:
        """Blocks before `block` short-cut where the model allows it, everything else run."""
        cache, anatomy = self.clean.cache, self.clean.anatomy
        chosen = None if self._every(index) else index
        record = run_pass(
            self.vit.model,
            anatomy,
            select(cache.inputs, chosen),
            PassRequest(
                precision=self.vit.precision,
                capture=STREAMS,
                ablations=[] if ablation is None else [ablation],
                skip={} if self.whole else shortcuts(anatomy, cache, block, chosen),
            ),
        )
        return Started(index, dict(record.block_outputs), record.logits.float())

    # ---- which savings hold ----------------------------------------------------------------------------------
    def _find_savings(self) -> None:
        saved, anatomy = self.savings, self.clean.anatomy
        saved.one_picture = saved.known_attention = saved.short_tail = saved.direct = False
        one_list = len({block.path.rpartition(".")[0] for block in anatomy.blocks}) == 1
        if not saved.allowed or self.whole or not self.stacks or not one_list or self.last < 1:
            return
        saved.one_picture = True
        saved.one_picture = self._same(0) and self._same(self.last)
        if saved.one_picture:
            saved.known_attention = True
            saved.known_attention = all(self._same(block) for block in sorted({0, self.last // 2, self.last}))
            saved.short_tail = self._may_shorten()
            saved.short_tail = saved.short_tail and self._same(self.last - 1) and self._same(self.last)
        if saved.known_attention and saved.short_tail:
            saved.direct = True
            saved.direct = all(self._same(block) for block in sorted({0, self.last // 2, self.last - 1}))

    def _may_shorten(self) -> bool:
        anatomy, layout = self.clean.anatomy, self.clean.anatomy.layout
        block = anatomy.blocks[self.last]
        return (
            layout is not None
            and layout.prefix_count > 0
            and block.tokens == layout.tokens
            and anatomy.pooling in READS_PREFIX
            and block.kind == "self"
            and len(block.sites) == 1
            and not block.tokens_first
        )

    def _same(self, block: int) -> bool:
        """Whether running from a block gives the full run's logits, on two copies of one picture and one of another."""
        index = torch.tensor([0, self.clean.pictures - 1, 0])
        full = self.clean.cache.logits[index.to(self.clean.cache.logits.device)]
        try:
            logits, _ = self.run(block, None, index)
        except (RuntimeError, IndexError, ValueError, TypeError, AttributeError, VitscopeError):
            # Models that insist on the whole grid (relative positions, rotary tables) or on the batch they began with.
            return False
        limit = TOLERANCE * max(1.0, float(full.abs().max()))
        return logits.shape == full.shape and float((logits - full).abs().max()) <= limit


def _by_size(items: Sequence[Started], most: int) -> Iterator[list[Started]]:
    """Runs of items that hold at most `most` copies together (or one item)."""
    group: list[Started] = []
    for item in items:
        if group and sum(len(other.index) for other in group) + len(item.index) > most:
            yield group
            group = []
        group.append(item)
    if group:
        yield group
