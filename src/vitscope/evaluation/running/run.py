"""The run behind ``evaluate``: batch by batch, method by method, counting what the model is asked."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor

from vitscope.errors import EvaluationError, VitscopeError
from vitscope.evaluation.board import gallery
from vitscope.evaluation.board.leaderboard import Leaderboard
from vitscope.evaluation.board.records import CurveRecord, MethodRecord
from vitscope.evaluation.cascade import Cascade
from vitscope.evaluation.case import Case, Subject
from vitscope.evaluation.metric_state import Metric, statistics_of
from vitscope.evaluation.protocol import Protocol
from vitscope.evaluation.removal.draws import uniforms
from vitscope.evaluation.removal.perturbation import Asking, ModelCall, Perturber
from vitscope.evaluation.running.colours import thumbnail
from vitscope.evaluation.running.dataset import EvaluationSet
from vitscope.evaluation.running.footprint import Footprint
from vitscope.evaluation.running.plan import Plan
from vitscope.evaluation.running.subjects import Contestant
from vitscope.interruption import held, released
from vitscope.models.preparing.cells import Cells
from vitscope.pictures import Batch
from vitscope.progress import CountedStage
from vitscope.tracing import Vit


@dataclass
class Run:
    """One way through the pictures: every contestant against every metric, batch by batch."""

    vit: Vit
    plan: Plan
    stage: CountedStage
    cascade: Cascade | None = None
    shorten: bool = False
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
        for batch in data.batches(self.vit, self.plan.batch_size):
            case = self._case(batch)
            if self.plan.keep_pictures:
                for key, image in zip(batch.keys, batch.images, strict=True):
                    self.pictures[key] = thumbnail(self.vit, image, case.cells)
            for contestant in self.plan.rows:
                self.stage.check()
                self._score(case, contestant)
                self.stage.advance(len(case))
            if self.plan.keep_pictures:
                names = [info.name for info in self.plan.metrics]
                known = gallery.values_of(self.states, names, self.pictures)
                gallery.prune(known, self.pictures, self.maps)
            self.shared += case.perturber.evaluations - sum(case.memory.get("charged", {}).values())

    def _case(self, batch: Batch) -> Case:
        vit, protocol = self.vit, self.plan.protocol
        logits = vit.forward(batch.images)
        classes = _classes(protocol, logits, batch.labels)
        mean, std = (None, None) if vit.preprocessor is None else vit.preprocessor.mean_std()
        size = (int(batch.images.shape[-2]), int(batch.images.shape[-1]))
        anatomy = vit.anatomy_for(size)
        cells = anatomy.layout.cells_at(size) if anatomy.layout is not None else Cells.even((1, 1), size)
        asking = Asking(
            class_token=anatomy.pooling in ("class", "class+distillation"),
            mean=None if mean is None else mean.flatten(),
            std=None if std is None else std.flatten(),
            batch_size=self.plan.perturbed_batch_size,
            equal_lengths=self.shorten,
            probability=anatomy.probability,
        )
        call = model_call(vit, "drop" if self.shorten else protocol.removal)
        runner = Perturber(call, batch.images, classes, cells, protocol, asking)
        runner.adopt_clean(logits)
        runner.evaluations = len(logits)
        labels = None if batch.labels is None else batch.labels.to(batch.images.device)
        return Case(
            runner,
            batch.keys,
            labels,
            batch.masks,
            batch.boxes,
            class_count=logits.shape[1],
            cascade=self.cascade,
        )

    def _score(self, case: Case, contestant: Contestant) -> None:
        with held(), Footprint(case.images.device) as footprint, released():
            subjects = contestant.subjects(self.vit, case)
        name = contestant.name
        self.seconds[name] = self.seconds.get(name, 0.0) + footprint.seconds / len(subjects)
        self.memory[name] = max(self.memory.get(name, float("-inf")), footprint.memory)
        self.explained[name] = self.explained.get(name, 0) + len(case)
        charged = case.memory.setdefault("charged", {})
        for info in self.plan.metrics:
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

    def board(self) -> Leaderboard:
        """The leaderboard of what was gone through."""
        records = [
            MethodRecord(
                contestant.name,
                contestant.family,
                contestant.class_specific,
                contestant.control,
                self.seconds.get(contestant.name, 0.0) / max(1, self.explained.get(contestant.name, 0)),
                self.memory.get(contestant.name, float("nan")),
            )
            for contestant in self.plan.rows
        ]
        return Leaderboard(
            self.plan.protocol,
            records,
            [info.name for info in self.plan.metrics],
            {**self.states},
            self.evaluations,
            self.shared,
            {**self.curves},
            self.pictures,
            self.maps,
        )


def model_call(vit: Vit, removal: str) -> ModelCall:
    """An opened model as the perturbation runner asks it: pictures and kept patches in, logits out."""
    from vitscope.tracing import TokenRemoval

    mode: Literal["mask", "drop"] = "drop" if removal == "drop" else "mask"

    def ask(images: Tensor, keep: Tensor | None) -> Tensor:
        logits: Tensor = vit.forward(images, removal=None if keep is None else TokenRemoval(keep, mode))
        return logits

    return ask


def shortens(vit: Vit, images: Tensor) -> bool:
    """Whether the shorter sequence gives what masked keys give, so that it may be used in their place.

    Asked of the model itself on ``images`` (B, 3, H, W) with random halves of the patches kept: the logits must be
    equal to 1e-4 of their size. Only in float32: in half precision rounding alone is larger than that.
    """
    layout = vit.anatomy.layout
    if layout is None or vit.precision != "float32":
        return False
    keep = uniforms([str(i) for i in range(len(images))], (layout.patches,), 0, "shortens")
    keep = keep.argsort(1).argsort(1) < max(1, layout.patches // 2)
    try:
        masked, short = (model_call(vit, mode)(images, keep.to(images.device)) for mode in ("mask", "drop"))
    except (VitscopeError, RuntimeError):
        return False
    size = float(masked.abs().amax().clamp_min(1e-12))
    return bool(torch.isfinite(short).all()) and float((masked - short).abs().amax()) <= 1e-4 * size


def _mean_over_draws(rows: list[Tensor]) -> Tensor:
    """Statistics of one control over its draws as those of one method: (B, K).

    Sums over the draws divided by their number; a picture counts as defined by the share of draws that were.
    """
    return rows[0] if len(rows) == 1 else torch.stack([row.cpu() for row in rows]).mean(0)


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
