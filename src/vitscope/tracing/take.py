"""Take traces: one forward of a batch shared by several targets, and one backward for each of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from vitscope.errors import TargetError
from vitscope.models.anatomy import Anatomy
from vitscope.tracing.calls.callers_switches import unaffected
from vitscope.tracing.calls.calling import Inputs, outside_graphs
from vitscope.tracing.passes.answers import require_numbers
from vitscope.tracing.passes.backward import FP16_SCALE, Gradients, backward
from vitscope.tracing.passes.forward_pass import PassRecord, run_pass
from vitscope.tracing.passes.request import PassRequest
from vitscope.tracing.targets.resolved import ResolvedTarget
from vitscope.tracing.targets.target import Target
from vitscope.tracing.trace import ExplainedScore, Trace
from vitscope.tracing.traced_model import TracedModel


@unaffected
def take_traces(
    model: TracedModel,
    inputs: Inputs,
    targets: Sequence[Target],
    request: PassRequest,
    keys: tuple[str, ...] | None = None,
) -> list[Trace]:
    """One trace for each target, which are bound to the model already; the attention sites are always kept.

    Args:
        model: The opened model, its anatomy at the size of these inputs.
        inputs: Pictures (B, 3, H, W) or named arguments, on the model's device and in its type.
        targets: What is explained, one trace each.
        request: What the forward keeps and changes; with its ``gradient`` each target gets its backward.
        keys: One text per picture, on which random draws depend; None takes the pictures' contents.

    Returns:
        The traces, in the order of the targets.

    Raises:
        TargetError: A class is asked for and the model has no classifier.
        AnswerError: A logit or a score is no finite number.
        TraceError: A score depends on no attention that was seen.
    """
    wanted = [target.by(model.anatomy.probability) for target in targets]
    request = replace(request, record=True, embedding_call=model.embedding_call)
    made = run_scored(model, outside_graphs(inputs), wanted, request)
    return [
        Trace(model, request, made.record, each.score, each.gradients, keys, each.ordinary)
        for each in made.scored
    ]


@dataclass(frozen=True, eq=False)
class Scored:
    """What a pass explains for one target, and the gradients of its backward where there was one.

    ordinary: those of the ordinary way back, where it was gone beside another one."""

    score: ExplainedScore
    gradients: Gradients | None
    ordinary: Gradients | None = None


@dataclass(frozen=True, eq=False)
class ScoredPass:
    """One forward of a batch, with a score and perhaps a backward for each of several targets."""

    request: PassRequest
    anatomy: Anatomy
    record: PassRecord
    scored: Sequence[Scored]


@unaffected
def run_scored(
    model: TracedModel, inputs: Inputs, targets: Sequence[Target], request: PassRequest
) -> ScoredPass:
    """The forward of a batch outside of graphs, and what is explained of it, with the errors of ``take_traces``."""
    anatomy, gradient = model.anatomy, request.gradient
    if gradient and anatomy.classes is None and any(target.needs_classifier for target in targets):
        raise TargetError(anatomy.why_no_class())
    record = run_pass(model.module, anatomy, inputs, request)
    scored = []
    for position, target in enumerate(targets):
        score = score_of(target, record, anatomy, gradient)
        require_numbers(model.source, record.logits if target.needs_classifier else None, score.values)
        gradients = ordinary = None
        if gradient:
            assert score.values is not None
            last = position == len(targets) - 1
            scale = FP16_SCALE if record.precision == "fp16" else 1.0
            twice = request.rules is not None and request.rules.ordinary_too
            gradients = backward(record, score.values, scale=scale, retain=twice or not last)
            if twice:
                assert record.way is not None
                with record.way.by_no_rule():
                    ordinary = backward(record, score.values, scale=scale, retain=not last)
        scored.append(Scored(score, gradients, ordinary))
    return ScoredPass(request, anatomy, record, scored)


@unaffected
def take_scores(model: TracedModel, inputs: Inputs, target: ResolvedTarget, request: PassRequest) -> Tensor:
    """The scores (B,), float32, of a target that keeps its classes; one forward, no gradient.

    Raises AnswerError where a score is no finite number."""
    record = run_pass(model.module, model.anatomy, outside_graphs(inputs), request)
    with torch.no_grad():
        scores = target.score(record.output, record.logits).float()
    require_numbers(model.source, None, scores)
    return scores


def score_of(target: Target, record: PassRecord, anatomy: Anatomy, gradient: bool) -> ExplainedScore:
    """A target made definite on a pass, and its scores; in the graph with ``gradient``."""
    if target.needs_classifier and anatomy.classes is None:
        return ExplainedScore(target, None, None)
    with torch.inference_mode(False), torch.set_grad_enabled(gradient):
        resolved = target.resolve(record.logits)
        return ExplainedScore(target, resolved, resolved.score(record.output, record.logits))
