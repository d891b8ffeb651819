"""``Vit``: an opened model, its anatomy, and the ways to look at it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from vitscope.errors import ModelError, PictureError, TraceError
from vitscope.models.anatomy import Anatomy
from vitscope.models.opening.fingerprint import CurrentFingerprint
from vitscope.models.opening.loaded import LoadedModel, TextTower
from vitscope.models.opening.wrappers import refuse_unseeable, unwrapped
from vitscope.models.preparing.inputs import to_batch
from vitscope.options.bounds import BatchSize, Count, Precision
from vitscope.options.door import checked
from vitscope.pictures import Images
from vitscope.progress import CountedStage, Progress, watched
from vitscope.tracing.calls.callers_switches import unaffected
from vitscope.tracing.calls.calling import Inputs, batch_of, outside_graphs, pictures_of, select, takes_first
from vitscope.tracing.changes.ablation import Ablation, as_list
from vitscope.tracing.changes.removal import TokenRemoval
from vitscope.tracing.changes.rules import Rules
from vitscope.tracing.passes.answers import require_numbers
from vitscope.tracing.passes.forward_pass import PassRecord, run_pass
from vitscope.tracing.passes.request import Capture, PassRequest
from vitscope.tracing.passes.resume import (
    BlockCache,
    can_resume,
    check_places,
    collect_outputs,
    later_only,
    no_blocks,
    shortcuts,
)
from vitscope.tracing.passes.stages import Stage
from vitscope.tracing.picture_keys import check_keys
from vitscope.tracing.probing.by_input_size import Probes
from vitscope.tracing.probing.conclusion import Probe
from vitscope.tracing.probing.overrides import Overrides
from vitscope.tracing.take import take_scores, take_traces
from vitscope.tracing.targets.parsing import TargetLike, parse_target
from vitscope.tracing.targets.resolved import ResolvedTarget
from vitscope.tracing.trace import Trace
from vitscope.tracing.traced_model import TracedModel


class Vit:
    """A vision transformer under the microscope. Made by ``open_model``.

    The wrapped model is never changed: modes, flags, hooks and gradients are as before after every call, also
    after an error. Pictures come as paths, Pillow images, arrays or a ready tensor (B, 3, H, W); text models take
    a mapping of tensors (``input_ids``, ``attention_mask``)."""

    made_by: ClassVar[str] = "vs.open_model"

    @checked(ModelError)
    def __init__(
        self,
        loaded: LoadedModel,
        *,
        device: str | torch.device | None = None,
        precision: Precision = "float32",
        overrides: Overrides | None = None,
    ) -> None:
        self.loaded = loaded
        refuse_unseeable(loaded.module)
        self.model: nn.Module = unwrapped(loaded.module)
        if device is not None:
            self.model.to(device)
        self.precision = precision
        self.overrides = overrides or Overrides()
        self._probes = Probes(self.model, loaded.source, loaded.family, self.overrides)
        self._fingerprint = CurrentFingerprint()
        self._size: tuple[int, int] | None = loaded.image_size

    def __repr__(self) -> str:
        return f"Vit({self.source!r}, {self.family}, {self.precision} on {self.device})"

    # ---- what it is ------------------------------------------------------------------------------------------
    @property
    def source(self) -> str:
        """The name that the model was opened by."""
        return self.loaded.source

    @property
    def family(self) -> str:
        """The architecture's family, such as ``vision_transformer``."""
        return self.loaded.family

    @property
    def preprocessor(self) -> Any:
        """How pictures become tensors, None when the model came without a data configuration."""
        return self.loaded.preprocessor

    @property
    def class_names(self) -> list[str] | None:
        """Class names, None when unknown."""
        return self.loaded.class_names

    @property
    def text_tower(self) -> TextTower | None:
        """The text side of a contrastive model (CLIP, SigLIP), None when there is none."""
        return self.loaded.extras.get("text")

    @property
    def fingerprint(self) -> str:
        """Short hash of the weights as they are now, also after training or loading in place.

        Reads every weight, in a fraction of the time of a forward: ask once per result, not per batch."""
        return self._fingerprint.of(self.model)

    @property
    def device(self) -> torch.device:
        """Where the model's first parameter lies."""
        return next((p.device for p in self.model.parameters()), torch.device("cpu"))

    @property
    def dtype(self) -> torch.dtype:
        """The floating type of the model's first parameter, which its inputs get."""
        return next((p.dtype for p in self.model.parameters() if p.is_floating_point()), torch.float32)

    @property
    @unaffected
    def image_size(self) -> tuple[int, int]:
        """The input size (H, W) that the model is looked at with by default."""
        if self._size is None:
            self._size = self._probes.guess_size()
        return self._size

    @property
    def anatomy(self) -> Anatomy:
        """What a probe learned at the model's own input size."""
        return self.anatomy_for(self.image_size)

    @checked(ModelError)
    @unaffected
    def anatomy_for(self, size: tuple[Count, Count]) -> Anatomy:
        """What a probe learned at another input size (H, W)."""
        return self._probes.at_size(size).anatomy

    # ---- input -----------------------------------------------------------------------------------------------
    @unaffected
    def images(self, images: Images) -> Tensor:
        """Pictures in any form as one tensor (B, 3, H, W) on the model's device and in its type."""
        return outside_graphs(to_batch(images, self.preprocessor).to(self.device, self.dtype))

    @unaffected
    def inputs(self, images: Images) -> Inputs:
        """Pictures as ``images`` gives them; a mapping of arguments by name with its tensors moved to the device.

        A mapping that holds nothing but the pictures (what an image processor returns) is the pictures. Arrays in a
        mapping become tensors, flags are handed on to the model."""
        if not isinstance(images, Mapping):
            return self.images(images)
        named = {key: self._argument(key, value) for key, value in images.items()}
        if not any(isinstance(value, Tensor) for value in named.values()):
            raise PictureError(
                f"the mapping holds no tensor ({', '.join(map(str, named)) or 'nothing'}); ask the processor for "
                'return_tensors="pt"'
            )
        pictures = pictures_of(named)
        if len(named) == 1 and pictures is not None and takes_first(self.model, next(iter(named))):
            return self.images(pictures)
        return named

    def _argument(self, name: str, value: Any) -> Any:
        if isinstance(value, np.ndarray) and value.dtype != object:
            value = torch.from_numpy(value)
        if isinstance(value, list) and value and all(isinstance(v, (np.ndarray, Tensor)) for v in value):
            value = torch.stack([torch.as_tensor(v) for v in value])
        if not isinstance(value, Tensor):
            return value
        moved = value.to(self.device)
        return outside_graphs(moved.to(self.dtype) if moved.is_floating_point() else moved)

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
        """One forward of the batch and, with ``gradient``, one backward from the target's summed scores.

        Raises TargetError when the model has no classifier and no target is given, TraceError when the score does
        not depend on any attention. Inside a caller's ``torch.inference_mode`` the pass leaves that mode for its
        own length; its results are ordinary tensors. ``precision`` replaces the model's own for this pass. ``keys``:
        one text per picture, what random draws depend on; None takes the pictures' contents."""
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
        """One forward shared by several targets, one backward for each. Same arguments as ``trace``."""
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
        """Logits (B, C), float32, no gradient, one batch."""
        inputs = self.inputs(images)
        anatomy = self.probe_for(inputs).anatomy
        record = run_pass(self.model, anatomy, inputs, self._changed(ablation, removal))
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
        """The target's scores (B,), float32, no gradient, one batch; the target keeps its classes."""
        inputs = self.inputs(images)
        return take_scores(self._traced(inputs), inputs, target, self._changed(ablation, removal))

    @checked(TraceError)
    @unaffected
    def predict(
        self, images: Images, batch_size: BatchSize = 32, *, progress: Progress | None = None
    ) -> Tensor:
        """Logits (B, C), float32, in batches.

        ``progress``: told how far it is, and asked before each batch whether to stop; see :mod:`vitscope.progress`."""
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

    # ---- resuming --------------------------------------------------------------------------------------------
    @checked(TraceError)
    @unaffected
    def cache(self, images: Images) -> BlockCache:
        """One forward that keeps what every block returned, to resume from."""
        inputs = self.inputs(images)
        anatomy = self.probe_for(inputs).anatomy
        if not anatomy.blocks:
            raise no_blocks(anatomy)
        plain = PassRequest(precision=self.precision)
        record, outputs = collect_outputs(
            self.model, anatomy, lambda: run_pass(self.model, anatomy, inputs, plain)
        )
        require_numbers(self.source, record.logits)
        return BlockCache(inputs, record.logits.float(), tuple(outputs), anatomy.blocks)

    @checked(TraceError)
    @unaffected
    def resume(
        self,
        cache: BlockCache,
        block: int,
        *,
        ablation: Ablation | Sequence[Ablation] | None = None,
        removal: TokenRemoval | None = None,
        index: Tensor | None = None,
    ) -> Tensor:
        """Logits (M, C) from blocks ``block``… on; earlier blocks give what they gave in ``cache``.

        A model whose blocks cannot be short-cut (they share a module, or its residual additions are written outside
        them) runs whole and gives the same. ``index`` (M,) names the cached picture that each batch item resumes
        from; None takes all once."""
        return self.resume_pass(cache, block, ablation=ablation, removal=removal, index=index).logits.float()

    @checked(TraceError)
    @unaffected
    def resume_pass(
        self,
        cache: BlockCache,
        block: int,
        *,
        ablation: Ablation | Sequence[Ablation] | None = None,
        removal: TokenRemoval | None = None,
        index: Tensor | None = None,
        capture: Capture | None = None,
        tokens: Tensor | None = None,
        gradient: bool = False,
    ) -> PassRecord:
        """As ``resume``, but gives the whole record. ``tokens`` replaces what the block before ``block`` returned;
        with ``gradient`` the way from them to the logits is differentiable."""
        check_places(index, batch_of(cache.inputs))
        inputs = select(cache.inputs, index)
        anatomy = self.probe_for(cache.inputs).anatomy
        ablations = as_list(ablation)
        reason = can_resume(anatomy)
        whole = (
            reason is not None and tokens is None and removal is None and 0 <= block <= len(anatomy.blocks)
        )
        if whole:  # no way to short-cut, but a full run gives the same
            skip, ablations = {}, later_only(ablations, block)
        else:
            skip = shortcuts(anatomy, cache, block, index, tokens)
        request = PassRequest(
            precision=self.precision,
            gradient=gradient,
            capture=capture or Capture(),
            ablations=ablations,
            removal=removal,
            skip=skip,
        )
        return run_pass(self.model, anatomy, inputs, request)

    @unaffected
    def probe_for(self, inputs: Inputs) -> Probe:
        """The probe at the size of these inputs; run once per size."""
        return self._probes.at(inputs)

    @unaffected
    def stages_for(self, inputs: Inputs) -> tuple[Stage, ...]:
        """The feature maps of a CNN or hierarchical model at each resolution; none for a text model."""
        return self._probes.stages_at(inputs)

    # ---- inside ----------------------------------------------------------------------------------------------
    def _changed(
        self, ablation: Ablation | Sequence[Ablation] | None, removal: TokenRemoval | None
    ) -> PassRequest:
        return PassRequest(precision=self.precision, ablations=as_list(ablation), removal=removal)

    def _traced(self, inputs: Inputs) -> TracedModel:
        found = self.probe_for(inputs)
        return TracedModel(
            module=self.model,
            source=self.source,
            anatomy=found.anatomy,
            precision=self.precision,
            embedding_call=found.embedding_call,
            notes=self.loaded.notes,
            class_names=self.class_names,
        )
