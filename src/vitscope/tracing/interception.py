"""Intercept attention where it is computed.

``Interceptor`` is a ``TorchFunctionMode``: while it is active every call of ``scaled_dot_product_attention``, of
``multi_head_attention_forward`` and of an eager softmax followed by its product with the values passes through
``Surgeon.attend``. Modules are not replaced and not wrapped; when the ``with`` block ends nothing is left.

What happens at a site is the business of the ``Surgeon`` it is given (see ``tracing.surgeon``).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from vitscope.tracing.eager import CARRY, PRODUCT, SOFTMAX, EagerTracker, as_product, softmax_axis_is_last
from vitscope.tracing.site import EagerInputs, FusedInputs

FUSED = F.scaled_dot_product_attention


class Surgeon(Protocol):
    """What is done at each attention call, and which other functions get another form."""

    def scores(self, scores: Tensor) -> Tensor:
        """Called with the input of an eager softmax; returns what the softmax shall see."""

    def fused(self, inputs: FusedInputs, run: Callable[[FusedInputs], Tensor]) -> Tensor:
        """Called for a fused attention; returns its output."""

    def eager(self, inputs: EagerInputs, run: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        """Called for the product of an eager attention with its values; returns its output."""

    def other(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], call: Callable[..., Any]) -> Any:
        """Called for every other function; returns its result."""


class Interceptor(TorchFunctionMode):
    """Routes attention calls of the code under ``with`` to a surgeon."""

    def __init__(self, surgeon: Surgeon) -> None:
        super().__init__()
        self.surgeon = surgeon
        self.tracker = EagerTracker()

    def __torch_function__(
        self, func: Any, types: Iterable[type], args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is FUSED:
            return self._fused(*args, **kwargs)
        if func is F.multi_head_attention_forward:
            return self._multi_head(args, kwargs)
        if func in SOFTMAX:
            return self._softmax(func, args, kwargs)
        if func in PRODUCT:
            result = self._product(func, args)
            if result is not None:
                return result
        result = self.surgeon.other(func, args, kwargs, func)
        if func in CARRY:
            self.tracker.carry(args, result)
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
        single = query.dim() == 3
        if single:
            query, key, value = query.unsqueeze(1), key.unsqueeze(1), value.unsqueeze(1)
            attn_mask = attn_mask.unsqueeze(1) if attn_mask is not None and attn_mask.dim() == 3 else attn_mask
        true_scale = query.shape[-1] ** -0.5 if scale is None else scale
        if attn_mask is not None and attn_mask.dim() < 2:
            attn_mask = attn_mask.reshape(1, -1)
        inputs = FusedInputs(query, key, value, attn_mask, true_scale, is_causal)

        def run(i: FusedInputs) -> Tensor:
            mask, causal = i.mask, i.causal
            if mask is not None and causal:  # the kernel takes one or the other
                allowed = torch.ones(i.q.shape[-2], i.k.shape[-2], dtype=torch.bool, device=i.q.device).tril()
                mask, causal = combine_masks(mask, allowed, i.q.dtype), False
            grouped = i.q.shape[-3] != i.k.shape[-3]
            # the caller's own `scale` goes on (None lets the kernel choose), so values stay bit-equal
            return FUSED(i.q, i.k, i.v, mask, 0.0, causal, scale=scale, enable_gqa=grouped)

        result = self.surgeon.fused(inputs, run)
        return result.squeeze(1) if single else result

    def _multi_head(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """``F.multi_head_attention_forward`` arrives as one function; its inner attention is caught by wrapping
        ``F.scaled_dot_product_attention`` for this thread and the length of this call. The path with weights
        would go another way, so weights are computed here from what the inner call was given."""
        names = (
            "query key value embed_dim_to_check num_heads in_proj_weight in_proj_bias bias_k bias_v add_zero_attn "
            "dropout_p out_proj_weight out_proj_bias training key_padding_mask need_weights attn_mask"
        ).split()
        call = {**dict(zip(names, args, strict=False)), **kwargs}
        wanted = call.get("need_weights", True)
        average = call.get("average_attn_weights", True)
        unbatched = call["query"].dim() == 2
        call["need_weights"] = False
        call["dropout_p"] = 0.0
        seen: list[tuple[Any, ...]] = []
        thread = threading.get_ident()

        def inner(*inner_args: Any, **inner_kwargs: Any) -> Tensor:
            if threading.get_ident() != thread:
                return FUSED(*inner_args, **inner_kwargs)
            if wanted:
                mask = inner_args[3] if len(inner_args) > 3 else inner_kwargs.get("attn_mask")
                seen.append((inner_args[0].detach(), inner_args[1].detach(), mask))
            return self._fused(*inner_args, **inner_kwargs)

        before = F.scaled_dot_product_attention
        F.scaled_dot_product_attention = inner  # type: ignore[assignment]
        try:
            output, _ = F.multi_head_attention_forward(**call)
        finally:
            F.scaled_dot_product_attention = before
        weights = None
        if wanted and seen:
            q, k, mask = seen[-1]
            if mask is not None and mask.dim() < 2:
                mask = mask.reshape(1, -1)
            inputs = FusedInputs(q, k, k, mask, q.shape[-1] ** -0.5, False)
            weights = torch.softmax(inputs.scores(slice(None)), dim=-1).to(output.dtype)
            weights = weights.mean(1) if average else weights
            weights = weights.squeeze(0) if unbatched else weights
        return output, weights

    # ---- eager -----------------------------------------------------------------------------------------------
    def _softmax(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        scores = args[0] if args else kwargs.get("input")
        if not isinstance(scores, Tensor) or not softmax_axis_is_last(scores, args, kwargs):
            return func(*args, **kwargs)
        changed = self.surgeon.scores(scores)
        if args:
            args = (changed, *args[1:])
        else:
            kwargs = {**kwargs, "input": changed}
        probabilities: Tensor = func(*args, **kwargs)
        self.tracker.start(probabilities, changed)
        return probabilities

    def _product(self, func: Any, args: tuple[Any, ...]) -> Tensor | None:
        product = as_product(func, args)
        if product is None:
            return None
        attention, v, finish = product
        origin = self.tracker.origin(attention)
        if origin is None or attention.dim() < 3 or v.dim() < 3 or attention.shape[-1] != v.shape[-2]:
            return None
        return finish(self.surgeon.eager(EagerInputs(attention, origin.scores, v), torch.matmul))


def combine_masks(mask: Tensor | None, keep: Tensor, dtype: torch.dtype) -> Tensor:
    """An attention mask that also forbids where ``keep`` (bool, broadcastable) is False."""
    if mask is None:
        return keep
    if mask.dtype == torch.bool:
        return mask & keep
    return mask.to(dtype) + torch.zeros_like(keep, dtype=dtype).masked_fill(~keep, float("-inf"))
