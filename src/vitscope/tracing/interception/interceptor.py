"""Intercept attention where it is computed.

``Interceptor`` is a ``TorchFunctionMode``: while it is active every call of ``scaled_dot_product_attention``, of
``multi_head_attention_forward`` and of an eager softmax followed by its product with the values passes through
a ``Surgeon``. Modules are not replaced and not wrapped; when the ``with`` block ends nothing is left.

What happens at a site is the business of the surgeon (see ``passes.surgeon``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from vitscope.tracing.interception.attention_call import EagerInputs, FusedInputs
from vitscope.tracing.interception.eager import (
    CARRY,
    PRODUCT,
    SOFTMAX,
    EagerTracker,
    as_product,
    softmax_axis,
)
from vitscope.tracing.interception.function_modes import PassMode
from vitscope.tracing.interception.multihead import FUSED, call_arguments, inner_attention

ATTENTION: frozenset[Any] = frozenset({FUSED, F.multi_head_attention_forward}) | SOFTMAX
"""Where an attention begins."""


class Surgeon(Protocol):
    """What is done at each attention call, and which other functions get another form."""

    def attention_logits(self, logits: Tensor) -> Tensor:
        """Called with the input of an eager softmax, keys last; returns what the softmax shall see."""

    def fused(self, inputs: FusedInputs, run: Callable[[FusedInputs], Tensor]) -> Tensor:
        """Called for a fused attention; returns its output."""

    def eager(self, inputs: EagerInputs, run: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        """Called for the product of an eager attention with its values; returns its output."""

    def other(
        self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], call: Callable[..., Any]
    ) -> Any:
        """Called for every other function; returns its result."""


class Interceptor(PassMode):
    """Routes attention calls of the code under ``with`` to a surgeon.

    ``attention_alone``: the surgeon's ``other`` would run every function as it is, so it is not asked."""

    def __init__(self, surgeon: Surgeon, *, attention_alone: bool = False) -> None:
        super().__init__()
        self.surgeon = surgeon
        self.tracker = EagerTracker()
        self.attention_alone = attention_alone

    def __torch_function__(
        self,
        func: Any,
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        if self.attention_alone and func not in ATTENTION and not self.tracker.follows:
            return func(*args, **kwargs) if kwargs else func(*args)
        kwargs = kwargs or {}
        if func is FUSED:
            return self._fused(*args, **kwargs)
        if func is F.multi_head_attention_forward:
            return self._multi_head(args, kwargs)
        if func in SOFTMAX:
            return self._softmax(func, args, kwargs)
        if func in PRODUCT:
            product = as_product(func, args, self.tracker)
            if product is not None:
                attention, logits, v, finish = product
                return finish(self.surgeon.eager(EagerInputs(attention, logits, v), torch.matmul))
        result = self.surgeon.other(func, args, kwargs, func)
        if func in CARRY:
            self.tracker.carry(func, args, kwargs, result)
        return result

    # ---- fused -----------------------------------------------------------------------------------------------
    def _fused(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        scale: float | None = None,
        enable_gqa: bool = False,
    ) -> Tensor:
        """Any call of the fused function, in the form (B, H, N, d). Dropout is off: passes are in evaluation mode."""
        dims = query.dim()
        if dims == 2:
            query, key, value = query[None], key[None], value[None]
        folded = query.dim() == 3
        if folded:
            query, key, value = query.unsqueeze(1), key.unsqueeze(1), value.unsqueeze(1)
            attn_mask = (
                attn_mask.unsqueeze(1) if attn_mask is not None and attn_mask.dim() == 3 else attn_mask
            )
        true_scale = query.shape[-1] ** -0.5 if scale is None else scale
        if attn_mask is not None and attn_mask.dim() < 2:
            attn_mask = attn_mask.reshape(1, -1)
        inputs = FusedInputs(query, key, value, attn_mask, true_scale, is_causal, folded)

        def run(i: FusedInputs) -> Tensor:
            grouped = i.q.shape[-3] != i.k.shape[-3]
            # the caller's own `scale` goes on (None lets the kernel choose), so values stay bit-equal
            return FUSED(i.q, i.k, i.v, i.mask, 0.0, i.causal, scale=scale, enable_gqa=grouped)

        result = self.surgeon.fused(inputs, run)
        result = result.squeeze(1) if folded else result
        return result[0] if dims == 2 else result

    def _multi_head(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The path with weights would go another way, so they are computed here from what the attention inside
        was given."""
        call = call_arguments(args, kwargs)
        wanted = call.get("need_weights", True)
        average = call.get("average_attn_weights", True)
        unbatched = call["query"].dim() == 2
        call["need_weights"] = False
        call["dropout_p"] = 0.0
        seen: list[FusedInputs] = []

        def inner(*inner_args: Any, **inner_kwargs: Any) -> Tensor:
            if wanted:
                names = ("query", "key", "value", "attn_mask", "dropout_p", "is_causal")
                given = {**dict(zip(names, inner_args, strict=False)), **inner_kwargs}
                q, k, mask = given["query"], given["key"], given.get("attn_mask")
                seen.append(FusedInputs(q, k, k, mask, q.shape[-1] ** -0.5, bool(given.get("is_causal"))))
            return self._fused(*inner_args, **inner_kwargs)

        with inner_attention(inner):
            output, _ = F.multi_head_attention_forward(**call)
        weights = None
        if wanted and seen:
            weights = torch.softmax(seen[-1].attention_logits(slice(None)), dim=-1).to(output.dtype)
            weights = weights.mean(1) if average else weights
            weights = weights.squeeze(0) if unbatched else weights
        return output, weights

    # ---- eager -----------------------------------------------------------------------------------------------
    def _softmax(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        logits = args[0] if args else kwargs.get("input")
        axis = softmax_axis(logits, args, kwargs) if isinstance(logits, Tensor) else None
        if axis is None or not isinstance(logits, Tensor):
            return func(*args, **kwargs)
        keys_last = logits if axis == -1 else logits.mT
        changed = self.surgeon.attention_logits(keys_last)
        given = logits if changed is keys_last else changed if axis == -1 else changed.mT
        if args:
            args = (given, *args[1:])
        else:
            kwargs = {**kwargs, "input": given}
        probabilities: Tensor = func(*args, **kwargs)
        self.tracker.start(probabilities, changed, axis)
        return probabilities
