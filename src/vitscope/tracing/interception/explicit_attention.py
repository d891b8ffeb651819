"""Attention computed in its steps, so that matrices are there while they are made and need not be made again.

A fused kernel makes softmax(q k^T) and, on its way back, dT v^T, and shows neither. Where a method asks for them the
same is computed here on a CPU, one head of some pictures at a time in memory that stays in the cache:

    A = softmax(scale q k^T), T = A v;  G = dT v^T, dS = A (G - rowsum(G A)), dq = scale dS k, dk = scale dS^T q

Kept is what was asked for. A whole matrix, which the way back needs too, is made only where it is not larger than q,
k, v and T of the call together: so memory grows as the number of tokens does.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Flag, auto
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from vitscope.tracing.interception.attention_call import FusedInputs

CACHED_ELEMENTS = 2**19
"""The rows of one head are worked on for as many pictures as have at most this many entries (2 MB of float32)."""


class Matrices(Flag):
    """What is made of a call's matrices during the pass."""

    NONE = 0
    STEPS = auto()
    """Nothing, but the attention is computed in its steps, as with any of the others."""
    MEAN = auto()
    """The mean of A over the heads."""
    WHOLE = auto()
    """A itself."""
    NORM = auto()
    """The sum of |G| of each head."""
    POSITIVE = auto()
    """The mean of relu(G A) over the heads."""


@dataclass
class FromGradient:
    """What one way back made of G: ``norm`` (B, H), ``positive`` (B, Nq, Nk); None for what was not asked for."""

    norm: Tensor | None = None
    positive: Tensor | None = None


class MadeMatrices:
    """What one explicit call made, float32: ``attention`` (B, H, Nq, Nk), ``mean`` (B, Nq, Nk) of it over the heads."""

    def __init__(self, inputs: FusedInputs, wanted: Matrices) -> None:
        batch, heads, queries = inputs.q.shape[:3]
        self.shape: tuple[int, int, int, int] = (batch, heads, queries, inputs.k.shape[2])
        self.device = inputs.q.device
        self.wanted = wanted
        self.attention: Tensor | None = None
        self.mean: Tensor | None = None
        self._from_gradient: FromGradient | None = None

    def taken(self) -> FromGradient | None:
        """What the way back since the last time made, None where none came through."""
        found, self._from_gradient = self._from_gradient, None
        return found

    def forward(
        self, q: Tensor, k: Tensor, v: Tensor, scale: float, whole: bool
    ) -> tuple[Tensor, Tensor | None]:
        """T (B, H, Nq, d), which lies as (B, Nq, H, d), and A (H, B, Nq, Nk) when it is kept as a whole."""
        B, H, Nq, Nk = self.shape
        output = q.new_empty(B, Nq, H, v.shape[-1]).transpose(1, 2)
        kept = q.new_empty(H, B, Nq, Nk) if whole else None
        mean = self.mean = q.new_empty(B, Nq, Nk) if Matrices.MEAN in self.wanted else None
        spare = None if kept is not None else q.new_empty(min(B, self._at_once()), Nq, Nk)
        for some in self._pictures():
            for head in range(H):
                if kept is not None:
                    part = kept[head, some]
                else:
                    assert spare is not None
                    part = spare[: some.stop - some.start]
                torch.baddbmm(
                    part, q[some, head], k[some, head].transpose(1, 2), beta=0, alpha=scale, out=part
                )
                torch.softmax(part, -1, out=part)
                torch.bmm(part, v[some, head], out=output[some, head])
                if mean is not None:
                    add_to_mean(mean[some], part, head, H)
        if kept is not None and Matrices.WHOLE in self.wanted:
            self.attention = kept.transpose(0, 1)
        return output, kept

    def backward(
        self, gradient: Tensor, q: Tensor, k: Tensor, v: Tensor, kept: Tensor, scale: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        """(dq, dk, dv), each lying as (B, N, H, d), for dT; ``kept`` is A (H, B, Nq, Nk)."""
        rows = reached(gradient)
        dq, dk, dv = (
            t.new_empty(t.shape[0], t.shape[2], t.shape[1], t.shape[3]).transpose(1, 2) for t in (q, k, v)
        )
        if rows.stop - rows.start < q.shape[2]:
            dq.zero_()
        for some, head, attention, dT, part in self._gradients(gradient, v, kept, rows):
            torch.bmm(attention.transpose(1, 2), dT, out=dv[some, head])
            _softmax_backward(part, attention)
            into = dq[some, head, rows]
            torch.baddbmm(into, part, k[some, head], beta=0, alpha=scale, out=into)
            into = dk[some, head]
            torch.baddbmm(into, part.transpose(1, 2), q[some, head, rows], beta=0, alpha=scale, out=into)
        return dq, dk, dv

    def read(self, gradient: Tensor, v: Tensor) -> None:
        """Make of dT what the way back would, for a call through which none came: A was kept."""
        if self.attention is not None and self.wanted & (Matrices.NORM | Matrices.POSITIVE):
            for _ in self._gradients(gradient, v, self.attention.transpose(0, 1), reached(gradient)):
                pass

    def _gradients(
        self, gradient: Tensor, v: Tensor, kept: Tensor, rows: slice
    ) -> Iterator[tuple[slice, int, Tensor, Tensor, Tensor]]:
        """(pictures, head, A, dT, G) of these rows, part by part, G to be changed at will; makes what is wanted."""
        B, H, Nq, Nk = self.shape
        count = rows.stop - rows.start
        found = self._from_gradient = FromGradient()
        if Matrices.NORM in self.wanted:
            found.norm = gradient.new_zeros(B, H)
        if Matrices.POSITIVE in self.wanted:
            found.positive = gradient.new_empty(B, Nq, Nk) if count == Nq else gradient.new_zeros(B, Nq, Nk)
        own, spare = (gradient.new_empty(min(B, self._at_once()), count, Nk) for _ in range(2))
        for some in self._pictures():
            part, other = own[: some.stop - some.start], spare[: some.stop - some.start]
            for head in range(H):
                attention, dT = kept[head, some, rows], gradient[some, head, rows]
                torch.bmm(dT, v[some, head].transpose(1, 2), out=part)
                if found.norm is not None:
                    found.norm[some, head] = torch.abs(part, out=other).sum((1, 2))
                if found.positive is not None:
                    _add_positive(found.positive[some, rows], attention, part, other, head, H)
                yield some, head, attention, dT, part

    def _at_once(self) -> int:
        return max(1, CACHED_ELEMENTS // (self.shape[2] * self.shape[3]))

    def _pictures(self) -> Iterator[slice]:
        step = self._at_once()
        for first in range(0, self.shape[0], step):
            yield slice(first, min(self.shape[0], first + step))


def can_be_explicit(inputs: FusedInputs) -> bool:
    """Whether this call is plain attention in float32 on a CPU whose matrix is not larger than its tensors."""
    q, k, v = inputs.q, inputs.k, inputs.v
    if inputs.mask is not None or inputs.causal or q.dim() != 4 or k.dim() != 4 or v.dim() != 4:
        return False
    if any(
        t.device.type != "cpu" or t.dtype is not torch.float32 or type(t) is not Tensor for t in (q, k, v)
    ):
        return False
    if torch.is_autocast_enabled("cpu") or q.shape[:2] != k.shape[:2] or k.shape[:3] != v.shape[:3]:
        return False
    entries = q.shape[2] * k.shape[2]
    return entries * q.shape[0] * q.shape[1] > 0 and entries <= 2 * (q.shape[2] + k.shape[2]) * min(
        q.shape[3], v.shape[3]
    )


def attend(inputs: FusedInputs, wanted: Matrices, gradient: bool) -> tuple[Tensor, MadeMatrices]:
    """T of a call that :func:`can_be_explicit`, and what was made on the way. With ``gradient`` T is in the graph where
    q, k or v is; where none is, nothing will come back through this call, and A is kept for who makes G of dT."""
    q, k, v = inputs.q, inputs.k, inputs.v
    followed = gradient and (q.requires_grad or k.requires_grad or v.requires_grad)
    ends = gradient and not followed
    made = MadeMatrices(inputs, wanted | Matrices.WHOLE if ends else wanted)
    if followed:
        output: Tensor = _Explicit.apply(q, k, v, inputs.scale, made)
        return output, made
    with torch.no_grad():
        output, _ = made.forward(q, k, v, inputs.scale, whole=Matrices.WHOLE in made.wanted)
    return output, made


def add_to_mean(mean: Tensor, attention: Tensor, head: int, heads: int) -> None:
    """Add one head's part of the mean over heads, the first in place of what was there."""
    if head == 0:
        torch.mul(attention, 1 / heads, out=mean)
    else:
        mean.add_(attention, alpha=1 / heads)


def reached(gradient: Tensor) -> slice:
    """The queries from the first to the last with any gradient of dT (B, H, Nq, d); in the last block of a class-token
    model that token alone."""
    if bool(gradient[:, :, -1].any()):
        return slice(0, gradient.shape[2])
    return span_of(gradient.transpose(1, 2).flatten(2).any(-1).any(0))


def span_of(taken: Tensor) -> slice:
    """From the first to the last True of a mask (N,); empty where there is none."""
    places = taken.nonzero()[:, 0].tolist()
    return slice(places[0], places[-1] + 1) if places else slice(0, 0)


class _Explicit(torch.autograd.Function):
    """T = softmax(scale q k^T) v, by a :class:`MadeMatrices`, which also hears of the way back."""

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, scale: float, made: MadeMatrices) -> Tensor:
        output, kept = made.forward(q, k, v, scale, whole=True)
        ctx.save_for_backward(q, k, v, kept)
        ctx.scale, ctx.made = scale, made
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, kept = ctx.saved_tensors
        return (*ctx.made.backward(gradient, q, k, v, kept, ctx.scale), None, None)


def _add_positive(
    total: Tensor, attention: Tensor, gradient: Tensor, spare: Tensor, head: int, heads: int
) -> None:
    """Add relu(G A) / H of one head, the first in place of what was there; A is not negative, so it is A relu(G)."""
    torch.clamp_min(gradient, 0, out=spare)
    if head == 0:
        torch.mul(spare, attention, out=total).mul_(1 / heads)
    else:
        total.addcmul_(spare, attention, value=1 / heads)


def _softmax_backward(gradient: Tensor, attention: Tensor) -> None:
    """G becomes A (G - rowsum(G A)), where it lies."""
    torch.ops.aten._softmax_backward_data.out(gradient, attention, -1, torch.float32, grad_input=gradient)
