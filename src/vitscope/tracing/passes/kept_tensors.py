"""What a pass kept beside attention, at the request of its capture: block tensors, norms, embedding, stages, pixels."""

from __future__ import annotations

from torch import Tensor

from vitscope.errors import TraceError
from vitscope.models.anatomy import Anatomy, BlockInfo
from vitscope.models.token_layout import TokenLayout
from vitscope.tracing.passes.backward import Gradients
from vitscope.tracing.passes.forward_pass import PassRecord, compose_tokens
from vitscope.tracing.passes.request import PassRequest


class KeptTensors:
    """The tensors of one pass and the gradients of its scores, each there when the capture asked for it.

    Asking for what was not kept raises TraceError."""

    def __init__(
        self, anatomy: Anatomy, request: PassRequest, record: PassRecord, gradients: Gradients | None
    ) -> None:
        self.anatomy, self.request = anatomy, request
        self._record, self._gradients = record, gradients

    @property
    def layout(self) -> TokenLayout:
        """Where the tokens lie. Raises TraceError when they lie on no single grid."""
        if self.anatomy.layout is None:
            raise TraceError(f"'{self.anatomy.source}': {self.anatomy.why_no_tokens()}")
        return self.anatomy.layout

    # ---- the residual stream ---------------------------------------------------------------------------------
    @property
    def block_inputs(self) -> list[Tensor]:
        """What entered each block, (B, N, D) each."""
        return [self._compose(self._need("streams").block_inputs[b.index], b) for b in self.anatomy.blocks]

    @property
    def block_outputs(self) -> list[Tensor]:
        """What left each block, (B, N, D) each ((B, 1, D) for a class-attention block)."""
        return [self._compose([self._need("streams").block_outputs[b.index]], b) for b in self.anatomy.blocks]

    @property
    def block_input_gradients(self) -> list[Tensor]:
        """Gradient of the scores at each block's input, (B, N, D) each."""
        gradients = self._need_gradient("streams")
        return [self._compose(gradients.block_inputs[b.index], b) for b in self.anatomy.blocks]

    @property
    def block_output_gradients(self) -> list[Tensor]:
        """Gradient of the scores at each block's output."""
        gradients = self._need_gradient("streams")
        return [self._compose([gradients.block_outputs[b.index]], b) for b in self.anatomy.blocks]

    @property
    def norm_tokens(self) -> list[Tensor]:
        """The first norm's output of each block, (B, N, D) each."""
        record = self._need("norms")
        self._check_norms(record)
        return [self._compose([record.norm_tokens[b.index]], b) for b in self.anatomy.blocks]

    @property
    def norm_gradients(self) -> list[Tensor]:
        """Gradient of the scores at the first norm's output of each block."""
        gradients = self._need_gradient("norms")
        self._check_norms(self._record)
        return [self._compose([gradients.norm_tokens[b.index]], b) for b in self.anatomy.blocks]

    @property
    def embedding(self) -> Tensor:
        """Patch embedding before positions are added, (B, P, D); the patches of the first block's input for a
        model whose patches are not made by a convolution."""
        return self._embedding(self._need("embedding").embedding, self._record.block_inputs)

    @property
    def embedding_gradient(self) -> Tensor:
        """Gradient of the scores at the patch embedding, (B, P, D)."""
        gradients = self._need_gradient("embedding")
        return self._embedding(gradients.embedding, gradients.block_inputs)

    @property
    def image_gradient(self) -> Tensor:
        """Gradient of the scores at the pixels, (B, 3, H, W)."""
        gradient = self._need_gradient("image").image
        if gradient is None:
            raise TraceError("the inputs of this trace are not pictures, so there is no pixel gradient")
        return gradient

    @property
    def stages(self) -> list[Tensor]:
        """The last feature map at each resolution, (B, C, h, w) each, finest first."""
        record = self._need("stages")
        return [s.as_map(record.stages[i]).detach() for i, s in enumerate(self.request.stages)]

    @property
    def stage_gradients(self) -> list[Tensor]:
        """Gradient of the scores at each stage's feature map."""
        gradients = self._need_gradient("stages")
        return [s.as_map(gradients.stages[i]) for i, s in enumerate(self.request.stages)]

    @property
    def stage_paths(self) -> list[str]:
        """The modules whose outputs are the stages."""
        return [stage.path for stage in self.request.stages]

    # ---- inside ----------------------------------------------------------------------------------------------
    def _embedding(self, grid: Tensor | None, block_inputs: dict[int, list[Tensor]]) -> Tensor:
        if grid is not None:
            return grid.detach().flatten(2).transpose(1, 2)
        tokens = self._compose(block_inputs[0], self.anatomy.blocks[0])
        return tokens[:, self.layout.patch_slice] if tokens.shape[1] == self.layout.tokens else tokens

    def _compose(self, tensors: list[Tensor], block: BlockInfo) -> Tensor:
        return compose_tokens([t.detach() for t in tensors], self.anatomy.layout, block)

    def _check_norms(self, record: PassRecord) -> None:
        missing = [b.path for b in self.anatomy.blocks if b.index not in record.norm_tokens]
        if missing:
            raise TraceError(
                f"no LayerNorm or RMSNorm was seen inside block '{missing[0]}'; "
                "name the modules that hold norm and attention with blocks="
            )

    def _need(self, what: str) -> PassRecord:
        if not getattr(self.request.capture, what):
            raise TraceError(f"this trace did not keep {what}; take it with capture=Capture({what}=True)")
        return self._record

    def _need_gradient(self, what: str) -> Gradients:
        self._need(what)
        if self._gradients is None:
            raise TraceError("this trace has no gradient; take it with gradient=True")
        return self._gradients
