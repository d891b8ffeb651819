"""A trace: one forward and, when asked, one backward of a batch, with every attention call in hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from vitscope.errors import TraceError
from vitscope.models.anatomy import Anatomy, BlockInfo, TokenLayout
from vitscope.models.preparing.cells import Cells
from vitscope.tracing.calls.calling import batch_of, pictures_of
from vitscope.tracing.changes.rules import Rules
from vitscope.tracing.passes.answers import require_way_back
from vitscope.tracing.passes.backward import Gradients
from vitscope.tracing.passes.forward_pass import Capture, PassRecord, compose_tokens
from vitscope.tracing.passes.readout import Readout, readout_of_score, reads_for_itself
from vitscope.tracing.passes.stages import Stage
from vitscope.tracing.picture_keys import content_keys
from vitscope.tracing.site import AttentionSite
from vitscope.tracing.targets.resolved import ResolvedTarget
from vitscope.tracing.targets.target import Target

if TYPE_CHECKING:
    from vitscope.tracing.vit import Vit


class Trace:
    """What one pass over a batch showed.

    ``logits`` (B, C) float32, ``classes`` (B,) the explained classes or None, ``scores`` (B,), ``sites`` one
    AttentionSite per block in order (several where a block has several), ``pool`` the pooling's own site or None.
    Block tensors and gradients are there when the capture asked for them; asking otherwise raises TraceError."""

    def __init__(
        self,
        vit: Vit,
        anatomy: Anatomy,
        record: PassRecord,
        target: Target | None,
        resolved: ResolvedTarget | None,
        scores: Tensor | None,
        gradients: Gradients | None,
        capture: Capture,
        rules: Rules | None,
        stages: Sequence[Stage] = (),
        keys: tuple[str, ...] | None = None,
    ) -> None:
        self.vit, self.anatomy = vit, anatomy
        self.target, self.resolved = target, resolved
        self.capture, self.rules = capture, rules
        self._record, self._gradients = record, gradients
        self._stages = tuple(stages)
        self._keys = keys
        self._scores = scores.detach().float() if scores is not None else None
        self.logits = record.logits.detach().float()
        self._read: Readout | None = None
        self._sites: dict[int, AttentionSite] = {}
        for index, site in record.sites.items():
            gradient = gradients.sites.get(index) if gradients else None
            if gradients is not None and gradient is None:
                gradient = torch.zeros_like(site.raw_output)
            self._sites[index] = replace(site, raw_gradient=gradient)

    def __repr__(self) -> str:
        asked = self.target.describe() if self.target is not None else ""
        gradient = f"gradient of {asked}" if self._gradients is not None else "no gradient"
        return f"<Trace of {self.batch} inputs through {self.anatomy.source}: {len(self.sites)} sites, {gradient}>"

    # ---- what was run ----------------------------------------------------------------------------------------
    @property
    def images(self) -> Tensor:
        """The pictures as the model saw them, (B, 3, H, W)."""
        pictures = pictures_of(self._record.inputs)
        if pictures is None:
            raise TraceError("this trace is of no single tensor of pictures; its inputs are in trace.inputs")
        return pictures.detach()

    @property
    def cells(self) -> Cells:
        """The patches on the pixels; cells of 1/32 of the picture for tokens that lie on no single grid."""
        size = (int(self.images.shape[-2]), int(self.images.shape[-1]))
        if self.anatomy.layout is not None:
            return self.anatomy.layout.cells_at(size)
        return Cells.even((max(1, size[0] // 32), max(1, size[1] // 32)), size)

    @property
    def inputs(self) -> Any:
        """What the model was given: the pictures, or a mapping of tensors."""
        return self._record.inputs

    @property
    def batch(self) -> int:
        """Number of pictures B."""
        return batch_of(self._record.inputs)

    @property
    def keys(self) -> tuple[str, ...]:
        """One text per picture, what its random draws depend on: as given to ``Vit.trace``, else by its content."""
        if self._keys is None:
            self._keys = content_keys(self._record.inputs)
        return self._keys

    @property
    def output(self) -> Any:
        """The model's raw output."""
        return self._record.output

    @property
    def precision(self) -> str:
        """What the pass ran in: float32, bf16 or fp16."""
        return self._record.precision

    @property
    def layout(self) -> TokenLayout:
        """Where the tokens lie. Raises TraceError when they lie on no single grid."""
        if self.anatomy.layout is None:
            raise TraceError(f"'{self.anatomy.source}': {self.anatomy.why_no_tokens()}")
        return self.anatomy.layout

    @property
    def classes(self) -> Tensor | None:
        """The explained class of each picture, (B,), None for a target without classes."""
        return self.resolved.classes if self.resolved else None

    @property
    def scores(self) -> Tensor:
        """The explained score of each picture, (B,) float32."""
        if self._scores is None:
            raise TraceError("this trace was taken without a target")
        return self._scores

    @property
    def has_gradient(self) -> bool:
        """True when a backward was run."""
        return self._gradients is not None

    def note_on_gradient(self) -> str | None:
        """What has to be said of a gradient that does not reach every block, None when nothing.

        Raises AnswerError, naming the pictures, when it reaches none although the score has one."""
        if self._gradients is None or self.target is None:
            return None
        return require_way_back(
            self.vit.source, self.target.describe(), self.sites, self.batch, self._gradients.logits
        )

    # ---- attention -------------------------------------------------------------------------------------------
    @property
    def sites(self) -> list[AttentionSite]:
        """The attention calls inside blocks, in order."""
        return [self._sites[i] for i in sorted(self._sites) if self._sites[i].info.block is not None]

    @property
    def pool(self) -> AttentionSite | None:
        """The attention pooling's call, None when the model has none."""
        index = self.anatomy.pool_site
        return self._sites.get(index) if index is not None else None

    @property
    def read_block(self) -> int:
        """The block after which the score reads the tokens: the last one, but for targets on a hidden state."""
        found = self._target_readout()
        return len(self.anatomy.blocks) - 1 if found is None else found.block

    def describe_readout(self) -> str | None:
        """What the score reads in words, None when it is what the classifier reads or cannot be told."""
        try:
            found = self._target_readout()
        except TraceError:
            return None
        return None if found is None else found.describe(self.anatomy, self.layout)

    def readout(self) -> Tensor:
        """The row a rollout starts from, (B, N): what the score reads, per picture.

        For a class it is what the classifier reads: one-hot for a class token, half each for class and distillation
        token, uniform over the patches for mean pooling, the pooling's attention (mean over heads and queries) for
        attention pooling. For any other target, and for inputs with masks of their own, it comes from where the
        target's gradient enters the stream.

        Raises TraceError when it cannot be told, or when the target reads the tokens after several blocks."""
        found = self._target_readout()
        if found is None:
            return self._classifiers_readout()
        silent = found.weights.sum(1, keepdim=True) == 0
        return (
            torch.where(silent, self._classifiers_readout(), found.weights) if silent.any() else found.weights
        )

    def _classifiers_readout(self) -> Tensor:
        N = self.layout.tokens
        if self.pool is not None:
            row = self.pool.attention().mean((1, 2))
            if row.shape[-1] == self.layout.patches and row.shape[-1] != N:
                row = torch.nn.functional.pad(row, (self.layout.prefix_count, 0))
            return row
        if self.anatomy.readout is None:
            raise TraceError(
                f"what '{self.anatomy.source}' reads out of its tokens was not found; pass pooling= to open_model"
            )
        return torch.tensor(self.anatomy.readout, device=self.logits.device).expand(self.batch, N)

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
        return [s.as_map(record.stages[i]).detach() for i, s in enumerate(self._stages)]

    @property
    def stage_gradients(self) -> list[Tensor]:
        """Gradient of the scores at each stage's feature map."""
        gradients = self._need_gradient("stages")
        return [s.as_map(gradients.stages[i]) for i, s in enumerate(self._stages)]

    @property
    def stage_paths(self) -> list[str]:
        """The modules whose outputs are the stages."""
        return [stage.path for stage in self._stages]

    # ---- inside ----------------------------------------------------------------------------------------------
    def _target_readout(self) -> Readout | None:
        """What the target itself reads, where that may be something else than what the classifier reads."""
        if not reads_for_itself(self.target, self.inputs):
            return None
        pool, known = self.anatomy.pool_site, self._gradients
        if pool is not None and known is not None and bool(known.sites.get(pool, torch.zeros(())).any()):
            return None  # it reads through the model's own attention pooling
        if self._gradients is None or not self.capture.streams:
            if self.target is None or self.target.needs_classifier:
                return None
            raise TraceError(
                "which tokens this target reads shows only in its gradient along the stream; take the trace with "
                "gradient=True and capture=Capture(streams=True)"
            )
        if self._read is None:
            self._read = readout_of_score(self.anatomy, self.layout, self._gradients)
        return self._read

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
        if not getattr(self.capture, what):
            raise TraceError(f"this trace did not keep {what}; take it with capture=Capture({what}=True)")
        return self._record

    def _need_gradient(self, what: str) -> Gradients:
        self._need(what)
        if self._gradients is None:
            raise TraceError("this trace has no gradient; take it with gradient=True")
        return self._gradients
