"""A trace: one forward and, when asked, one backward of a batch, with every attention call in hand."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from vitscope.errors import TraceError
from vitscope.models.preparing.cells import Cells
from vitscope.tracing.calls.blocks import replace_first
from vitscope.tracing.calls.calling import batch_of, pictures_of
from vitscope.tracing.changes.rules import Rules
from vitscope.tracing.passes.answers import require_way_back
from vitscope.tracing.passes.backward import Gradients
from vitscope.tracing.passes.forward_pass import PassRecord
from vitscope.tracing.passes.kept_tensors import KeptTensors
from vitscope.tracing.passes.readout import TokensRead
from vitscope.tracing.passes.request import Capture, PassRequest
from vitscope.tracing.picture_keys import content_keys
from vitscope.tracing.site import AttentionSite
from vitscope.tracing.targets.resolved import ResolvedTarget
from vitscope.tracing.targets.target import Target
from vitscope.tracing.traced_model import TracedModel


@dataclass(frozen=True, eq=False)
class ExplainedScore:
    """What a trace explains: the target, the same made definite on the batch, and its scores (B,) in the graph.

    resolved and values are None where the target is a class and the model has no classifier."""

    target: Target | None
    resolved: ResolvedTarget | None = None
    values: Tensor | None = None


class Trace(KeptTensors):
    """What one pass over a batch showed. Made by ``Vit.trace``.

    Block tensors and their gradients are there when the capture asked for them; asking otherwise raises TraceError.

    Attributes:
        logits: (B, C), float32, of the pass.
        target: What is explained; ``resolved`` is the same, made definite on this batch.
        anatomy: The model's anatomy at the size of these inputs.
        model: The opened model as this trace knows it.
        request: What the pass was asked to keep and to change.

    Example:
        >>> import vitscope as vs
        >>> trace = vs.open_model("bundled/shapes").trace(vs.worlds.world("shapes").sample(2, seed=1).pictures)
        >>> trace
        <Trace of 2 inputs through bundled/shapes: 6 sites, gradient of top1>
        >>> trace.classes.tolist(), [round(score, 1) for score in trace.scores.tolist()]
        ([7, 4], [9.3, 2.7])
        >>> trace.layout.to_grid(trace.sites[-1].cls_attention()).shape  # (B, heads, h, w)
        torch.Size([2, 4, 12, 12])
    """

    def __init__(
        self,
        model: TracedModel,
        request: PassRequest,
        record: PassRecord,
        score: ExplainedScore,
        gradients: Gradients | None = None,
        keys: tuple[str, ...] | None = None,
        ordinary: Gradients | None = None,
    ) -> None:
        super().__init__(model.anatomy, request, record, gradients)
        self.model, self.target, self.resolved = model, score.target, score.resolved
        self._keys, self._explained, self._ordinary = keys, score, ordinary
        self._scores = score.values.detach().float() if score.values is not None else None
        self.logits = record.logits.detach().float()
        self._sites: dict[int, AttentionSite] = {}
        for index, site in record.sites.items():
            gradient = gradients.sites.get(index) if gradients else None
            if gradients is not None and gradient is None:
                gradient = torch.zeros_like(site.with_graph())
            made = gradients.matrices.get(index) if gradients else None
            self._sites[index] = replace(site, raw_gradient=gradient, from_gradient=made)
        self._read = TokensRead(
            self.anatomy,
            record.inputs,
            self.target,
            gradients,
            self.capture.streams,
            self.pool,
            self.logits.device,
        )

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
    def capture(self) -> Capture:
        """What was kept beside the attention sites."""
        return self.request.capture

    @property
    def rules(self) -> Rules | None:
        """The backward rules of the pass, None for the plain gradient."""
        return self.request.rules

    @property
    def output(self) -> Any:
        """The model's raw output."""
        return self._record.output

    @property
    def precision(self) -> str:
        """What the pass ran in: float32, bf16 or fp16."""
        return self._record.precision

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

    @property
    def ordinary(self) -> Trace:
        """The same pass with the ordinary gradient, where the rules' ``ordinary_too`` asked for it beside their own.

        Raises TraceError when they did not."""
        if self._ordinary is None:
            raise TraceError(
                "this trace has no ordinary gradient beside that of its rules; take it with "
                "rules=constant_gate(..., ordinary_too=True)"
            )
        request = replace(self.request, rules=None)
        return Trace(self.model, request, self._record, self._explained, self._ordinary, self._keys)

    def note_on_gradient(self) -> str | None:
        """Say which blocks the gradient does not reach; None when it reaches all.

        Returns:
            One line, or None.

        Raises:
            AnswerError: It reaches no block at all although the score has one; the pictures are named.
        """
        if self._gradients is None or self.target is None:
            return None
        return require_way_back(
            self.model.source, self.target.describe(), self.sites, self.batch, self._gradients.logits
        )

    @contextmanager
    def shared(self) -> Iterator[None]:
        """Let methods that run meanwhile take from each other what several of them make of a site's matrices."""
        for site in self._sites.values():
            site.shared = {}
        try:
            yield
        finally:
            for site in self._sites.values():
                site.shared = None

    def raw_blocks(self) -> tuple[tuple[Any, ...], Tensor | None] | None:
        """What every block returned, as it lays it out, and the tokens that entered the first, None where it takes
        several tensors; outside of any graph. None where a block returned no tokens; needs a capture of streams."""
        record = self._need("streams")
        if any(block.index not in record.raw_outputs for block in self.anatomy.blocks):
            return None
        outputs = tuple(
            replace_first(record.raw_outputs[b.index], record.block_outputs[b.index].detach())
            for b in self.anatomy.blocks
        )
        entering = record.block_inputs[0]
        return outputs, entering[0].detach() if len(entering) == 1 else None

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

    def site_of_call(self, index: int) -> AttentionSite | None:
        """The attention call of that index in the anatomy, None when it was not seen."""
        return self._sites.get(index)

    @property
    def read_block(self) -> int:
        """The block after which the score reads the tokens: the last one, but for targets on a hidden state."""
        found = self._read.of_target()
        return len(self.anatomy.blocks) - 1 if found is None else found.block

    def describe_readout(self) -> str | None:
        """Say in words which tokens the score reads; None when the classifier's own, or when it cannot be found out."""
        try:
            found = self._read.of_target()
        except TraceError:
            return None
        return None if found is None else found.describe(self.anatomy, self.layout)

    def readout(self) -> Tensor:
        """Weigh the tokens that the score reads, per picture: the row a rollout starts from.

        For a class it is what the classifier reads: one-hot for a class token, half each for class and distillation
        token, uniform over the patches for mean pooling, the pooling's attention (mean over heads and queries) for
        attention pooling. For any other target, and for inputs with attention masks of their own, it comes from where
        the target's gradient enters the residual stream.

        Returns:
            Weights (B, N), which add up to one over the tokens.

        Raises:
            TraceError: It cannot be found out, or the target reads the tokens after several blocks.

        Example:
            >>> import vitscope as vs
            >>> trace = vs.open_model("bundled/shapes").trace(vs.worlds.world("shapes").sample(2, seed=1).pictures)
            >>> trace.readout()[0, :3].tolist()  # the class token alone
            [1.0, 0.0, 0.0]
        """
        return self._read.weights()
