"""Which heads matter: exact leave-one-head-out for every head, all metrics in one sweep, and a first-order screen.

Head importance by pruning (Li et al., TVCG 2023, arXiv 2303.13731). What must be known of all pictures (the means that
stand in for a head, which heads pass a screen) is prepared over all of them; the rest is measured per picture, part by
part.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from vitscope.heads.errors import HeadsError
from vitscope.heads.origin import Origin, check_labels_of, heads_recipe
from vitscope.heads.per_picture import PerPicture, Rows, go_through
from vitscope.heads.pruning.change_metrics import class_count
from vitscope.heads.pruning.first_order import first_order_scores
from vitscope.heads.pruning.leave_one_out import Head, LeaveOneOut
from vitscope.heads.pruning.means import Replacement, check_replacement, replacement_means
from vitscope.heads.pruning.path_order import CLASSES, divergence_bits, path_scores
from vitscope.heads.pruning.path_order import COST as PATH_COST
from vitscope.heads.pruning.sweep import Representation
from vitscope.heads.rankings.correlation import spearman
from vitscope.heads.spatial_sites import head_grid
from vitscope.heads.summed_table import SummedHeadTable
from vitscope.heads.table import HeadTable
from vitscope.options.bounds import BatchSize, Folder, PositiveShare
from vitscope.options.door import checked
from vitscope.pictures import Batch, Images, Labels, picture_source
from vitscope.progress import CountedStage, Progress
from vitscope.tracing import ClassIndex, Target, TopK, Vit
from vitscope.tracing.calls.callers_switches import unaffected
from vitscope.tracing.recipe import model_identity

Table = TypeVar("Table", HeadTable, SummedHeadTable)


@checked(HeadsError)
@unaffected
def importance(
    vit: Vit,
    images: Images,
    labels: Labels | None = None,
    *,
    replacement: Replacement = "zero",
    screen: PositiveShare | None = None,
    exact: bool = True,
    representation: Representation = "standard",
    gradient: bool = True,
    path: bool = False,
    batch_size: BatchSize = 32,
    checkpoint: Folder | None = None,
    progress: Progress | None = None,
) -> HeadTable:
    """Remove every head in turn and measure, per picture, what changes.

    Args:
        vit: The opened model; it needs class scores.
        images: Pictures in any form that :func:`vitscope.pictures.picture_source` takes.
        labels: (n,) one class index per picture; None leaves out the metrics of the label.
        replacement: What stands in for a head's output: "zero", "mean" (over all given pictures and queries),
            "mean-per-query", or a tensor (L, H, d) or (L, H, N, d), for example from :func:`mean_outputs`.
        screen: Measure exactly only this share (0..1] of the heads, best first by the first-order score; the others
            are NaN. None measures all.
        exact: False gives first-order scores only.
        representation: "standard" (class token after the block and at the last block, patch tokens after the
            block), "all" (also the patch tokens of the last block, which costs more) or "none" (output metrics
            only).
        gradient: False gives no first-order scores.
        path: Also predict what each removal would do: from slopes at two places of the way to it path_logit_drop and
            path_loss_rise, from those of the five likeliest classes first_order_divergence. They follow the exact
            columns more closely than first_order does and cost four forward and twelve backward passes in all. A
            screen then goes by first_order_divergence.
        batch_size: Pictures in a batch, and changed copies in one pass; it changes time and memory, not the result.
        checkpoint: A folder that keeps every finished part. A run that was stopped continues from it when it is called
            again with the same model, pictures, labels and options. It is yours to remove.
        progress: Reports progress, and is asked whether to stop; see :mod:`vitscope.progress`.

    Returns:
        A table (n, L, H) for each metric of ``vs.heads.METRICS`` that applies. Its metadata hold the cost in full
        forward passes and, where both are known, the rank correlation of first-order and exact scores.

    Raises:
        HeadsError: Options that do not exist or do not fit together, or a model without heads or class scores.
        PictureError: A picture that cannot be read.
        DataError: Labels for another number of pictures.

    Example:
        >>> import vitscope as vs
        >>> vit = vs.open_model("bundled/shapes")
        >>> pictures = vs.worlds.world("shapes").sample(2, seed=1).images()
        >>> table = vs.heads.importance(vit, pictures, representation="none")
        >>> table.shape, table["js_divergence"].shape
        ((6, 4), (2, 6, 4))
        >>> len(table.order("js_divergence"))
        24

    Source: head importance by pruning, Li et al., TVCG 2023, arXiv 2303.13731.
    """
    if (screen is not None or not exact or path) and not gradient:
        raise HeadsError(
            "expected gradient=True for a screen or a path, got gradient=False; both begin with first-order scores"
        )
    check_replacement(vit, replacement)
    source = picture_source(images, labels=labels)
    L, H = head_grid(vit.anatomy)
    check_labels_of(source, class_count(vit.anatomy))
    labelled = source.labels is not None
    started = time.monotonic()
    model = model_identity(vit)
    means = replacement_means(vit, source, replacement, batch_size, progress, checkpoint, model)

    def over(
        name: str, options: dict[str, Any], measure: Callable[[Batch], Rows], stage: CountedStage
    ) -> Rows:
        made = heads_recipe(vit, source, name, {"means": means, **options}, labelled=labelled, model=model)
        analysis = PerPicture(made, measure, batch_size, stage)
        return go_through(analysis, vit, source, batch_size, stage, checkpoint)

    found: list[Rows] = []
    if gradient:
        stage = CountedStage(progress, "first-order scores", len(source), checkpoint=checkpoint)
        slopes = FirstOrder(vit, means, labelled, path)
        found.append(over("first-order scores", {"path": True} if path else {}, slopes, stage))
    heads = [(block, head) for block in range(L) for head in range(vit.anatomy.blocks[block].heads)]
    if screen is not None:
        heads = _screened(found[0], heads, screen)
    if exact:
        stage = CountedStage(
            progress,
            "pruning heads",
            len(source),
            len(heads),
            unit="heads of pictures",
            checkpoint=checkpoint,
        )
        sweep = LeaveOneOut(vit, heads, means, representation, labelled, batch_size, L, H, stage)
        chosen = {"heads": heads, "representation": representation}
        found.append(over("leave one head out", chosen, sweep, stage))
    # A picture that vanished between two passes is in one of them only.
    shared = set.intersection(*(set(rows.keys) for rows in found))
    found = [rows.only(shared) for rows in found]
    options = importance_options(means, heads if exact else [], representation, gradient, path)
    recipe = heads_recipe(vit, source, "importance", options, labelled=labelled, model=model)
    metadata: dict[str, Any] = {
        "model": vit.source,
        "fingerprint": model["fingerprint"],
        "replacement": replacement if isinstance(replacement, str) else "given",
        "labels": labelled,
        "screen": screen,
        "full_forwards": sum(rows.cost for rows in found),
        "seconds": round(time.monotonic() - started, 3),
        "savings": found[-1].notes.get("savings", {}),
    }
    values = {name: value for rows in found for name, value in rows.values.items()}
    origin = Origin(recipe, found[0].ids, dict(source.skipped))
    return described_importance(HeadTable(values, found[0].keys, {}, origin), metadata)


def importance_options(
    means: Any, heads: Sequence[Head], representation: str, gradient: bool, path: bool = False
) -> dict[str, Any]:
    """What the recipe of a table of head importance says of its options. heads: those removed, none for a screen."""
    return {
        "means": means,
        "heads": heads,
        "representation": representation if heads else "none",
        "gradient": gradient,
        **({"path": True} if path else {}),
    }


def described_importance(table: Table, metadata: Mapping[str, Any]) -> Table:
    """A table of head importance with ``metadata``, which is completed from its recipe and its numbers."""
    options = table.recipe.options
    known = {
        "analysis": "importance",
        "pictures": table.count,
        "heads_confirmed": len(options["heads"]),
        "representation": options["representation"],
    }
    return with_first_order_correlation(replace(table, metadata={**known, **metadata}))


class FirstOrder:
    """first_order |<T, dT>| and its signed form of the top class, and of the label where there are labels; with
    ``path`` what slopes at two places predict."""

    def __init__(self, vit: Vit, means: Tensor | None, labelled: bool, path: bool = False) -> None:
        self.vit, self.means, self.labelled, self.path = vit, means, labelled, path

    def __call__(self, batch: Batch) -> Rows:
        targets: list[Target] = [TopK(1)]
        if self.labelled and batch.labels is not None:
            targets.append(ClassIndex(tuple(batch.labels.tolist())))
        asked = len(targets)
        if self.path:
            counted = min(CLASSES, self.vit.anatomy.classes or 1)
            targets += [TopK(rank + 1, "log_probability") for rank in range(counted)]
        traces = self.vit.traces(batch.images, targets, keys=batch.keys)
        signed = first_order_scores(traces[0], self.means)
        values = {"first_order": signed.abs(), "first_order_signed": signed}
        if asked > 1:
            values["first_order_label"] = first_order_scores(traces[1], self.means)
        cost = 1 + len(targets)
        if self.path:
            likeliest = traces[asked:]
            logit, loss = path_scores(self.vit, batch.images, [traces[0], likeliest[0]], self.means)
            values |= {"path_logit_drop": logit, "path_loss_rise": loss}
            values["first_order_divergence"] = divergence_bits(likeliest, self.means)
            cost += PATH_COST
        return Rows.of(batch, values, cost * len(batch))


def _screened(rows: Rows, heads: Sequence[Head], screen: float) -> list[Head]:
    """The share ``screen`` of the heads with the largest mean score of the screen, in their own order."""
    by = "first_order_divergence" if "first_order_divergence" in rows.values else "first_order"
    scores = torch.from_numpy(rows.values[by]).double().abs()
    # Sorted values have one sum, whatever the order of the pictures.
    mean = scores.sort(0).values.mean(0)
    ranked = sorted(heads, key=lambda head: -float(mean[head]))
    return sorted(ranked[: max(1, round(screen * len(heads)))])


PREDICTED = {
    "first_order_spearman": (
        ("js_divergence", "first_order"),
        ("kl_divergence", "first_order"),
        ("logit_drop_top", "first_order_signed"),
        ("probability_drop_top", "first_order_signed"),
    ),
    "path_spearman": (
        ("js_divergence", "first_order_divergence"),
        ("logit_drop_top", "path_logit_drop"),
        ("loss_rise_top", "path_loss_rise"),
        ("probability_drop_top", "path_loss_rise"),
    ),
}
"""By its name in the metadata, which exact column each cheap one predicts."""


def with_first_order_correlation(table: Table) -> Table:
    """The table, its metadata telling Spearman's rho over heads between cheap scores and the exact output metrics that
    they predict, of their means, where it has both."""
    told: dict[str, dict[str, float]] = {}
    for name, pairs in PREDICTED.items():
        for metric, column in pairs:
            if metric in table.metrics and column in table.metrics:
                if isinstance(table, HeadTable):
                    first, second = (table[each].mean(0).astype(np.float64) for each in (column, metric))
                else:
                    first, second = table.mean(column), table.mean(metric)
                told.setdefault(name, {})[metric] = spearman(first.ravel(), second.ravel())
    return replace(table, metadata={**table.metadata, **told}) if told else table
