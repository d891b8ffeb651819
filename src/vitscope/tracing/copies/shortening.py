"""The pieces that make a block do less: given tokens, a known attention output, an attention for the prefix alone."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from vitscope.tracing.calls.blocks import first_tensor, is_tokens
from vitscope.tracing.changes.ablation import EntryAblation, HeadAblation

ATTENTION: Any = F.scaled_dot_product_attention
NORMS: frozenset[Any] = frozenset({F.layer_norm, getattr(F, "rms_norm", F.layer_norm)})


class Reached(Exception):
    """Not an error: the attention output that was wanted is known, the rest of the pass is not wanted."""

    def __init__(self, output: Tensor) -> None:
        super().__init__("the wanted attention was reached")
        self.output = output


@dataclass(frozen=True)
class Watching(HeadAblation):
    """An ablation that takes nothing away and keeps every block's attention output (B, H, Nq, d)."""

    seen: dict[int, Tensor] = field(default_factory=dict)

    def apply(self, output: Tensor, block: int) -> Tensor:
        """The same tensor."""
        self.seen[block] = output.detach().clone()
        return output


@dataclass(frozen=True)
class StopAt(HeadAblation):
    """An ablation that ends the pass, by `Reached`, when it is asked to change the given block."""

    block: int = 0

    def apply(self, output: Tensor, block: int) -> Tensor:
        """The same tensor, or no return."""
        if block == self.block:
            raise Reached(output)
        return output


@dataclass(frozen=True)
class Given(HeadAblation):
    """An ablation that puts a known output (B, H, Nq, d), one per batch item, in the place of one block's."""

    block: int = 0
    output: Tensor | None = None

    def apply(self, output: Tensor, block: int) -> Tensor:
        """The known output in its block."""
        return self.output if block == self.block and self.output is not None else output


class PrefixQueries(TorchFunctionMode):
    """Fused attention is computed for the first `prefix` queries only; attention that is not fused passes by."""

    def __init__(self, prefix: int) -> None:
        super().__init__()
        self.prefix = prefix

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is not ATTENTION or len(args) < 3:
            return func(*args, **kwargs)
        given = list(args)
        given[0] = given[0][..., : self.prefix, :]
        if len(given) > 3:
            given[3] = self._rows(given[3])
        elif "attn_mask" in kwargs:
            kwargs = {**kwargs, "attn_mask": self._rows(kwargs["attn_mask"])}
        return func(*given, **kwargs)

    def _rows(self, mask: Tensor | None) -> Tensor | None:
        whole = mask is None or mask.dim() < 2 or mask.shape[-2] == 1
        return mask if whole or mask is None else mask[..., : self.prefix, :]


class KnownAttention(TorchFunctionMode):
    """Gives the first fused attention a known output.

    The projections and norms before it are not computed: they give NaN, so that a block which reads them for
    anything else shows it."""

    def __init__(self, output: Tensor) -> None:
        super().__init__()
        self.output = output
        self.before = True

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if self.before and func is ATTENTION:
            self.before = False
            return self.output
        if self.before and args and (func in NORMS or (func is F.linear and len(args) > 1)):
            width = args[1].shape[0] if func is F.linear else args[0].shape[-1]
            return args[0].new_full((1,), torch.nan).expand(*args[0].shape[:-1], width)
        return func(*args, **(kwargs or {}))


@dataclass
class Around:
    """What a block does instead of its own forward: the same on other tokens, under a mode, telling what passes."""

    forward: Callable[..., Any]
    width: int
    tokens: Tensor | None = None
    mode: AbstractContextManager[Any] | None = None
    entered: Callable[[Tensor], None] | None = None
    left: Callable[[Tensor], None] | None = None

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        given = list(args)
        slots: list[Any] = [i for i, a in enumerate(given) if is_tokens(a, self.width)]
        slots += [k for k, a in kwargs.items() if is_tokens(a, self.width)]
        slot = slots[0]
        if self.tokens is not None:
            if isinstance(slot, int):
                given[slot] = self.tokens
            else:
                kwargs = {**kwargs, slot: self.tokens}
        if self.entered is not None:
            self.entered(given[slot] if isinstance(slot, int) else kwargs[slot])
        with self.mode or nullcontext():
            output = self.forward(*given, **kwargs)
        tokens = first_tensor(output)
        if self.left is not None and tokens is not None:
            self.left(tokens)
        return output


def only_in(block: int, ablation: HeadAblation | EntryAblation | None) -> bool:
    """Whether heads of no other block are taken away."""
    if not isinstance(ablation, HeadAblation):
        return ablation is None
    taken = (ablation.keep != 1).flatten(0, -3).any(0).any(-1)
    return not bool((taken & (torch.arange(len(taken)) != block)).any())


def for_prefix(ablation: HeadAblation, prefix: int) -> HeadAblation:
    """The same ablation for the prefix queries alone."""
    means = ablation.replacement
    return HeadAblation(
        ablation.keep, means[:, :, :prefix] if means is not None and means.dim() == 4 else means
    )
