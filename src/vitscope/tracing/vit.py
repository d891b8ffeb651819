"""``Vit``: the ways to look at an opened model: traces, forwards, scores, predictions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from vitscope.errors import TraceError
from vitscope.options.bounds import BatchSize, Precision
from vitscope.options.door import checked
from vitscope.pictures import Images
from vitscope.progress import CountedStage, Progress, watched
from vitscope.shown import drawn_by
from vitscope.tracing.calls.callers_switches import unaffected
from vitscope.tracing.calls.calling import batch_of, select
from vitscope.tracing.changes.ablation import Ablation, as_list
from vitscope.tracing.changes.removal import TokenRemoval
from vitscope.tracing.changes.rules import Rules
from vitscope.tracing.passes.answers import require_numbers
from vitscope.tracing.passes.forward_pass import run_pass
from vitscope.tracing.passes.request import Capture, PassRequest
from vitscope.tracing.picture_keys import check_keys
from vitscope.tracing.resumable_model import ResumableModel
from vitscope.tracing.shared_passes import SharedPasses
from vitscope.tracing.take import take_scores, take_traces
from vitscope.tracing.targets.parsing import TargetLike, parse_target
from vitscope.tracing.targets.resolved import ResolvedTarget
from vitscope.tracing.trace import Trace


class Vit(ResumableModel):
    """A vision transformer under the microscope: the ways to look at it. Made by ``open_model``.

    The wrapped model is never changed: modes, flags, hooks and gradients are as before after every call, also
    after an error. Pictures come as paths, Pillow images, arrays or a ready tensor (B, 3, H, W); text models take
    a mapping of tensors (``input_ids``, ``attention_mask``).

    Example:
        >>> import vitscope as vs
        >>> vit = vs.open_model("bundled/shapes")
        >>> vit
        Vit('bundled/shapes', vit, float32 on cpu)
        >>> vit.anatomy.layout.describe(), len(vit.anatomy.blocks), vit.anatomy.heads
        ('class + 12x12 patches = 145 tokens', 6, 4)
    """

    made_by: ClassVar[str] = "vs.open_model"
    shared: SharedPasses | None = None
    """The passes of one batch that are shared now, see :func:`vitscope.tracing.sharing_traces`."""

    def _repr_html_(self) -> str:
        return str(drawn_by("models", "vit_html")(self))

    # ---- looking ---------------------------------------------------------------------------------------------
    @checked(TraceError)
    @unaffected
    def trace(
        self,
        images: Images,
        target: TargetLike = None,
        *,
        gradient: bool = True,
        rules: Rules | None = None,
        capture: Capture | None = None,
        ablation: Ablation | Sequence[Ablation] | None = None,
        removal: TokenRemoval | None = None,
        precision: Precision | None = None,
        keys: Sequence[str] | None = None,
    ) -> Trace:
        """Run one forward of the batch and, with ``gradient``, one backward from the target's summed scores.

        Inside a caller's ``torch.inference_mode`` the pass leaves that mode for its own length; its results are
        ordinary tensors.

        Args:
            images: Pictures in any form, or the model's arguments by name.
            target: What is explained: None (the prediction), a class number, a text such as ``"top2"``, a function of
                the output, one target for each picture; see ``parse_target``.
            gradient: Whether a backward is run.
            rules: Another way back through norms, activations and attention; forward values stay the same.
            capture: What to keep beside the attention sites.
            ablation: Heads or single attention entries that are switched off.
            removal: Patch tokens that are taken away.
            precision: ``float32``, ``bf16`` or ``fp16`` for this pass in place of the model's own.
            keys: One text per picture, on which random draws depend; None takes the pictures' contents.

        Returns:
            The trace: logits (B, C), scores (B,), and one ``AttentionSite`` for each attention call of a block.

        Raises:
            PictureError: A picture cannot be read.
            TargetError: The target does not fit the model, or it has no classifier and no target is given.
            AnswerError: The model answers with numbers that are not finite.
            TraceError: The score depends on no attention that was seen, or an ablation does not fit the model.

        Example:
            >>> import vitscope as vs
            >>> vit = vs.open_model("bundled/shapes")
            >>> trace = vit.trace(vs.worlds.world("shapes").sample(2, seed=1).pictures, target="top1")
            >>> trace.classes.tolist(), tuple(trace.sites[0].attention().shape)
            ([7, 4], (2, 4, 145, 145))
        """
        return self.traces(
            images,
            [target],
            gradient=gradient,
            rules=rules,
            capture=capture,
            ablation=ablation,
            removal=removal,
            precision=precision,
            keys=keys,
        )[0]

    @checked(TraceError)
    @unaffected
    def traces(
        self,
        images: Images,
        targets: Sequence[TargetLike],
        *,
        gradient: bool = True,
        rules: Rules | None = None,
        capture: Capture | None = None,
        ablation: Ablation | Sequence[Ablation] | None = None,
        removal: TokenRemoval | None = None,
        precision: Precision | None = None,
        keys: Sequence[str] | None = None,
    ) -> list[Trace]:
        """Run one forward shared by several targets, and one backward for each.

        Args:
            images: As for ``trace``, and so are the options.
            targets: What is explained, one trace each.

        Returns:
            One trace per target, in their order.

        Raises:
            TargetError: And the other errors of ``trace``.

        Example:
            >>> import vitscope as vs
            >>> vit = vs.open_model("bundled/shapes")
            >>> first, second = vit.traces(vs.worlds.world("shapes").sample(2, seed=1).pictures, ["top1", "top2"])
            >>> bool((first.scores > second.scores).all())
            True
        """
        asked = [parse_target(target).bind(self) for target in targets]
        inputs = self.inputs(images)
        named = None if keys is None else check_keys(keys, batch_of(inputs))
        model = self._traced(inputs)
        kept = capture or Capture()
        request = PassRequest(
            precision=precision or self.precision,
            gradient=gradient,
            capture=kept,
            rules=rules,
            ablations=as_list(ablation),
            removal=removal,
            stages=self.stages_for(inputs) if kept.stages else (),
        )
        if self.shared is not None and self.shared.serves(inputs, request):
            return self.shared.traces(model, asked, request, named)
        return take_traces(model, inputs, asked, request, named)

    @checked(TraceError)
    @unaffected
    def forward(
        self,
        images: Images,
        *,
        ablation: Ablation | Sequence[Ablation] | None = None,
        removal: TokenRemoval | None = None,
    ) -> Tensor:
        """Run one forward of one batch without gradient.

        Args:
            images: Pictures in any form, or the model's arguments by name.
            ablation: Heads or single attention entries that are switched off.
            removal: Patch tokens that are taken away.

        Returns:
            Logits or features (B, C), float32.

        Raises:
            PictureError: A picture cannot be read.
            AnswerError: The model answers with numbers that are not finite.
            TraceError: An ablation or a removal does not fit the model.

        Example:
            >>> import torch, vitscope as vs
            >>> vit = vs.open_model("bundled/shapes")
            >>> pictures = vs.worlds.world("shapes").sample(2, seed=1).pictures
            >>> keep = torch.ones(1, 6, 4)
            >>> keep[0, 5, 0] = 0  # the first head of the last block is off
            >>> vit.forward(pictures, ablation=vs.HeadAblation(keep)).argmax(1).tolist()
            [7, 4]
        """
        inputs = self.inputs(images)
        request = self._changed(ablation, removal)
        if self.shared is not None and self.shared.serves(inputs, request):
            return self.shared.logits(self._traced(inputs), self.precision)
        record = run_pass(self.model, self.probe_for(inputs).anatomy, inputs, request)
        require_numbers(self.source, record.logits)
        return record.logits.float()

    @checked(TraceError)
    @unaffected
    def score(
        self,
        images: Images,
        target: ResolvedTarget,
        *,
        ablation: Ablation | Sequence[Ablation] | None = None,
        removal: TokenRemoval | None = None,
    ) -> Tensor:
        """Score one batch without gradient by a target that keeps its classes, whatever the model now predicts.

        Args:
            images: Pictures in any form, or the model's arguments by name.
            target: A resolved target, such as ``trace.resolved``, for as many pictures.
            ablation: Heads or single attention entries that are switched off.
            removal: Patch tokens that are taken away.

        Returns:
            One score per picture, (B,), float32.

        Raises:
            PictureError: A picture cannot be read.
            AnswerError: A score is no finite number.
            TraceError: An ablation or a removal does not fit the model.

        Example:
            >>> import vitscope as vs
            >>> vit = vs.open_model("bundled/shapes")
            >>> pictures = vs.worlds.world("shapes").sample(2, seed=1).pictures
            >>> trace = vit.trace(pictures, gradient=False)
            >>> vit.score(pictures, trace.resolved).allclose(trace.scores)
            True
        """
        inputs = self.inputs(images)
        return take_scores(self._traced(inputs), inputs, target, self._changed(ablation, removal))

    @checked(TraceError)
    @unaffected
    def predict(
        self, images: Images, batch_size: BatchSize = 32, *, progress: Progress | None = None
    ) -> Tensor:
        """Run forwards over many pictures, batch by batch, without gradient.

        Args:
            images: Pictures in any form, or the model's arguments by name.
            batch_size: Pictures of a batch. Changes no result.
            progress: Told how far it is, and asked before each batch whether to stop; see :mod:`vitscope.progress`.

        Returns:
            Logits or features (B, C), float32.

        Raises:
            PictureError: A picture cannot be read.
            AnswerError: The model answers with numbers that are not finite.

        Example:
            >>> import vitscope as vs
            >>> vit = vs.open_model("bundled/shapes")
            >>> vit.predict(vs.worlds.world("shapes").sample(3, seed=1).pictures, batch_size=2).argmax(1).tolist()
            [7, 4, 5]
        """
        watched(progress)
        inputs = self.inputs(images)
        count = batch_of(inputs)
        stage = CountedStage(progress, "predicting", count)
        parts = []
        for start in range(0, count, batch_size):
            stage.check()
            stop = min(start + batch_size, count)
            parts.append(self.forward(select(inputs, torch.arange(start, stop))))
            stage.reach(stop)
        return torch.cat(parts)

    # ---- inside ----------------------------------------------------------------------------------------------
    def _changed(
        self, ablation: Ablation | Sequence[Ablation] | None, removal: TokenRemoval | None
    ) -> PassRequest:
        return PassRequest(precision=self.precision, ablations=as_list(ablation), removal=removal)
