"""``explain``: pictures in, raw maps out; one trace for all methods that can share it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, overload

from vitscope.errors import AnswerError, MethodError, PictureError, TraceError
from vitscope.methods.explaining.batch import Request
from vitscope.methods.explaining.default import default_method
from vitscope.methods.explaining.explaining import Aimed, Explaining, Prepared
from vitscope.methods.explaining.explanation import Explanation
from vitscope.methods.explaining.explanations import Explanations
from vitscope.methods.explaining.inputs import input_batches
from vitscope.methods.registry import get_method
from vitscope.options.bounds import BatchSize, Names
from vitscope.options.door import checked
from vitscope.pictures import Images
from vitscope.progress import CountedStage, Progress, watched
from vitscope.tracing import HeadAblation, Vit, by_number, parse_target
from vitscope.tracing.calls.callers_switches import unaffected
from vitscope.tracing.recipe import model_identity
from vitscope.tracing.targets.parsing import TargetLike


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
) -> Explanations: ...
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
    ablation: HeadAblation | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> Explanation | Explanations:
    """Explain pictures: one raw relevance map per picture, by one method or by several that share their passes.

    Args:
        vit: The opened model.
        images: Any form that :func:`vitscope.pictures.picture_source` takes (paths, Pillow images, arrays, tensors, a
            source); films as a ready tensor (B, T, C, H, W); for a text model a mapping of tensors.
        method: A name, several names, or a mapping from names to options. None takes ``dart-removal`` where DART
            applies to the model, else ``daam``, see :func:`vitscope.methods.default_method`.
        target: What is explained. None or ``"top1"``: the predicted class's logit; ``207`` or ``"class:207"``;
            a class's name, ``"star"`` or ``"class:star"``; ``"top1:probability"``; ``"difference:3,5"`` or
            ``"difference:star,ring"``; one class or target for each picture; a callable on the model's output (B, C)
            that gives one number for each picture.
        batch_size: Pictures in one pass; it changes time and memory, not the result.
        keep_pictures: Keep the pictures in the explanation, so that overlays can be drawn.
        clean: Give patches whose norm is an outlier the median of their neighbours (Darcet et al. 2023).
        ablation: Heads that are switched off while the model runs, the same ones for every picture, see
            :meth:`vitscope.HeadAblation.of`: the maps are those of the changed model. Methods that average attention
            over heads still count the attention of a head that is off; the notes say so.
        progress: Reports progress, and is asked before each batch whether to stop, see :mod:`vitscope.progress`.
        options: Options of the method, by name; each goes to every named method that has it.

    Returns:
        An Explanation with maps (B, h, w) float32 on the model's patch grid, raw: no min-max, no upsampling. For
        several methods an Explanations: a dict of them by name.

    Raises:
        MethodError: A method that is unknown or does not apply to the model, or an option that no named method has.
        TargetError: A target that is not understood or that the model does not have.
        PictureError: Something that is no picture, or no picture that can be read.
        AnswerError: The model's answer to a picture is not finite.
        TraceError: An ablation that does not fit the model, or is another one for each picture.

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
    if ablation is not None and len(ablation.keep) != 1:
        raise TraceError(
            f"explain() switches the same heads off for every picture, got keep {tuple(ablation.keep.shape)}; give it "
            "(1, L, H), or explain picture by picture"
        )
    request = {} if method is None else _request(method, options)
    aim = by_number(parse_target(target), vit.class_names, vit.source)
    prepared = Prepared(vit, model_identity(vit), Aimed(aim))
    analysis: Explaining | None = None
    parts: list[Explanations] = []
    count = 0
    for batch in input_batches(vit, images, batch_size):
        count = batch.count
        if analysis is None:
            stage = CountedStage(progress, "explaining", count)
            chosen = request or _request(default_method(vit.probe_for(batch.inputs).anatomy), options)
            analysis = Explaining(chosen, aim, batch_size, stage, clean, keep_pictures, ablation=ablation)
        analysis.stage.check()
        try:
            parts.append(analysis.of_batch(prepared, batch))
        except AnswerError as error:
            raise error.among(batch.positions) from error
        analysis.stage.reach(batch.positions[-1] + 1)
    if analysis is None:
        raise PictureError("none of the pictures can be read; their source tells the reasons (.skipped)")
    analysis.stage.reach(count)
    joined = analysis.merge(prepared, parts)
    return joined if method is not None and not isinstance(method, str) else next(iter(joined.values()))


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
