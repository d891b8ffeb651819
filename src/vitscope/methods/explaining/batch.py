"""One batch explained: methods that can share a trace share it, and each one's relevance becomes an explanation."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from vitscope.errors import MethodError, TraceError
from vitscope.interruption import released
from vitscope.methods.explaining import diagnostics
from vitscope.methods.explaining.explanation import Explanation
from vitscope.methods.method_info import MethodInfo
from vitscope.methods.registry import get_method
from vitscope.methods.relevance import Needs, Relevance
from vitscope.options.bounds import Precision
from vitscope.pictures.bands import describe_shown
from vitscope.tracing import Capture, Foreseen, HeadAblation, Rules, Target, Trace, Vit
from vitscope.tracing.calls.calling import Inputs, pictures_of
from vitscope.tracing.calls.guard import exclusive
from vitscope.tracing.interception.explicit_attention import Matrices
from vitscope.tracing.passes.answers import FLAT, require_finite_maps, require_nonzero_maps
from vitscope.tracing.passes.readout import reads_for_itself
from vitscope.tracing.recipe import library_versions
from vitscope.tracing.sharing import shares

Request = dict[str, dict[str, Any]]
"""The options of each method that is asked for, by its name."""
NOTHING = Capture(outputs=False, inputs=False)


def resolved(vit: Vit, inputs: Inputs, request: Request) -> Request:
    """The request with all options as they are used. Raises MethodError for a method that does not apply."""
    used: Request = {}
    for name, options in request.items():
        info = get_method(name)
        reason = info.why_not(vit.probe_for(inputs).anatomy)
        if reason is not None:
            raise MethodError(f"method '{name}' does not apply to '{vit.source}': {reason}")
        with _refused_by_name(info, vit):
            used[name] = info.resolved(vit, inputs, options)
    return used


@dataclass(frozen=True)
class _Group:
    """Methods of a request that share one trace, and what it must hold for all of them.

    diagnosed: whether maps of theirs are bent by outlier patches, whose norms are watched. streams: what a pass that
    was run before must have kept for these norms."""

    members: Sequence[tuple[MethodInfo, Needs]]
    target: Target
    gradient: bool
    rules: Rules | None
    capture: Capture
    precision: Precision
    diagnosed: bool
    streams: Capture


def _groups(vit: Vit, inputs: Inputs, request: Request, target: Target, clean: bool) -> Iterator[_Group]:
    anatomy = vit.probe_for(inputs).anatomy
    found: dict[tuple[Rules | None, int, Precision], list[tuple[MethodInfo, Needs]]] = {}
    for name in request:
        info = get_method(name)
        with _refused_by_name(info, vit):
            needs = info.needs_for(vit, inputs, request[name])
        own = id(needs.target) if needs.target else 0
        found.setdefault((needs.rules, own, needs.precision or vit.precision), []).append((info, needs))
    for (rules, _, precision), members in found.items():
        capture = NOTHING
        for _, needs in members:
            capture = capture | needs.capture
        aim = members[0][1].target or target
        diagnosed = any(info.family in diagnostics.FAMILIES for info, _ in members)
        # what a target of its own reads shows only in its gradient
        follows = any(info.follows_rows for info, _ in members)
        seeks = follows and anatomy.layout is not None and reads_for_itself(aim, inputs)
        seeks = seeks and not (aim.needs_classifier and anatomy.classes is None)
        norms = (diagnosed or clean) and diagnostics.wants_stream(anatomy)
        gradient = seeks or any(needs.gradient for _, needs in members)
        # the same way for every method, so that none depends on its company; a way back needs the matrices in any case
        steps = Matrices.STEPS | Matrices.WHOLE if gradient else Matrices.STEPS
        yield _Group(
            members,
            aim,
            gradient,
            rules,
            capture | dataclasses.replace(NOTHING, streams=seeks, matrices=steps),
            precision,
            diagnosed,
            dataclasses.replace(NOTHING, streams=norms),
        )


def foreseen(
    vit: Vit, inputs: Inputs, request: Request, target: Target, clean: bool = False
) -> list[Foreseen]:
    """The traces that a resolved request will ask for on such inputs, for :func:`vitscope.tracing.sharing_traces`."""
    return [
        Foreseen(each.target, each.gradient, each.rules, each.capture | each.streams, each.precision)
        for each in _groups(vit, inputs, request, target, clean)
    ]


def explain_batch(
    vit: Vit,
    inputs: Inputs,
    request: Request,
    target: Target,
    clean: bool = False,
    ablation: HeadAblation | None = None,
) -> dict[str, Explanation]:
    """Every method of a resolved request on one batch; what is the same for a whole run is not yet in it."""
    made: dict[str, Explanation] = {}
    for group in _groups(vit, inputs, request, target, clean):
        members, aim = group.members, group.target
        anatomy = vit.probe_for(inputs).anatomy
        capture = group.capture | (group.streams if shares(vit, inputs) else NOTHING)
        # one hold on the model for the norms and the pass that they belong to
        with (
            exclusive(vit.model),
            diagnostics.watch_norms(vit.model, anatomy, group.diagnosed or clean) as seen,
            released(),
        ):
            trace = vit.trace(
                inputs,
                aim,
                gradient=group.gradient,
                rules=group.rules,
                capture=capture,
                ablation=ablation,
                precision=group.precision,
            )
        if (group.diagnosed or clean) and seen.norms is None and capture.streams:  # the pass was run before
            seen.norms = diagnostics.norms_of(trace)
        note = None
        if any(needs.gradient for _, needs in members):
            note = trace.note_on_gradient()
        if group.diagnosed and anatomy.layout is not None:
            seen.sinks = diagnostics.sink_masses(trace)
        relevances = _run(vit, trace, [info for info, _ in members], request)
        for (info, needs), relevance in zip(members, relevances, strict=True):
            explanation = to_explanation(trace, info, relevance, request[info.name])
            if ablation is not None:
                _tell_ablation(explanation, info, ablation)
            if note is not None and needs.gradient:
                if note != FLAT:
                    require_nonzero_maps(info.name, explanation.maps, note)
                explanation.metadata["notes"].append(note)
            if clean:
                explanation = diagnostics.clean(explanation, seen.outliers)
            if info.family in diagnostics.FAMILIES and anatomy.layout is not None:
                records = {"diagnostics": seen.records(explanation.maps)}
                explanation = dataclasses.replace(explanation, metadata={**explanation.metadata, **records})
            made[info.name] = explanation
    return {name: made[name] for name in request}


def _tell_ablation(explanation: Explanation, info: MethodInfo, ablation: HeadAblation) -> None:
    """Which heads were off, in the notes; and that a method of attention alone still counts theirs."""
    explanation.metadata["ablation"] = [list(head) for head in ablation.heads]  # type: ignore[index]
    named = ", ".join(f"{block}.{head}" for block, head in ablation.heads)
    explanation.metadata["notes"].append(f"heads switched off (block.head): {named or 'none'}")
    if ablation.heads and info.family == "attention":
        explanation.metadata["notes"].append(
            f"{info.name} averages attention over heads, and counts that of heads that are off"
        )


def _run(vit: Vit, trace: Trace, infos: Sequence[MethodInfo], request: Request) -> list[Relevance]:
    """Each method on one trace; several take from each other what they have in common."""
    found = []
    with trace.shared() if len(infos) > 1 else nullcontext():
        for info in infos:
            with _refused_by_name(info, vit):
                found.append(info.run(trace, request[info.name]))
    return found


@contextmanager
def _refused_by_name(info: MethodInfo, vit: Vit) -> Iterator[None]:
    """What a trace cannot show is the reason why this method does not apply."""
    try:
        yield
    except TraceError as error:
        raise MethodError(f"method '{info.name}' does not apply to '{vit.source}': {error}") from error


def to_explanation(
    trace: Trace, info: MethodInfo, relevance: Relevance, options: Mapping[str, Any]
) -> Explanation:
    """A method's raw relevance with everything that made it; tensors on the CPU."""
    layout = trace.anatomy.layout
    flow = relevance.flow
    metadata: dict[str, Any] = {
        "model": trace.model.source,
        "precision": trace.precision,
        "probability": trace.anatomy.probability,
        "blocks": len(trace.anatomy.blocks),
        "heads": trace.anatomy.heads,
        "image_size": list(trace.anatomy.image_size or ()),
        "prefix": list(layout.prefix) if layout else [],
        "versions": library_versions(),
        "notes": [*relevance.notes, *trace.anatomy.notes, *trace.model.notes],
    }
    if flow is not None:
        metadata["flow_of"] = relevance.flow_of
    shown = pictures_of(trace.inputs)
    if shown is not None and (told := describe_shown(int(shown.shape[-3]))):
        metadata["shown_channels"] = told
        metadata["notes"].append(told)
    if relevance.tokens is not None:
        tokens = relevance.tokens.detach().float()
        metadata["prefix_share"] = _prefix_share(tokens, trace).tolist()
        metadata |= _prefix_values(tokens, flow, trace)
        maps = trace.layout.to_grid(tokens)
        if flow is not None and flow.dim() == 3:
            flow = trace.layout.to_grid(flow.detach().float())
    elif relevance.maps is not None:
        maps = relevance.maps.detach().float()
    else:
        raise MethodError(f"method '{info.name}' returned neither tokens nor maps")
    require_finite_maps(info.name, maps, trace.precision)
    if info.follows_rows and layout is not None and (read := trace.describe_readout()):
        metadata["notes"].append(read)
    if layout is not None and trace.anatomy.image_size is not None and tuple(maps.shape[-2:]) == layout.grid:
        metadata["extent"] = list(trace.cells.extent)
        if not trace.cells.whole:
            metadata["notes"].append(f"no patch reads all of the picture: {trace.cells.describe_unread()}")
    return Explanation(
        method=info.name,
        maps=maps.cpu(),
        flow=None if flow is None else flow.detach().float().cpu(),
        target=trace.target.describe() if trace.target else "",
        classes=None if trace.classes is None else trace.classes.cpu(),
        scores=trace._scores.cpu() if trace._scores is not None else torch.full((trace.batch,), float("nan")),
        logits=trace.logits.cpu() if trace.anatomy.classes is not None else None,
        layout=layout,
        options=dict(options),
        metadata=metadata,
        extras={name: value.detach().float().cpu() for name, value in relevance.extras.items()},
        class_names=tuple(trace.model.class_names) if trace.model.class_names else None,
    )


def _prefix_values(tokens: Tensor, flow: Tensor | None, trace: Trace) -> dict[str, Any]:
    """What lies on each prefix token, by picture (p,), and in each map of the flow (L, p)."""
    before, whole = trace.layout.prefix_count, trace.layout.tokens
    found: dict[str, Any] = {}
    if before and tokens.shape[1] == whole:
        found["prefix_values"] = tokens[:, :before].cpu().tolist()
    if before and flow is not None and flow.dim() == 3 and flow.shape[-1] == whole:
        found["prefix_flow"] = flow[..., :before].detach().float().cpu().tolist()
    return found


def _prefix_share(tokens: Tensor, trace: Trace) -> Tensor:
    """Share of the absolute relevance that lies on prefix tokens, (B,)."""
    if tokens.shape[1] != trace.layout.tokens:
        return torch.zeros(tokens.shape[0])
    size = tokens.abs()
    prefix = size[:, : trace.layout.prefix_count].sum(1)
    return (prefix / size.sum(1).clamp_min(1e-12)).cpu()
