"""Passes over one batch that several readers share: each is run once, and every trace that it covers is read off it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from vitscope.errors import VitscopeError
from vitscope.tracing.calls.calling import Inputs
from vitscope.tracing.changes.rules import Rules
from vitscope.tracing.interception.explicit_attention import Matrices
from vitscope.tracing.passes.answers import require_numbers
from vitscope.tracing.passes.request import Capture, PassRequest
from vitscope.tracing.passes.stages import Stage
from vitscope.tracing.take import ScoredPass, run_scored, score_of
from vitscope.tracing.targets.classes import ClassIndex, TopK
from vitscope.tracing.targets.target import Target
from vitscope.tracing.trace import ExplainedScore, Trace
from vitscope.tracing.traced_model import TracedModel

MOST = 4
"""Passes of one batch that are kept at once; the one that was read longest ago goes first."""


@dataclass(frozen=True)
class Ahead:
    """What is foreseen of a trace: its target, bound to the model, and what its pass keeps."""

    target: Target
    gradient: bool
    rules: Rules | None
    capture: Capture
    precision: str


@dataclass(eq=False)
class SharedPasses:
    """The passes that were run over one batch of pictures while they are shared.

    They serve the thread that shares them, these very pictures and this state of the weights; whatever else is asked
    for is run as ever.

    images: ready for the model. module: the model. ahead: what is foreseen. stages: finds the model's feature maps."""

    images: Tensor
    module: nn.Module
    ahead: Sequence[Ahead]
    stages: Callable[[], tuple[Stage, ...]]
    _passes: list[ScoredPass] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._thread = threading.get_ident()
        self._version = _version(self.images)
        self._weights = _state(self.module)

    def serves(self, inputs: Inputs, request: PassRequest | None = None) -> bool:
        """Whether a pass over these inputs that changes nothing is one of those that are shared."""
        return (
            (request is None or not request.changes)
            and threading.get_ident() == self._thread
            and isinstance(inputs, Tensor)
            and self._version is not None
            and _place(inputs) == _place(self.images)
            and _version(inputs) == self._version
            and _state(self.module) == self._weights
        )

    def logits(self, model: TracedModel, precision: str) -> Tensor:
        """The logits (B, C), float32, of the plain forward."""
        found = self._find(
            model, PassRequest(precision=precision, capture=Capture(outputs=False, inputs=False)), ()
        )
        if found is None:
            found = self._make(model, PassRequest(precision=precision), ())
        require_numbers(model.source, found.record.logits)
        return found.record.logits.detach().float().clone()

    def traces(
        self,
        model: TracedModel,
        targets: Sequence[Target],
        request: PassRequest,
        keys: tuple[str, ...] | None,
    ) -> list[Trace]:
        """What ``take_traces`` gives, read off a pass that was run where it covers them; each with its own objects."""
        wanted = [target.by(model.anatomy.probability) for target in targets]
        request = replace(request, record=True, embedding_call=model.embedding_call)
        found = self._find(model, request, wanted) or self._make(model, request, wanted)
        traces = []
        for target in wanted:
            score, known = _explained(model, found, target)
            require_numbers(
                model.source, found.record.logits if target.needs_classifier else None, score.values
            )
            gradients = ordinary = None
            if request.gradient and known is not None:
                gradients, ordinary = found.scored[known].gradients, found.scored[known].ordinary
            # What a reader writes into the logits is its own.
            record = replace(found.record, logits=found.record.logits.detach().clone())
            traces.append(Trace(model, request, record, score, gradients, keys, ordinary))
        return traces

    # ---- inside ----------------------------------------------------------------------------------------------
    def _find(self, model: TracedModel, request: PassRequest, targets: Sequence[Target]) -> ScoredPass | None:
        for place, made in enumerate(self._passes):
            if not _covers(made.request, request) or made.anatomy is not model.anatomy:
                continue
            if request.gradient and any(_explained(model, made, target)[1] is None for target in targets):
                continue
            self._passes.append(self._passes.pop(place))
            return made
        return None

    def _make(self, model: TracedModel, request: PassRequest, targets: Sequence[Target]) -> ScoredPass:
        """One more pass, with all that is foreseen for passes of its rules and precision."""
        alike = [
            each for each in self.ahead if (each.rules, each.precision) == (request.rules, request.precision)
        ]
        made: ScoredPass | None = None
        if alike:
            try:
                made = self._run(model, *self._with(model, request, targets, alike))
            except VitscopeError:  # what is foreseen cannot be had; what is asked for may be
                self.ahead = [each for each in self.ahead if each not in alike]
        if made is None:
            made = self._run(model, request, targets)
        self._passes = [*self._passes, made][-MOST:]
        return made

    def _with(
        self, model: TracedModel, request: PassRequest, targets: Sequence[Target], alike: Sequence[Ahead]
    ) -> tuple[PassRequest, list[Target]]:
        capture, gradient = request.capture, request.gradient
        aims = list(targets) if request.gradient else []
        for each in alike:
            capture = capture | each.capture
            if each.target.needs_classifier and model.anatomy.classes is None:
                continue  # there is no such class, so no gradient of its score
            gradient = gradient or each.gradient
            if each.gradient and not any(_equal(each.target, aim) for aim in aims):
                aims.append(each.target.by(model.anatomy.probability))
        if not all(each.capture.matrices for each in alike):
            # a reader that compares with passes of its own needs the numbers of the model's own attention
            capture = replace(capture, matrices=Matrices.NONE)
        stages = self.stages() if capture.stages else ()
        return replace(request, capture=capture, gradient=gradient, stages=stages), aims

    def _run(self, model: TracedModel, request: PassRequest, targets: Sequence[Target]) -> ScoredPass:
        capture = replace(request.capture, inputs=True)
        request = replace(request, record=True, embedding_call=model.embedding_call, capture=capture)
        return run_scored(model, self.images, targets, request)


def _explained(model: TracedModel, made: ScoredPass, target: Target) -> tuple[ExplainedScore, int | None]:
    """A target's score on a pass, and which of the pass's own scores it is; None where it is none of them."""
    for place, known in enumerate(made.scored):
        if _equal(known.score.target, target):
            return replace(known.score, target=target), place
    score = score_of(target, made.record, model.anatomy, gradient=False)
    for place, known in enumerate(made.scored):
        if _same_classes(known.score, score):
            return score, place
    return score, None


def _same_classes(one: ExplainedScore, other: ExplainedScore) -> bool:
    """Whether two targets came to the same quantity of the same classes: a batch's top classes, and those by number."""
    first, second = one.target, other.target
    if not isinstance(first, TopK | ClassIndex) or not isinstance(second, TopK | ClassIndex):
        return False
    if (first.quantity, first.probability) != (second.quantity, second.probability):
        return False
    if one.resolved is None or other.resolved is None:
        return False
    classes, others = one.resolved.classes, other.resolved.classes
    return classes is not None and others is not None and torch.equal(classes, others)


def _equal(one: Target | None, other: Target) -> bool:
    if one is other:
        return True
    try:
        return type(one) is type(other) and bool(one == other)
    except (RuntimeError, ValueError, TypeError):  # what they hold cannot be compared
        return False


def _covers(made: PassRequest, asked: PassRequest) -> bool:
    """Whether a pass kept all that another would have kept, in the same numbers."""
    if (made.rules, made.precision) != (asked.rules, asked.precision) or made.gradient < asked.gradient:
        return False
    kept = replace(made.capture, outputs=made.capture.outputs or made.gradient)
    return kept | replace(asked.capture, matrices=kept.matrices) == kept  # what was not made is rebuilt


def _place(tensor: Tensor) -> tuple[object, ...]:
    """Where a tensor's values lie: the same for a tensor and its detached self."""
    return tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype, tensor.device


def _version(tensor: Tensor) -> int | None:
    """How often a tensor was written into; None for one that does not count."""
    return None if tensor.is_inference() else tensor._version


def _state(module: nn.Module) -> list[tuple[int, int | None]]:
    """Where the weights lie and how often they were written into."""
    held = (
        value
        for each in module.modules()
        for value in (*each._parameters.values(), *each._buffers.values())
        if value is not None
    )
    return [(value.data_ptr(), _version(value)) for value in held]
