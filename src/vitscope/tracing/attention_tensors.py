"""The tensors of one attention call, whatever way the model folded batch and heads: q, k, v, output, its gradient."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from vitscope.errors import TraceError
from vitscope.models.anatomy import SiteInfo
from vitscope.tracing.changes.ablation import EntryAblation
from vitscope.tracing.interception.attention_call import EagerInputs, FusedInputs
from vitscope.tracing.interception.explicit_attention import FromGradient, MadeMatrices


@dataclass
class AttentionTensors:
    """What was seen of one attention call, heads on an axis of their own.

    entries: the entries that were ablated. raw_output and raw_gradient: as the model laid them out; an output
    that was not kept is None."""

    info: SiteInfo
    fused: FusedInputs | None
    eager: EagerInputs | None
    raw_output: Tensor | None
    class_query: int | None = None
    raw_gradient: Tensor | None = field(default=None, repr=False)
    entries: tuple[EntryAblation, ...] = ()
    made: MadeMatrices | None = field(default=None, repr=False, compare=False)
    """Matrices of a call that was computed in its steps, as far as they were asked for."""
    from_gradient: FromGradient | None = field(default=None, repr=False, compare=False)
    """What was made of the gradient's matrix on the way back, likewise."""
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
        if self.eager is not None:
            return self._four(self.eager.v.detach())
        fused = self._fused("values")
        return self._four(fused.repeated(fused.v).detach())

    def with_graph(self) -> Tensor:
        """The output as the model laid it out, in the graph; every pass with a gradient keeps it."""
        assert self.raw_output is not None
        return self.raw_output

    @property
    def output_gradient(self) -> Tensor | None:
        """dT, the gradient of the summed scores at T, (B, H, Nq, d); None before a backward."""
        return None if self.raw_gradient is None else self._four(self.raw_gradient)

    @property
    def device(self) -> torch.device:
        """Where the tensors are."""
        if self.made is not None:
            return self.made.device
        return self.v.device if self.fused is None else self.fused.v.device

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

    # ---- inside ----------------------------------------------------------------------------------------------
    def _fused(self, what: str) -> FusedInputs:
        if self.made is not None and self.fused is None:
            raise TraceError(
                f"{what} of '{self.info.path}' were not kept; take the trace with capture=Capture(inputs=True)"
            )
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

    def _matrix_shape(self) -> tuple[int, int, int, int]:
        if self.made is not None:
            return self.made.shape
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
