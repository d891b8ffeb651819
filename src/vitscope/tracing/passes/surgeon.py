"""What one pass does at every attention call: record it, ablate heads, remove tokens, change the gradient."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from vitscope.errors import TraceError
from vitscope.models.anatomy import Anatomy, SiteInfo
from vitscope.tracing.changes.ablation import EntryAblation, HeadAblation
from vitscope.tracing.changes.forbidden_keys import combine_masks, forbid
from vitscope.tracing.changes.pooling import POOLING, pool_without
from vitscope.tracing.changes.rulebook import LAYER_NORM, RMS_NORM, RuleBook
from vitscope.tracing.changes.rules import AttentionRule, Rules, scale_gradient
from vitscope.tracing.interception.attention_call import EagerInputs, FusedInputs
from vitscope.tracing.interception.explicit_attention import (
    MadeMatrices,
    Matrices,
    attend,
    can_be_explicit,
)
from vitscope.tracing.passes.request import PassRequest
from vitscope.tracing.site import AttentionSite


class PassSurgeon:
    """Implements ``interception.Surgeon`` for a model whose anatomy is known.

    ``block`` is set by the watch over the blocks; sites are told apart by (block, order within it), so that a
    resumed pass, which skips blocks, still finds the right one."""

    def __init__(
        self,
        anatomy: Anatomy,
        request: PassRequest,
        batch: int,
        grid_tap: Callable[[Any, Any], Any] | None = None,
    ) -> None:
        self.anatomy, self.layout, self.batch = anatomy, anatomy.layout, batch
        self.record, self.gradient, self.removal = request.record, request.gradient, request.removal
        self.rules = request.rules or Rules()
        self.book = RuleBook(self.rules) if request.gradient and request.rules is not None else None
        self.way = self.book.way if self.book else None
        self.heads = [a for a in request.ablations if isinstance(a, HeadAblation)]
        self.entries = [a for a in request.ablations if isinstance(a, EntryAblation)]
        self.factors = request.factors if request.factors and request.factors.at == "norm" else None
        self.keep_norms = request.capture.norms or self.factors is not None
        self.keep_outputs = request.gradient or request.capture.outputs
        self.keep_inputs = request.gradient or request.capture.inputs
        self.matrices = request.capture.matrices if request.record else Matrices.NONE
        self.grid_tap = grid_tap
        self.pooled = False
        """True when a pooling left removed tokens out."""
        self.block: int | None = None
        self.order = 0
        self.loose = 0
        self.sites: dict[int, AttentionSite] = {}
        self.norm_tokens: dict[int, Tensor] = {}
        self._loose_sites = [site for site in anatomy.sites if site.block is None]

    # ---- called when blocks start and end ------------------------------------------------------------------------
    def enter_block(self, block: int, inputs: list[Tensor]) -> None:
        """Block ``block`` starts."""
        self.block, self.order = block, 0
        if self.book:
            self.book.enter_block(inputs)

    def leave_block(self) -> None:
        """The current block is done."""
        whole = self.block is None or self.anatomy.blocks[self.block].whole
        self.block = None
        if self.book:
            self.book.leave_block(whole)

    @property
    def attention_alone(self) -> bool:
        """True when no rule, capture or removal looks at anything but attention."""
        masks = self.removal is not None and self.removal.mode == "mask"
        return not (self.book or self.grid_tap or self.keep_norms or masks)

    # ---- the interceptor's calls -----------------------------------------------------------------------------
    def attention_logits(self, logits: Tensor) -> Tensor:
        """An eager softmax's input: removed tokens get minus infinity as keys.

        A softmax over something else than tokens (a router's choice) has another length and stays as it is."""
        rule = self._attention_rule()
        if rule is not None and self.way is not None:
            logits = scale_gradient(logits, rule.logits * rule.probabilities, self.way)
        elif rule is not None:
            logits = scale_gradient(logits, rule.logits)
        if self.removal is None or self.removal.mode == "drop" or self.layout is None:
            return logits
        keep = self.removal.kept_keys(self.layout, logits.shape[-1], logits.device)
        return logits if keep is None else forbid(logits, _beside(keep, logits))

    def fused(self, inputs: FusedInputs, run: Callable[[FusedInputs], Tensor]) -> Tensor:
        """A fused attention call."""
        info = self._next_site()
        folded = (
            inputs.folded and info is not None and info.heads > 1 and info.kind in ("self", "class", "pool")
        )
        if folded and info is not None:
            inputs = inputs.unfolded(info.heads)
        inputs = self._mask(inputs, info)
        operated = self._rule_inputs(inputs)
        entries = self._entries_here(info)
        made: MadeMatrices | None = None
        if self._makes_matrices(info, operated) and not entries:
            output, made = attend(operated, self.matrices, self.gradient)
        else:
            output = self._by_entries(operated, entries) if entries else run(operated)
        output = self._start_graph(output)
        needed = self.keep_inputs or made is None
        self._keep(info, output, entries, fused=inputs if needed else None, eager=None, made=made)
        output = self._ablate(output, info)
        return output.flatten(0, 1).unsqueeze(1) if folded else output

    def eager(self, inputs: EagerInputs, run: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        """The product of an eager attention with its values."""
        info = self._next_site()
        attention, v = self._without_removed(inputs.attention, info), inputs.v
        entries = self._entries_here(info)
        for entry in entries:
            heads = info.heads if info is not None else 1
            four = attention if attention.dim() == 4 else attention.reshape(-1, heads, *attention.shape[-2:])
            attention = entry.apply(four).reshape(attention.shape)
        rule = self._attention_rule()
        used, values = attention, v
        if rule is not None:
            values = scale_gradient(v, rule.values, self.way)
            if self.way is None:  # else both factors lie on the logits
                used = scale_gradient(attention, rule.probabilities)
        output = self._start_graph(run(used, values))
        self._keep(info, output, [], fused=None, eager=EagerInputs(attention, inputs.attention_logits, v))
        return self._ablate(output, info)

    def other(
        self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], call: Callable[..., Any]
    ) -> Any:
        """Norms, activations, additions and poolings; everything else runs as it is."""
        if self._pools(func):
            assert self.layout is not None and self.removal is not None
            pooled = pool_without(func, args, kwargs, self.layout, self.removal, self.batch)
            if pooled is not None:
                self.pooled = True
                return pooled
        result = self.book.apply(func, args, kwargs, call) if self.book else call(*args, **kwargs)
        if self.grid_tap is not None and isinstance(result, Tensor):
            result = self.grid_tap(func, result)
        wants_norm = self.keep_norms and self.block is not None and self.block not in self.norm_tokens
        if wants_norm and self.block is not None and (func in LAYER_NORM or func in RMS_NORM):
            if self.factors is not None and self.factors.block == self.block and self.layout is not None:
                result = self.factors.apply(result, self.anatomy.blocks[self.block], self.layout)
            result = self._start_graph(result)
            self.norm_tokens[self.block] = result
        return result

    # ---- inside ----------------------------------------------------------------------------------------------
    def _pools(self, func: Any) -> bool:
        masks = self.removal is not None and self.removal.mode == "mask" and self.layout is not None
        return masks and self.block is None and func in POOLING

    def _next_site(self) -> SiteInfo | None:
        if self.book:
            self.book.saw_site()
        if self.block is None:
            info = self._loose_sites[self.loose] if self.loose < len(self._loose_sites) else None
            self.loose += 1
            return info
        own = self.anatomy.blocks[self.block].sites
        info = self.anatomy.sites[own[self.order]] if self.order < len(own) else None
        self.order += 1
        return info

    def _attention_rule(self) -> AttentionRule | None:
        return self.rules.attention if self.gradient else None

    def _rule_inputs(self, inputs: FusedInputs) -> FusedInputs:
        rule = self._attention_rule()
        if rule is None:
            return inputs
        factor = rule.logits * rule.probabilities
        return replace(
            inputs,
            q=scale_gradient(inputs.q, factor, self.way),
            k=scale_gradient(inputs.k, factor, self.way),
            v=scale_gradient(inputs.v, rule.values, self.way),
        )

    def _mask(self, inputs: FusedInputs, info: SiteInfo | None) -> FusedInputs:
        keep = self._kept_keys(inputs.k.shape[-2], inputs.k, info)
        if keep is None:
            return inputs
        mask = inputs.mask
        if inputs.causal:
            mask = torch.ones(
                inputs.q.shape[-2], inputs.k.shape[-2], dtype=torch.bool, device=keep.device
            ).tril()
        return replace(inputs, mask=combine_masks(mask, keep[:, None, None, :], inputs.q.dtype), causal=False)

    def _without_removed(self, attention: Tensor, info: SiteInfo | None) -> Tensor:
        """An eager attention whose removed keys are zero even where something was added after the softmax."""
        keep = self._kept_keys(attention.shape[-1], attention, info)
        return attention if keep is None else attention.masked_fill(~_beside(keep, attention), 0.0)

    def _kept_keys(self, length: int, like: Tensor, info: SiteInfo | None) -> Tensor | None:
        """Which keys of a site stay, (B, Nk); None where no removal reaches: before the blocks, or no removal."""
        if self.removal is None or self.removal.mode == "drop" or info is None or info.kind == "other":
            return None
        assert self.layout is not None
        keep = self.removal.kept_keys(self.layout, length, like.device)
        if keep is None:
            raise TraceError(
                f"token removal found {length} keys where {self.layout.describe()} was expected; use a pixel removal"
            )
        return keep

    def _entries_here(self, info: SiteInfo | None) -> list[EntryAblation]:
        if info is None or info.block is None:
            return []
        return [entry for entry in self.entries if entry.block == info.block]

    def _makes_matrices(self, info: SiteInfo | None, inputs: FusedInputs) -> bool:
        wanted = bool(self.matrices) and info is not None and info.block is not None
        return wanted and info.kind in ("self", "class") and can_be_explicit(inputs)  # type: ignore[union-attr]

    @staticmethod
    def _by_entries(inputs: FusedInputs, entries: list[EntryAblation]) -> Tensor:
        attention = torch.softmax(inputs.attention_logits(slice(None)), -1)
        for entry in entries:
            attention = entry.apply(attention)
        return attention.to(inputs.v.dtype) @ inputs.repeated(inputs.v)

    def _ablate(self, output: Tensor, info: SiteInfo | None) -> Tensor:
        if info is None or info.block is None:
            return output
        for ablation in self.heads:
            four = output if output.dim() == 4 else output.reshape(-1, info.heads, *output.shape[-2:])
            output = ablation.apply(four, info.block).reshape(output.shape)
        return output

    def _start_graph(self, output: Tensor) -> Tensor:
        if self.gradient and not output.requires_grad:
            return output.detach().requires_grad_()
        return output

    def _keep(
        self,
        info: SiteInfo | None,
        output: Tensor,
        entries: list[EntryAblation],
        fused: FusedInputs | None,
        eager: EagerInputs | None,
        made: MadeMatrices | None = None,
    ) -> None:
        if not self.record or info is None:
            return
        class_query: int | None = None
        if info.kind == "class":
            class_query = 0
        elif info.kind == "self" and self.layout is not None and info.queries == self.layout.tokens:
            class_query = self.layout.class_index
        self.sites[info.index] = AttentionSite(
            info,
            fused,
            eager,
            output if self.keep_outputs else None,
            class_query,
            entries=tuple(entries),
            made=made,
        )


def _beside(keep: Tensor, matrix: Tensor) -> Tensor:
    """(B, Nk) brought to the axes of an attention matrix (B, H, Nq, Nk) or (B * H, Nq, Nk)."""
    if matrix.shape[0] != keep.shape[0] and keep.shape[0] != 1:
        keep = keep.repeat_interleave(matrix.shape[0] // keep.shape[0], 0)
    return keep.reshape(keep.shape[0], *[1] * (matrix.dim() - 2), keep.shape[1])
