"""``vs.evaluate``: methods × metrics on pictures under one protocol, with the controls in every table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

from torch import Tensor

from vitscope.analysis import growing, run_in_parts
from vitscope.errors import EvaluationError
from vitscope.evaluation.board.leaderboard import Leaderboard
from vitscope.evaluation.board.merging import side_by_side
from vitscope.evaluation.metric import MetricInfo, get_metric
from vitscope.evaluation.protocol import Aim, Protocol
from vitscope.evaluation.running.aim import aimed
from vitscope.evaluation.running.checkpoint import Evaluation
from vitscope.evaluation.running.dataset import EvaluationSet, evaluation_set
from vitscope.evaluation.running.mosaics import mosaics_of
from vitscope.evaluation.running.plan import Plan
from vitscope.evaluation.running.recipe import bind, truth_used
from vitscope.evaluation.running.subjects import CONTROLS, contestants, default_methods
from vitscope.options.bounds import BatchSize, Folder, Items, Names
from vitscope.options.door import checked
from vitscope.pictures import Images, Labels
from vitscope.progress import CountedStage, Progress, watched
from vitscope.tracing import Vit
from vitscope.tracing.calls.callers_switches import unaffected
from vitscope.tracing.recipe import model_identity

DEFAULT_METRICS = ("srg",)


@checked(EvaluationError)
@unaffected
def evaluate(
    vit: Vit,
    images: Images,
    labels: Labels | None = None,
    methods: Names | None = None,
    metrics: Names = DEFAULT_METRICS,
    protocol: Protocol | None = None,
    *,
    masks: Sequence[Any] | Tensor | None = None,
    boxes: Sequence[Sequence[tuple[float, float, float, float]]] | None = None,
    keys: Sequence[str] | None = None,
    options: Mapping[str, Mapping[str, Any]] | None = None,
    controls: Annotated[Sequence[str], Items(distinct=True)] = CONTROLS,
    batch_size: BatchSize = 16,
    perturbed_batch_size: BatchSize = 64,
    keep_pictures: bool = True,
    checkpoint: Folder | None = None,
    progress: Progress | None = None,
) -> Leaderboard:
    """Score explanation methods on pictures: a leaderboard, with controls beside the methods.

    Args:
        vit: The opened model.
        images: A folder, paths, Pillow images, uint8 arrays, a ready tensor (B, 3, H, W), a sample of a world, or an
            EvaluationSet.
        labels: (n,) true classes, needed by some metrics and by the target ``"label"``.
        methods: Names of methods. None takes the default method with gmar, daam, rollout and gae, as far as they apply
            to the model.
        metrics: Names of :func:`vitscope.evaluation.all_metrics`. Metrics that are misleading alone bring their
            companions. The default is SRG, symmetric relevance gain: the area under the removal curve with the least
            relevant patches first minus that with the most relevant first, in units of the score.
        protocol: What must be equal for scores to be compared; None takes ``Protocol()``.
        masks: (n, H, W) bool, where the object or the planted evidence is, in the pictures' own pixels.
        boxes: For each picture a list of (x0, y0, x1, y1), likewise.
        keys: Names of the pictures, on which their random draws depend.
        options: Options of methods: by the method's name, a mapping of option to value.
        controls: Which controls are in the table. Leave them all in unless there is a reason not to.
        batch_size: Pictures explained together; it changes time and memory, not the result.
        perturbed_batch_size: Perturbed pictures in one forward pass; likewise.
        keep_pictures: Keep, for the page, the pictures on which each method does worst and best.
        checkpoint: A folder that keeps every finished part. A run that was stopped continues from it when it is called
            again with the same model, pictures, truth and options; with others it starts again and leaves the old
            parts in place. It is yours to remove.
        progress: Reports progress in pictures × methods, and is asked whether to stop, see :mod:`vitscope.progress`.

    Returns:
        The leaderboard: value, 95 % interval and paired tests for every method and metric, and values per picture.

    Raises:
        EvaluationError: A metric without the labels, masks or boxes that it needs, an unknown metric, or a method that
            does not apply to the model.
        PictureError: A picture that cannot be read.

    Example:
        >>> import vitscope as vs
        >>> vit = vs.open_model("bundled/shapes")
        >>> sample = vs.worlds.world("shapes").sample(4, seed=1)
        >>> quick = vs.Protocol(removal="drop", steps=2, random_draws=1)
        >>> board = vs.evaluate(vit, sample, methods=["dart"], metrics=["srg"], protocol=quick, controls=("random",))
        >>> board.ranking("srg")
        ['dart', 'random']

    Source: SRG is from Blücher et al. 2024, arXiv 2401.06654; each metric's own publication is
    ``vs.evaluation.get_metric(name).citation``.
    """
    watched(progress)
    data = evaluation_set(images, labels, masks, boxes, keys)
    wanted = with_companions(metrics)
    mosaic = [info for info in wanted if "mosaics" in info.requires and not data.mosaics]
    direct = [info for info in wanted if info not in mosaic]
    chosen = aimed(protocol or Protocol(), vit)
    if "labels" in truth_used(wanted, chosen.target):
        data = data.with_labels_of_items()
    _check(wanted, data, vit.anatomy.classes)
    chosen_methods = default_methods(vit.anatomy) if methods is None else methods
    rows = contestants(vit, chosen_methods, options or {}, controls)
    model = model_identity(vit)
    first = data.first(vit)
    mosaics = mosaics_of(vit, data, chosen.seed, chosen.mosaic) if mosaic else None

    def over(pictures: EvaluationSet, infos: list[MetricInfo], aim: Aim, place: str) -> Leaderboard:
        show = keep_pictures and pictures is data
        pictures = pictures.only(truth_used(infos, aim))
        bound = bind(replace(chosen, target=aim), vit, model, pictures, rows, infos, first)
        folder = None if checkpoint is None else Path(checkpoint) / place
        stage = CountedStage(
            progress,
            f"evaluating {place}",
            len(pictures),
            len(rows),
            unit="explanations",
            checkpoint=checkpoint,
        )
        plan = Plan(bound, rows, infos, batch_size, perturbed_batch_size, show)
        return run_in_parts(
            Evaluation(plan, stage), vit, pictures, growing(batch_size), folder=folder, stage=stage
        )

    boards = [over(data, direct, chosen.target, "pictures")] if direct else []
    if mosaics is not None:
        # The explained class of a mosaic is the class of the cell that is asked for.
        boards.append(over(mosaics, mosaic, "label", "mosaics"))
    board = boards[0] if len(boards) == 1 else side_by_side(*boards)
    whole = bind(chosen, vit, model, data.only(truth_used(wanted, chosen.target)), rows, wanted, first)
    return replace(board, protocol=whole, metrics=[info.name for info in wanted])


def with_companions(names: Sequence[str]) -> list[MetricInfo]:
    """The metrics of these names, each with those that are always reported beside it."""
    wanted: list[MetricInfo] = []
    for name in names:
        info = get_metric(name)
        for each in (info, *(get_metric(other) for other in info.beside)):
            if each not in wanted:
                wanted.append(each)
    return wanted


def _check(metrics: Sequence[MetricInfo], data: EvaluationSet, classes: int | None) -> None:
    has = {
        "labels": data.labels is not None,
        "masks": data.masks is not None or data.boxes is not None,
        "boxes": data.masks is not None or data.boxes is not None,
    }
    remedy = {"labels": "labels=", "masks": "masks= or boxes=", "boxes": "boxes= or masks="}
    by_class = [info.name for info in metrics if {"labels", "mosaics"} & set(info.requires)]
    if by_class and data.labels is not None and classes is not None:
        wrong = [int(label) for label in data.labels if not 0 <= int(label) < classes]
        if wrong:
            raise EvaluationError(
                f"the metric {by_class[0]!r} was given the class {wrong[0]}, but the model has {classes} (0 to "
                f"{classes - 1}); check the label file"
            )
    for info in metrics:
        for need in info.requires:
            if not has.get(need, True):
                raise EvaluationError(
                    f"the metric {info.name!r} needs {need} of the pictures; pass {remedy[need]}"
                )
