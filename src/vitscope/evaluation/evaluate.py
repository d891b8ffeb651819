"""``vs.evaluate``: methods × metrics on pictures under one protocol, with the controls in every table."""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import torch
from torch import Tensor

from vitscope.errors import EvaluationError
from vitscope.evaluation.cascade import Cascade
from vitscope.evaluation.case import Case, Subject
from vitscope.evaluation.dataset import Batch, EvaluationSet, evaluation_set
from vitscope.evaluation.footprint import Footprint
from vitscope.evaluation.leaderboard import CurveRecord, Leaderboard, MethodRecord
from vitscope.evaluation.metric import Metric, MetricInfo, get_metric, statistics_of
from vitscope.evaluation.mosaics import mosaics_of
from vitscope.evaluation.perturbation import ModelCall, Perturber
from vitscope.evaluation.protocol import Protocol, pictures_digest
from vitscope.evaluation.subjects import CONTROLS, Contestant, contestants

DEFAULT_METHODS = ("gmar", "daam", "rollout", "gae")
DEFAULT_METRICS = ("srg",)
KEPT_PICTURES = 64


def evaluate(
    vit: Any,
    images: Any,
    labels: Sequence[int] | Tensor | None = None,
    methods: Sequence[str] = DEFAULT_METHODS,
    metrics: Sequence[str] = DEFAULT_METRICS,
    protocol: Protocol | None = None,
    *,
    masks: Sequence[Any] | Tensor | None = None,
    boxes: Sequence[Sequence[tuple[float, float, float, float]]] | None = None,
    keys: Sequence[str] | None = None,
    options: Mapping[str, Mapping[str, Any]] | None = None,
    controls: Sequence[str] = CONTROLS,
    batch_size: int = 16,
    evaluation_batch: int = 64,
    keep_pictures: int = KEPT_PICTURES,
    progress: Callable[[str, int, int], None] | None = None,
) -> Leaderboard:
    """Score methods on pictures: a leaderboard with the controls beside them.

    images: a folder, paths, Pillow images, uint8 arrays, a ready tensor (B, 3, H, W), a sample of a world, or an
        EvaluationSet. labels: true classes. masks, boxes: where the object or the planted evidence lies, in the
        pictures' own pixels. keys: names of the pictures, on which their random draws depend.
    methods: names of the registry; ``options`` gives a method's options by its name.
    metrics: names of :func:`vitscope.evaluation.metrics`; those that never stand alone bring their companions.
    controls: which controls share the table; all of them unless you know why not.
    batch_size: pictures explained together; evaluation_batch: perturbed pictures the model sees at once. Neither
        changes a result.
    progress: called with (what, done, total) in pictures × methods.

    Raises EvaluationError for what does not fit together: a metric without the labels, masks or boxes it needs, a
    method that does not apply to this model.
    """
    data = evaluation_set(images, labels, masks, boxes, keys)
    wanted = _with_companions(metrics)
    mosaic = [info for info in wanted if "mosaics" in info.requires and not data.mosaics]
    direct = [info for info in wanted if info not in mosaic]
    _check(direct, data)
    bound = _bind(protocol or Protocol(), vit, data)
    rows = contestants(vit, methods, options or {}, controls)
    run = _Run(vit, bound, rows, direct, batch_size, evaluation_batch, keep_pictures, progress)
    total = len(data) * len(rows)
    mosaics = mosaics_of(vit, data, bound.seed, bound.mosaic) if mosaic else None
    if mosaics is not None:
        total += len(mosaics) * len(rows)
    run.total = total
    if direct:
        run.over(data)
    if mosaics is not None:
        # The explained class of a mosaic is the class of the cell that is asked for.
        second = _Run(
            vit, replace(bound, target="label"), rows, mosaic, batch_size, evaluation_batch, 0, progress
        )
        second.total, second.done = total, run.done
        second.over(mosaics)
        run.adopt(second)
    return run.board([info.name for info in wanted])


@dataclass
class _Run:
    vit: Any
    protocol: Protocol
    rows: list[Contestant]
    metrics: list[MetricInfo]
    batch_size: int
    evaluation_batch: int
    keep_pictures: int
    progress: Callable[[str, int, int], None] | None
    total: int = 0
    done: int = 0
    shared: int = 0
    states: dict[tuple[str, str], Metric] = field(default_factory=dict)
    evaluations: dict[tuple[str, str], int] = field(default_factory=dict)
    curves: dict[tuple[str, str], CurveRecord] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    memory: dict[str, float] = field(default_factory=dict)
    explained: dict[str, int] = field(default_factory=dict)
    pictures: dict[str, Any] = field(default_factory=dict)
    maps: dict[tuple[str, str], Any] = field(default_factory=dict)

    def over(self, data: EvaluationSet) -> None:
        """Go through the pictures once."""
        cascade = None
        if any(info.family == "sanity" for info in self.metrics):
            cascade = Cascade(self.vit, self.protocol.seed)
        for batch in data.batches(self.vit, self.batch_size):
            case = self._case(batch, cascade)
            self._keep_thumbnails(batch)
            for contestant in self.rows:
                self._score(case, contestant)
                self.done += len(case)
                if self.progress is not None:
                    self.progress(contestant.name, self.done, self.total)
            self.shared += case.perturber.evaluations - sum(case.memory.get("charged", {}).values())

    def _case(self, batch: Batch, cascade: Cascade | None) -> Case:
        vit, protocol = self.vit, self.protocol
        logits = vit.forward(batch.images)
        classes = _classes(protocol, logits, batch.labels)
        anatomy = vit.anatomy_for(tuple(batch.images.shape[-2:]))
        mean, std = (None, None) if vit.preprocessor is None else vit.preprocessor.mean_std()
        runner = Perturber(
            model_call(vit, protocol.removal),
            batch.images,
            classes,
            protocol.grid or (1, 1),
            protocol,
            class_token=anatomy.pooling in ("class", "class+distillation"),
            mean=None if mean is None else mean.flatten(),
            std=None if std is None else std.flatten(),
            batch_size=self.evaluation_batch,
        )
        runner.adopt_clean(logits)
        runner.evaluations = len(logits)
        labels = None if batch.labels is None else batch.labels.to(batch.images.device)
        return Case(
            runner, batch.keys, labels, batch.masks, batch.boxes, class_count=logits.shape[1], cascade=cascade
        )

    def _score(self, case: Case, contestant: Contestant) -> None:
        with Footprint(case.images.device) as footprint:
            subjects = contestant.subjects(self.vit, case)
        name = contestant.name
        self.seconds[name] = self.seconds.get(name, 0.0) + footprint.seconds / len(subjects)
        self.memory[name] = max(self.memory.get(name, float("-inf")), footprint.memory)
        self.explained[name] = self.explained.get(name, 0) + len(case)
        charged = case.memory.setdefault("charged", {})
        for info in self.metrics:
            before = case.perturber.evaluations
            values = [info.function(subject) for subject in subjects]
            spent = case.perturber.evaluations - before
            charged[(name, info.name)] = charged.get((name, info.name), 0) + spent
            self.evaluations[(name, info.name)] = self.evaluations.get((name, info.name), 0) + spent
            known = [statistics_of(value) for value in values if value is not None]
            if known:
                state = self.states.setdefault((name, info.name), Metric(info))
                state.update_rows(case.keys, _mean_over_draws(known))
        self._keep_curves(case, name, subjects)
        for row, key in enumerate(case.keys):
            if key in self.pictures:
                self.maps[(name, key)] = subjects[0].maps[row].detach().float().cpu().numpy()

    def _keep_curves(self, case: Case, name: str, subjects: list[Subject]) -> None:
        for curve in subjects[0].curves_kept:
            fractions, _ = subjects[0].curves_kept[curve]
            values = torch.stack([s.curves_kept[curve][1].detach().double().cpu() for s in subjects]).mean(0)
            kept = self.curves.get((name, curve))
            if kept is None:
                self.curves[(name, curve)] = CurveRecord(fractions.double().cpu(), list(case.keys), values)
            else:
                kept.keys.extend(case.keys)
                kept.values = torch.cat([kept.values, values])

    def _keep_thumbnails(self, batch: Batch) -> None:
        for key, thumbnail in zip(batch.keys, batch.thumbnails, strict=True):
            if len(self.pictures) < self.keep_pictures:
                self.pictures[key] = thumbnail

    def adopt(self, other: _Run) -> None:
        """Take over the scores of the mosaics."""
        self.states.update(other.states)
        self.evaluations.update(other.evaluations)
        self.shared += other.shared
        for name, count in other.explained.items():
            if name not in self.explained:
                self.explained[name], self.seconds[name] = count, other.seconds[name]
                self.memory[name] = other.memory[name]

    def board(self, metrics: list[str]) -> Leaderboard:
        """The finished leaderboard."""
        records = [
            MethodRecord(
                contestant.name,
                contestant.family,
                contestant.class_specific,
                contestant.control,
                self.seconds[contestant.name] / max(1, self.explained[contestant.name]),
                self.memory[contestant.name],
            )
            for contestant in self.rows
        ]
        return Leaderboard(
            self.protocol,
            records,
            metrics,
            self.states,
            self.evaluations,
            self.shared,
            self.curves,
            self.pictures,
            self.maps,
        )


def model_call(vit: Any, removal: str) -> ModelCall:
    """An opened model as the perturbation runner asks it: pictures and kept patches in, logits out."""
    from vitscope.tracing import TokenRemoval

    mode: Literal["mask", "drop"] = "drop" if removal == "drop" else "mask"

    def ask(images: Tensor, keep: Tensor | None) -> Tensor:
        logits: Tensor = vit.forward(images, removal=None if keep is None else TokenRemoval(keep, mode))
        return logits

    return ask


def _mean_over_draws(rows: list[Tensor]) -> Tensor:
    """Statistics of one control over its draws as those of one method: (B, K).

    Sums over the draws divided by their number; a picture counts as defined by the share of draws that were.
    """
    return rows[0] if len(rows) == 1 else torch.stack([row.cpu() for row in rows]).mean(0)


def _with_companions(names: Sequence[str]) -> list[MetricInfo]:
    if isinstance(names, str) or not names:
        raise EvaluationError(f"expected a list of metric names, got {names!r}; for example metrics=['srg']")
    wanted: list[MetricInfo] = []
    for name in names:
        info = get_metric(name)
        for each in (info, *(get_metric(other) for other in info.beside)):
            if each not in wanted:
                wanted.append(each)
    return wanted


def _check(metrics: Sequence[MetricInfo], data: EvaluationSet) -> None:
    has = {
        "labels": data.labels is not None,
        "masks": data.masks is not None or data.boxes is not None,
        "boxes": data.masks is not None or data.boxes is not None,
    }
    remedy = {"labels": "labels=", "masks": "masks= or boxes=", "boxes": "boxes= or masks="}
    for info in metrics:
        for need in info.requires:
            if not has.get(need, True):
                raise EvaluationError(
                    f"the metric {info.name!r} needs {need} of the pictures; pass {remedy[need]}"
                )


def _classes(protocol: Protocol, logits: Tensor, labels: Tensor | None) -> Tensor:
    if protocol.target == "top1":
        return logits.argmax(1)
    if protocol.target == "label":
        if labels is None:
            raise EvaluationError("target='label' needs the true class of each picture; pass labels=")
        wanted = labels.to(logits.device)
    else:
        wanted = torch.full((len(logits),), int(protocol.target), device=logits.device)
    if int(wanted.min()) < 0 or int(wanted.max()) >= logits.shape[1]:
        raise EvaluationError(
            f"a label or target lies outside the model's {logits.shape[1]} classes; check the label file"
        )
    return wanted


def _bind(protocol: Protocol, vit: Any, data: EvaluationSet) -> Protocol:
    """The protocol with everything filled in that the user does not choose."""
    import timm

    import vitscope

    layout = vit.anatomy.layout
    if vit.anatomy.classes is None:
        raise EvaluationError(
            f"'{vit.source}' has no classifier, so there is no class score to evaluate; choose another"
        )
    versions = {"vitscope": vitscope.__version__, "torch": torch.__version__, "timm": timm.__version__}
    return replace(
        protocol,
        images=pictures_digest(data.keys),
        pictures=len(data),
        model=vit.fingerprint,
        precision=vit.precision,
        preprocessing="" if vit.preprocessor is None else vit.preprocessor.describe(),
        grid=None if layout is None else layout.grid,
        versions=tuple(sorted({**versions, "python": platform.python_version()}.items())),
    )
