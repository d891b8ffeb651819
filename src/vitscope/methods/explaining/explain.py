"""``explain``: pictures in, raw maps out; one trace for all methods that can share it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, overload

import torch
from torch import Tensor

from vitscope.errors import AnswerError, MethodError, PictureError, TraceError
from vitscope.interruption import released
from vitscope.methods.explaining import diagnostics
from vitscope.methods.explaining.default import default_method
from vitscope.methods.explaining.explanation import Explanation, concatenate
from vitscope.methods.explaining.recipe import explanation_recipe, own_targets
from vitscope.methods.registry import MethodInfo, get_method
from vitscope.methods.relevance import Needs, Relevance
from vitscope.models.preparing.inputs import drawable
from vitscope.options.bounds import BatchSize, Names, Precision
from vitscope.options.door import checked
from vitscope.pictures import Images
from vitscope.pictures.accepted import picture_source
from vitscope.pictures.bands import describe_shown
from vitscope.progress import CountedStage, Progress, watched
from vitscope.storage.recipe import Recipe
from vitscope.tracing import Capture, ClassIndex, Rules, Target, Trace, Vit, by_number, parse_target
from vitscope.tracing.calls.callers_switches import unaffected
from vitscope.tracing.calls.calling import Inputs, batch_of, pictures_of, select
from vitscope.tracing.calls.guard import exclusive
from vitscope.tracing.passes.answers import FLAT, require_finite_maps, require_nonzero_maps
from vitscope.tracing.passes.readout import reads_for_itself
from vitscope.tracing.picture_keys import content_keys
from vitscope.tracing.recipe import library_versions, model_identity
from vitscope.tracing.targets.parsing import TargetLike

Request = dict[str, dict[str, Any]]


@overload
def explain(
    vit: Vit, images: Images, method: str | None = ..., target: TargetLike = ..., **options: Any
) -> Explanation: ...
@overload
def explain(
    vit: Vit,
    images: Images,
    method: Sequence[str] | Mapping[str, Mapping[str, Any]],
    target: TargetLike = ...,
    **options: Any,
) -> dict[str, Explanation]: ...
@checked(MethodError)
@unaffected
def explain(
    vit: Vit,
    images: Images,
    method: str | Names | Mapping[str, Mapping[str, Any]] | None = None,
    target: TargetLike = None,
    *,
    batch_size: BatchSize = 16,
    keep_pictures: bool = True,
    clean: bool = False,
    progress: Progress | None = None,
    **options: Any,
) -> Explanation | dict[str, Explanation]:
    """Explain pictures: one raw relevance map per picture, by one method or by several that share their passes.

    Args:
        vit: The opened model.
        images: Any form that :func:`vitscope.pictures.picture_source` takes (paths, Pillow images, arrays, tensors, a
            source); films as a ready tensor (B, T, C, H, W); for a text model a mapping of tensors.
        method: A name, several names, or a mapping from names to options. None takes DART where it applies to the
            model, else DAAM, see :func:`vitscope.methods.default_method`.
        target: What is explained. None or ``"top1"``: the predicted class's logit; ``207`` or ``"class:207"``;
            ``"class:NAME"``; ``"top1:probability"``; ``"difference:3,5"``; one class or target for each picture; a
            callable on the model's output (B, C) that gives one number for each picture.
        batch_size: Pictures in one pass; it changes time and memory, not the result.
        keep_pictures: Keep the pictures in the explanation, so that overlays can be drawn.
        clean: Give patches whose norm is an outlier the median of their neighbours (Darcet et al. 2023).
        progress: Reports progress, and is asked before each batch whether to stop, see :mod:`vitscope.progress`.
        options: Options of the method, by name; each goes to every named method that has it.

    Returns:
        An Explanation with maps (B, h, w) float32 on the model's patch grid, raw: no min-max, no upsampling. For
        several methods a dict of them by name.

    Raises:
        MethodError: A method that is unknown or does not apply to the model, or an option that no named method has.
        TargetError: A target that is not understood or that the model does not have.
        PictureError: Something that is no picture, or no picture that can be read.
        AnswerError: The model's answer to a picture is not finite.

    Example:
        >>> import vitscope as vs
        >>> vit = vs.open_model("bundled/shapes")
        >>> pictures = vs.worlds.world("shapes").sample(2, seed=1).images()
        >>> vs.explain(vit, pictures, "gmar", norm="l2")
        <Explanation by gmar of 2 pictures, target top1, maps 12x12, flow over 6 blocks>
        >>> several = vs.explain(vit, pictures, ["rollout", "daam"], target=[7, 4])
        >>> {name: tuple(e.maps.shape) for name, e in several.items()}
        {'rollout': (2, 12, 12), 'daam': (2, 12, 12)}

    Source: each method's own publication is ``vs.methods.get_method(name).citation``.
    """
    watched(progress)
    request = {} if method is None else _request(method, options)
    aim = by_number(parse_target(target), vit.class_names, vit.source)
    model = model_identity(vit)  # once: it reads all weights
    recipes: dict[str, Recipe] = {}
    parts: dict[str, list[Explanation]] = {}
    positions: list[int] = []
    count = 0
    stage: CountedStage | None = None
    for batch in input_batches(vit, images, batch_size):
        inputs, count = batch.inputs, batch.count
        stage = stage or CountedStage(progress, "explaining", count)
        stage.check()
        if not request:
            request = _request(default_method(vit.probe_for(inputs).anatomy), options)
        positions += batch.positions
        request = resolved(vit, inputs, request)
        mine = aim.of(batch.positions, batch.count)
        try:
            found = explain_batch(vit, inputs, request, mine, clean)
        except AnswerError as error:
            raise error.among(batch.positions) from error
        own = own_targets(aim, batch.positions, batch.count)
        shown = pictures_of(inputs) if keep_pictures else None
        drawn: dict[int, Tensor | None] = {}
        for name, explanation in found.items():
            if name not in recipes:
                recipes[name] = explanation_recipe(model, name, request[name], aim, clean, inputs)
            explanation = dataclasses.replace(
                explanation,
                made=recipes[name],
                metadata={
                    **explanation.metadata,
                    "fingerprint": model["fingerprint"],
                    "keys": batch.keys,
                    "ids": batch.ids,
                    **({} if own is None else {"targets": own}),
                },
            )
            if shown is not None:
                frames = explanation.maps.shape[1] if explanation.maps.dim() == 4 else 0
                if frames not in drawn:  # the same for all methods of a batch, but for their steps in time
                    drawn[frames] = _drawable(shown, frames, vit)
                explanation = dataclasses.replace(explanation, pictures=drawn[frames])
            parts.setdefault(name, []).append(explanation)
        stage.reach(positions[-1] + 1)
    if stage is None:
        raise PictureError("none of the pictures can be read; their source tells the reasons (.skipped)")
    stage.reach(count)
    joined = {name: concatenate(found) for name, found in parts.items()}
    if isinstance(aim, ClassIndex):  # a part knows of its own pictures' classes alone
        described = aim.of(positions, count).describe()
        joined = {
            name: e if e.classes is None else dataclasses.replace(e, target=described)
            for name, e in joined.items()
        }
    return joined if method is not None and not isinstance(method, str) else next(iter(joined.values()))


def _drawable(shown: Tensor, frames: int, vit: Vit) -> Tensor | None:
    """What maps are drawn on: (B, H, W, 3), of films the first frame that each of their ``frames`` maps spans,
    (B, t, H, W, 3); uint8."""
    pictures = shown.detach().float().cpu()
    if pictures.dim() == 4:
        return torch.stack([drawable(picture, vit.preprocessor) for picture in pictures])
    if not frames:
        return None
    first = [-(-frame * pictures.shape[1] // frames) for frame in range(frames)]
    drawn = torch.stack([drawable(frame, vit.preprocessor) for frame in pictures[:, first].flatten(0, 1)])
    return drawn.reshape(len(shown), frames, *drawn.shape[1:])


def _request(
    method: str | Sequence[str] | Mapping[str, Mapping[str, Any]], options: Mapping[str, Any]
) -> Request:
    names = [method] if isinstance(method, str) else list(method)
    if not names:
        raise MethodError("expected at least one method; vs.methods() lists them")
    infos = {name: get_method(name) for name in names}
    own = (
        {name: dict(method[name]) for name in names}
        if isinstance(method, Mapping)
        else {name: {} for name in names}
    )
    for name, info in infos.items():
        own[name] = info.check_options(own[name])
    for option, value in options.items():
        takers = [name for name, info in infos.items() if option in info.options]
        if not takers:
            infos[names[0]].check_options({option: value})
        for name in takers:
            own[name] = {**infos[name].check_options({option: value}), **own[name]}
    return own


@dataclass(frozen=True)
class InputBatch:
    """Some of ``count`` pictures or texts, ready for the model: their places among all, their names, their contents."""

    inputs: Inputs
    positions: list[int]
    count: int
    keys: list[str]
    ids: list[str]


def input_batches(vit: Vit, images: Images, batch_size: int) -> Iterator[InputBatch]:
    """What is explained, read batch by batch. Raises MethodError, and PictureError for what cannot be read."""
    token_ids = isinstance(images, Tensor) and images.dim() == 2 and not images.is_floating_point()
    films = isinstance(images, Tensor) and images.dim() == 5 and images.is_floating_point()
    if isinstance(images, Mapping) or token_ids or films:
        inputs = vit.inputs(images)
        count = batch_of(inputs)
        for start in range(0, count, batch_size):
            index = torch.arange(start, min(start + batch_size, count))
            part = inputs if count <= batch_size else select(inputs, index)
            ids = list(content_keys(part))
            yield InputBatch(part, index.tolist(), count, ids, ids)
        return
    source = picture_source(images)
    for batch in source.batches(vit, batch_size):
        yield InputBatch(vit.inputs(batch.images), batch.positions, len(source), batch.keys, batch.ids)


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


def explain_batch(
    vit: Vit, inputs: Inputs, request: Request, target: Target, clean: bool = False
) -> dict[str, Explanation]:
    """Every method of a resolved request on one batch; what is the same for a whole run is not yet in it."""
    infos = {name: get_method(name) for name in request}
    anatomy = vit.probe_for(inputs).anatomy
    groups: dict[tuple[Rules | None, int, Precision], list[tuple[MethodInfo, Needs]]] = {}
    for name, info in infos.items():
        with _refused_by_name(info, vit):
            needs = info.needs_for(vit, inputs, request[name])
        own = id(needs.target) if needs.target else 0
        groups.setdefault((needs.rules, own, needs.precision or vit.precision), []).append((info, needs))
    made: dict[str, Explanation] = {}
    for (rules, _, precision), members in groups.items():
        capture = Capture()
        for _, needs in members:
            capture = capture | needs.capture
        aim = members[0][1].target or target
        diagnosed = any(info.family in diagnostics.FAMILIES for info, _ in members)
        # what a target of its own reads shows only in its gradient
        follows = any(info.follows_rows for info, _ in members)
        seeks = follows and anatomy.layout is not None and reads_for_itself(aim, inputs)
        seeks = seeks and not (aim.needs_classifier and anatomy.classes is None)
        capture = capture | Capture(streams=seeks)
        gradient = seeks or any(needs.gradient for _, needs in members)
        # one hold on the model for the norms and the pass that they belong to
        with (
            exclusive(vit.model),
            diagnostics.watch_norms(vit.model, anatomy, diagnosed or clean) as seen,
            released(),
        ):
            trace = vit.trace(
                inputs, aim, gradient=gradient, rules=rules, capture=capture, precision=precision
            )
        note = None
        if any(needs.gradient for _, needs in members):
            note = trace.note_on_gradient()
        if diagnosed and anatomy.layout is not None:
            seen.sinks = diagnostics.sink_masses(trace)
        relevances = _run(vit, trace, [info for info, _ in members], request)
        for (info, needs), relevance in zip(members, relevances, strict=True):
            explanation = to_explanation(trace, info, relevance, request[info.name])
            if note is not None and needs.gradient:
                if note != FLAT:
                    require_nonzero_maps(info.name, explanation.maps, note)
                explanation.metadata["notes"].append(note)
            if info.family in diagnostics.FAMILIES and anatomy.layout is not None:
                records = {"diagnostics": seen.records(trace.batch)}
                explanation = dataclasses.replace(explanation, metadata={**explanation.metadata, **records})
            made[info.name] = diagnostics.clean(explanation, seen.outliers) if clean else explanation
    return {name: made[name] for name in request}


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


def _prefix_share(tokens: Tensor, trace: Trace) -> Tensor:
    """Share of the absolute relevance that lies on prefix tokens, (B,)."""
    if tokens.shape[1] != trace.layout.tokens:
        return torch.zeros(tokens.shape[0])
    size = tokens.abs()
    prefix = size[:, : trace.layout.prefix_count].sum(1)
    return (prefix / size.sum(1).clamp_min(1e-12)).cpu()
