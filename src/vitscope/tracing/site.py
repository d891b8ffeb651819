"""One attention call as it was seen: q, k, v, the output T and, after a backward, dT.

The attention matrix of a fused call is never kept. It is rebuilt exactly when asked for, in float32, from
A_h = softmax(scale * q_h k_h^T + mask), and the gradient of the score with respect to it is G_h = dT_h v_h^T.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from vitscope.errors import TraceError
from vitscope.tracing.attention_tensors import AttentionTensors
from vitscope.tracing.calls.callers_switches import unaffected
from vitscope.tracing.interception.attention_call import ALL
from vitscope.tracing.interception.explicit_attention import add_to_mean, reached
from vitscope.tracing.matrix_parts import MatrixParts


class AttentionSite(AttentionTensors):
    """One attention call of one forward pass.

    Shapes: q (B, H, Nq, d), k and v (B, H, Nk, d), output T (B, H, Nq, d) before any head ablation,
    ``output_gradient`` the same as T. ``class_query`` is the row of the class token among the queries. "Keys" are
    attention keys here, never the names of pictures.

    Example:
        >>> import vitscope as vs
        >>> trace = vs.open_model("bundled/shapes").trace(vs.worlds.world("shapes").sample(2, seed=1).pictures)
        >>> site = trace.sites[0]
        >>> site
        AttentionSite('blocks.0.attn', self, heads=4, queries=145, keys=145)
        >>> (site.attention() @ site.v).allclose(site.output, atol=1e-4)
        True
    """

    @property
    def output(self) -> Tensor:
        """T = A v, (B, H, Nq, d), before any head ablation; made again in a trace that kept none."""
        if self.raw_output is None:
            v = self.v
            return torch.cat([(self.attention(q) @ v.float()).to(v.dtype) for q in self.chunks()], 2)
        return self._four(self.raw_output.detach())

    # ---- matrices --------------------------------------------------------------------------------------------
    @unaffected
    def attention_logits(self, queries: slice | None = None, heads: slice | None = None) -> Tensor:
        """Rebuild what the softmax was given: q k^T, scaled, minus infinity where a mask forbids a key.

        Args:
            queries: Which query rows; None takes all. The same for ``heads``.

        Returns:
            (B, h, q, Nk), float32, of the chosen heads and queries.
        """
        return self._logits(queries or ALL, heads or ALL)

    @unaffected
    def attention(self, queries: slice | None = None, heads: slice | None = None) -> Tensor:
        """Rebuild the attention A = softmax(attention logits), the matrix that multiplies v.

        Args:
            queries: Which query rows; None takes all. The same for ``heads``.

        Returns:
            (B, h, q, Nk), float32, of the chosen heads and queries; rows add up to one unless entries were ablated.
        """
        return self._attention(queries or ALL, heads or ALL)

    @unaffected
    def attention_gradient(self, queries: slice | None = None, heads: slice | None = None) -> Tensor:
        """Rebuild G = dT v^T, the exact gradient of the summed scores with respect to A.

        Args:
            queries: Which query rows; None takes all. The same for ``heads``.

        Returns:
            (B, h, q, Nk), float32, a tensor of its own, of the chosen heads and queries.

        Raises:
            TraceError: The trace has no gradient.
        """
        return self._attention_gradient(queries or ALL, heads or ALL)

    @unaffected
    def mean_attention(self, queries: slice | None = None) -> Tensor:
        """Give the mean of the attention A over the heads, as it was made in the pass or rebuilt.

        Args:
            queries: Which query rows; None takes all.

        Returns:
            (B, q, Nk), float32, of the chosen queries, not to be changed.
        """
        if self.made is not None and self.made.mean is not None:
            return self.made.mean[:, queries or ALL]
        attention = self._attention(queries or ALL, ALL)
        mean = torch.empty_like(attention[:, 0])
        for head in range(self.heads):
            add_to_mean(mean, attention[:, head], head, self.heads)
        return mean

    @property
    def knows_mean(self) -> bool:
        """True when ``mean_attention`` was made in the pass and costs nothing any more."""
        return self.made is not None and self.made.mean is not None

    @unaffected
    def row(self, query: int) -> Tensor:
        """One query's attention, (B, H, Nk) float32; ``query`` counts from 0, from the end when negative."""
        start = query % self.queries
        return self.attention(slice(start, start + 1))[:, :, 0]

    @unaffected
    def row_gradient(self, query: int) -> Tensor:
        """One query's row of G, (B, H, Nk) float32."""
        start = query % self.queries
        return self.attention_gradient(slice(start, start + 1))[:, :, 0]

    def cls_attention(self) -> Tensor:
        """Rebuild the class token's attention alone, without the rest of the matrix.

        Returns:
            (B, H, Nk), float32.

        Raises:
            TraceError: The class token is not among this site's queries.
        """
        return self.row(self._class_query())

    def cls_gradient(self) -> Tensor:
        """Rebuild the class token's row of G alone.

        Returns:
            (B, H, Nk), float32.

        Raises:
            TraceError: The class token is not among this site's queries, or the trace has no gradient.
        """
        return self.row_gradient(self._class_query())

    def chunks(self) -> Iterator[slice]:
        """Query slices small enough that one chunk of the matrix can be held."""
        return self._parts().chunks()

    def strips(self, queries: slice = ALL) -> Iterator[slice]:
        """Slices of these queries (without a stride), of which one head's rows are few enough for one step."""
        return self._parts().strips(queries)

    @property
    def is_small(self) -> bool:
        """True when one head's matrices can be worked on at once; what is made of them can be kept (2 MB on a CPU)."""
        return self._parts().of_one_head

    def attention_tiles(self, queries: slice = ALL) -> Iterator[tuple[slice, slice, Tensor]]:
        """A for these queries in parts to be worked on at once: (heads, queries, A (B, h, q, Nk) float32).

        A part may lie where the one before it lay, or be the trace's own: use it up before the next, unchanged."""
        for heads, rows, exponentials, sums in self.exponential_tiles(queries):
            yield heads, rows, exponentials if sums is None else exponentials.div_(sums[..., None])

    def exponential_tiles(self, queries: slice = ALL) -> Iterator[tuple[slice, slice, Tensor, Tensor | None]]:
        """The parts of ``attention_tiles`` as (heads, queries, E (B, h, q, Nk), Z (B, h, q)): A = E / Z, or E for None.

        Who multiplies rows with A divides the rows by Z, which is less than to divide E."""
        parts = self._parts()
        for rows, heads in parts.tiles(queries):
            if self.made is not None and self.made.attention is not None:
                yield heads, rows, self.made.attention[:, heads, rows], None
                continue
            if self.fused is None or self.entries:
                yield heads, rows, self._attention(rows, heads), None
                continue
            with torch.no_grad():
                logits = self._logits(rows, heads, parts.memory(rows, heads))
                logits.sub_(logits.amax(-1, keepdim=True)).exp_()
                sums = logits.sum(-1)
            yield heads, rows, logits, sums

    def attention_gradient_tiles(self, queries: slice = ALL) -> Iterator[tuple[slice, slice, Tensor]]:
        """G in the parts of ``attention_tiles``, to be changed at will and used up before the next."""
        parts = self._parts()
        for rows, heads in parts.tiles(queries):
            yield heads, rows, self._attention_gradient(rows, heads, parts.memory(rows, heads))

    # ---- reductions of G that never hold G -------------------------------------------------------------------
    @unaffected
    def gradient_norm(self, order: int = 1) -> Tensor:
        """Norm of G per head, without holding G.

        Args:
            order: 1 for the sum of |G|, through chunks of queries; 2 for the Frobenius norm, by
                ||dT V^T||^2 = <dT^T dT, V^T V> in O(N d^2).

        Returns:
            (B, H), float32.

        Raises:
            TraceError: Another order, or the trace has no gradient.
        """
        if order == 2:
            gradient, v = self._gradient().double(), self.v.double()
            square = (gradient.transpose(-2, -1) @ gradient * (v.transpose(-2, -1) @ v)).sum((-2, -1))
            return square.clamp_min(0).sqrt().float()
        if order != 1:
            raise TraceError(f"expected order 1 or 2 for the norm of the attention gradient, got {order}")
        if self.from_gradient is not None and self.from_gradient.norm is not None:
            return self.from_gradient.norm.clone()
        total = torch.zeros(self.batch, self.heads, device=self.device)
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
    def _logits(self, queries: slice, heads: slice, into: Tensor | None = None) -> Tensor:
        if self.eager is not None:
            return self._four(self.eager.attention_logits.detach())[:, heads, queries].float()
        with torch.no_grad():
            return self._four(self._fused("queries and keys").attention_logits(queries, heads, into))

    def _attention(self, queries: slice, heads: slice) -> Tensor:
        if self.eager is not None:
            return self._four(self.eager.attention.detach())[:, heads, queries].float()
        if self.made is not None and self.made.attention is not None:
            return self.made.attention[:, heads, queries].clone()
        attention = torch.softmax(self._logits(queries, ALL if self.entries else heads), dim=-1)
        for entry in self.entries:
            attention = entry.apply(attention, queries)
        return attention[:, heads] if self.entries else attention

    def _attention_gradient(self, queries: slice, heads: slice, into: Tensor | None = None) -> Tensor:
        gradient = self._gradient()[:, heads, queries].float()
        v = (
            self.v[:, heads]
            if self.fused is None
            else self._four(self.fused.of_heads(self.fused.v.detach(), heads))
        ).float()
        if into is not None and gradient.shape[1] == 1:
            torch.bmm(gradient[:, 0], v[:, 0].transpose(1, 2), out=into[:, 0])
            return into
        if (
            gradient.shape[1] > 1
        ):  # a product over several heads would copy them all the same, the values transposed
            gradient, v = gradient.contiguous(), v.contiguous()
        return gradient @ v.transpose(-2, -1)

    def _parts(self) -> MatrixParts:
        return MatrixParts(self._matrix_shape(), self.device)

    def _reached(self) -> slice:
        """The queries whose output the score depends on: in the last block of a class-token model that token alone."""
        return reached(self._gradient())

    def _class_query(self) -> int:
        if self.class_query is None:
            raise TraceError(
                f"'{self.info.path}' has no class token among its queries; use trace.readout() and attention()"
            )
        return self.class_query
