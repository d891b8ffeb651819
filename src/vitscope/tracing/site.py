"""One attention call as it was seen: q, k, v, the output T and, after a backward, dT.

The attention matrix of a fused call is never kept. It is rebuilt exactly when asked for, in float32, from
A_h = softmax(scale * q_h k_h^T + mask), and the gradient of the score with respect to it is G_h = dT_h v_h^T.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from vitscope.errors import TraceError
from vitscope.models.anatomy import SiteInfo
from vitscope.tracing.calls.callers_switches import unaffected
from vitscope.tracing.changes.ablation import EntryAblation
from vitscope.tracing.interception.attention_call import ALL, EagerInputs, FusedInputs

CHUNK_ELEMENTS = 2**24
"""Rebuilt attention is made in query chunks of at most this many elements where only a reduction is needed."""
CACHED_ELEMENTS = 2**19
"""On a CPU one step of such a reduction is of at most this many (2 MB of float32), which then stay in the cache."""


@dataclass
class AttentionSite:
    """One attention call of one forward pass.

    Shapes: q (B, H, Nq, d), k and v (B, H, Nk, d), output T (B, H, Nq, d) before any head ablation,
    ``output_gradient`` the same as T. ``class_query`` is the row of the class token among the queries.
    """

    info: SiteInfo
    fused: FusedInputs | None
    eager: EagerInputs | None
    raw_output: Tensor
    class_query: int | None = None
    raw_gradient: Tensor | None = field(default=None, repr=False)
    entries: tuple[EntryAblation, ...] = ()
    shared: dict[str, Tensor] | None = field(default=None, repr=False, compare=False)
    """What one method found and others can use, by name, while several run on this trace; None for one alone."""

    def __repr__(self) -> str:
        i = self.info
        return f"AttentionSite({i.path!r}, {i.kind}, heads={self.heads}, queries={self.queries}, keys={self.keys})"

    # ---- tensors ---------------------------------------------------------------------------------------------
    @property
    def q(self) -> Tensor:
        """Queries after q/k-norm and rotary embedding, (B, H, Nq, d); only fused calls show them."""
        return self._four(self._fused("queries").q.detach())

    @property
    def k(self) -> Tensor:
        """Keys, (B, H, Nk, d), repeated over query groups; only fused calls show them."""
        fused = self._fused("keys")
        return self._four(fused.repeated(fused.k).detach())

    @property
    def v(self) -> Tensor:
        """Values, (B, H, Nk, d)."""
        if self.fused is not None:
            return self._four(self.fused.repeated(self.fused.v).detach())
        assert self.eager is not None
        return self._four(self.eager.v.detach())

    @property
    def output(self) -> Tensor:
        """T = A v, (B, H, Nq, d), before any head ablation."""
        return self._four(self.raw_output.detach())

    @property
    def output_gradient(self) -> Tensor | None:
        """dT, the gradient of the summed scores at T, (B, H, Nq, d); None before a backward."""
        return None if self.raw_gradient is None else self._four(self.raw_gradient)

    @property
    def heads(self) -> int:
        """Number of query heads H."""
        return self._matrix_shape()[1]

    @property
    def queries(self) -> int:
        """Number of queries Nq."""
        return self._matrix_shape()[2]

    @property
    def keys(self) -> int:
        """Number of keys Nk."""
        return self._matrix_shape()[3]

    @property
    def batch(self) -> int:
        """Leading size; the pictures' batch for every kind but ``window``."""
        return self._matrix_shape()[0]

    # ---- matrices --------------------------------------------------------------------------------------------
    @unaffected
    def attention_logits(self, queries: slice | None = None, heads: slice | None = None) -> Tensor:
        """What the softmax was given: q k^T, scaled and masked, (B, h, q, Nk) float32, of some heads and queries."""
        return self._logits(queries or ALL, heads or ALL)

    @unaffected
    def attention(self, queries: slice | None = None, heads: slice | None = None) -> Tensor:
        """A = softmax(logits), what multiplies v: (B, h, q, Nk) float32, of the chosen heads and queries."""
        return self._attention(queries or ALL, heads or ALL)

    @unaffected
    def attention_gradient(self, queries: slice | None = None, heads: slice | None = None) -> Tensor:
        """G = dT v^T, the exact gradient of the summed scores at A: (B, h, q, Nk) float32, a tensor of its own."""
        return self._attention_gradient(queries or ALL, heads or ALL)

    @unaffected
    def row(self, query: int) -> Tensor:
        """One query's attention, (B, H, Nk) float32."""
        start = query % self.queries
        return self.attention(slice(start, start + 1))[:, :, 0]

    @unaffected
    def row_gradient(self, query: int) -> Tensor:
        """One query's row of G, (B, H, Nk) float32."""
        start = query % self.queries
        return self.attention_gradient(slice(start, start + 1))[:, :, 0]

    def cls_attention(self) -> Tensor:
        """The class token's attention, (B, H, Nk) float32, without building the matrix.

        Raises TraceError when the class token is not among this site's queries."""
        return self.row(self._class_query())

    def cls_gradient(self) -> Tensor:
        """The class token's row of G, (B, H, Nk) float32."""
        return self.row_gradient(self._class_query())

    def chunks(self) -> Iterator[slice]:
        """Query slices small enough that one chunk of the matrix stays below CHUNK_ELEMENTS."""
        B, H, Nq, Nk = self._matrix_shape()
        step = max(1, CHUNK_ELEMENTS // max(1, B * H * Nk))
        for start in range(0, Nq, step):
            yield slice(start, min(Nq, start + step))

    def strips(self, queries: slice = ALL) -> Iterator[slice]:
        """Slices of these queries (without a stride), of which one head's rows are few enough for one step."""
        B, _, Nq, Nk = self._matrix_shape()
        start, stop, _ = queries.indices(Nq)
        step = max(1, self._at_once() // max(1, B * Nk))
        for first in range(start, stop, step):
            yield slice(first, min(stop, first + step))

    @property
    def is_small(self) -> bool:
        """True when one head's matrices can be worked on at once; what is made of them can be kept (2 MB on a CPU)."""
        B, _, Nq, Nk = self._matrix_shape()
        return B * Nq * Nk <= min(CACHED_ELEMENTS, CHUNK_ELEMENTS)

    def attention_tiles(self, queries: slice = ALL) -> Iterator[tuple[slice, slice, Tensor]]:
        """A for these queries in parts to be worked on at once: (heads, queries, A (B, h, q, Nk) float32)."""
        for rows, heads in self._tiles(queries):
            yield heads, rows, self._attention(rows, heads)

    def attention_gradient_tiles(self, queries: slice = ALL) -> Iterator[tuple[slice, slice, Tensor]]:
        """G in the parts of ``attention_tiles``, each a tensor of its own."""
        for rows, heads in self._tiles(queries):
            yield heads, rows, self._attention_gradient(rows, heads)

    # ---- reductions of G that never hold G -------------------------------------------------------------------
    @unaffected
    def gradient_norm(self, order: int = 1) -> Tensor:
        """Per-head norm of G, (B, H) float32: sum|G| (order 1) or the Frobenius norm (order 2).

        Order 2 uses ||dT V^T||^2 = <dT^T dT, V^T V>, O(N d^2); order 1 goes through query chunks."""
        if order == 2:
            gradient, v = self._gradient().double(), self.v.double()
            square = (gradient.transpose(-2, -1) @ gradient * (v.transpose(-2, -1) @ v)).sum((-2, -1))
            return square.clamp_min(0).sqrt().float()
        if order != 1:
            raise TraceError(f"expected order 1 or 2 for the norm of the attention gradient, got {order}")
        total = torch.zeros(self.batch, self.heads, device=self.raw_output.device)
        for heads, _, gradient in self.attention_gradient_tiles(self._reached()):
            total[:, heads] += gradient.abs_().sum((-2, -1))
        return total

    @unaffected
    def value_gradient(self) -> Tensor:
        """dV = A^T dT, (B, H, Nk, d) float32, attention held constant."""
        gradient = self._gradient().float()
        total = torch.zeros_like(self.v, dtype=torch.float32)
        for queries in self.chunks():
            total += self.attention(queries).transpose(-2, -1) @ gradient[:, :, queries]
        return total

    # ---- inside ----------------------------------------------------------------------------------------------
    def _logits(self, queries: slice, heads: slice) -> Tensor:
        if self.fused is not None:
            with torch.no_grad():
                return self._four(self.fused.attention_logits(queries, heads))
        assert self.eager is not None
        return self._four(self.eager.attention_logits.detach())[:, heads, queries].float()

    def _attention(self, queries: slice, heads: slice) -> Tensor:
        if self.eager is not None:
            return self._four(self.eager.attention.detach())[:, heads, queries].float()
        attention = torch.softmax(self._logits(queries, ALL if self.entries else heads), dim=-1)
        for entry in self.entries:
            attention = entry.apply(attention, queries)
        return attention[:, heads] if self.entries else attention

    def _attention_gradient(self, queries: slice, heads: slice) -> Tensor:
        gradient = self._gradient()[:, heads, queries].float()
        v = (
            self.v[:, heads]
            if self.fused is None
            else self._four(self.fused.of_heads(self.fused.v.detach(), heads))
        )
        if gradient.shape[1] > 1:  # see FusedInputs.attention_logits
            gradient, v = gradient.contiguous(), v.contiguous()
        return gradient @ v.float().transpose(-2, -1)

    def _tiles(self, queries: slice) -> Iterator[tuple[slice, slice]]:
        """(queries, heads) of parts of the matrix that are small enough to be worked on at once."""
        B, H, _, Nk = self._matrix_shape()
        for rows in self.strips(queries):
            step = max(1, self._at_once() // max(1, B * Nk * (rows.stop - rows.start)))
            for first in range(0, H, step):
                yield rows, slice(first, min(H, first + step))

    def _fused(self, what: str) -> FusedInputs:
        if self.fused is None:
            raise TraceError(
                f"{what} of '{self.info.path}' are not seen, it computes its softmax eagerly; "
                'load the model with attn_implementation="sdpa", or use attention_logits() and attention()'
            )
        return self.fused

    def _gradient(self) -> Tensor:
        gradient = self.output_gradient
        if gradient is None:
            raise TraceError("this trace has no gradient; take it with gradient=True")
        return gradient

    def _reached(self) -> slice:
        """The queries whose output the score depends on: in the last block of a class-token model that token alone."""
        gradient = self._gradient()
        if bool(gradient[:, :, -1:].any()):
            return ALL
        return span_of(gradient.transpose(1, 2).flatten(2).any(-1).any(0))

    def _at_once(self) -> int:
        """Elements of a matrix to work on at once."""
        on_cpu = self.raw_output.device.type == "cpu"
        return min(CACHED_ELEMENTS, CHUNK_ELEMENTS) if on_cpu else CHUNK_ELEMENTS

    def _class_query(self) -> int:
        if self.class_query is None:
            raise TraceError(
                f"'{self.info.path}' has no class token among its queries; use trace.readout() and attention()"
            )
        return self.class_query

    def _matrix_shape(self) -> tuple[int, int, int, int]:
        if self.fused is not None:
            q = self._four(self.fused.q)
            return q.shape[0], q.shape[1], q.shape[2], self.fused.k.shape[-2]
        assert self.eager is not None
        shape = self._four(self.eager.attention).shape
        return shape[0], shape[1], shape[2], shape[3]

    def _four(self, tensor: Tensor) -> Tensor:
        """A tensor of this site as (B, H, rows, columns), whatever way the model folded batch and heads."""
        if tensor.dim() == 3:
            return tensor.reshape(-1, max(1, self.info.heads), *tensor.shape[-2:])
        return tensor.flatten(0, tensor.dim() - 4) if tensor.dim() > 4 else tensor


def span_of(taken: Tensor) -> slice:
    """From the first to the last True of a mask (N,); empty where there is none."""
    places = taken.nonzero()[:, 0].tolist()
    return slice(places[0], places[-1] + 1) if places else slice(0, 0)
