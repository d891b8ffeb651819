"""Partial pruning: remove only some entries of one head's attention, and measure the same metrics as a curve over k.

The parts are those of Li et al., TVCG 2023, arXiv 2303.13731: the class query's row, the patch queries, the class key,
keys at exactly / at most / at least k hops, or one chosen query. The softmax is not renormalised by default: the
contribution of the entries is gone and nothing takes its place.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import torch
from torch import Tensor

from vitscope.heads.distance.hops import Distance
from vitscope.heads.errors import HeadsError
from vitscope.heads.origin import Origin, check_labels_of, heads_recipe
from vitscope.heads.per_picture import PerPicture, Rows, go_through
from vitscope.heads.pruning.change_metrics import class_count
from vitscope.heads.pruning.entries import FIXED_PARTS, HOP_PARTS, Part, steps_and_masks
from vitscope.heads.pruning.partial_curves import PartialPruning
from vitscope.heads.pruning.sweep import Representation, clean_run, groups, measure, stacked_index
from vitscope.heads.spatial_sites import head_grid
from vitscope.options.bounds import BatchSize, Block, Folder, Head, Items
from vitscope.options.door import checked
from vitscope.pictures import Batch, Images, Labels, picture_source
from vitscope.progress import CountedStage, Progress
from vitscope.tracing import EntryAblation, Vit
from vitscope.tracing.calls.callers_switches import unaffected
from vitscope.tracing.copies.resumer import Resumer


@checked(HeadsError)
@unaffected
def partial_pruning(
    vit: Vit,
    images: Images,
    block: Annotated[int, Block(attending=False)],
    head: Annotated[int, Head()],
    labels: Labels | None = None,
    *,
    parts: Annotated[Sequence[Part], Items(distinct=True)] = (*FIXED_PARTS, *HOP_PARTS),
    queries: Annotated[Sequence[int], Items(distinct=True)] = (),
    hops: Annotated[Sequence[int], Items(1, distinct=True)] | None = None,
    distance: Distance = "chebyshev",
    renormalise: bool = False,
    representation: Representation = "standard",
    batch_size: BatchSize = 32,
    checkpoint: Folder | None = None,
    progress: Progress | None = None,
) -> PartialPruning:
    """Remove parts of one head's attention in turn and measure what changes.

    Args:
        vit: The opened model; it needs class scores and a patch grid.
        images: Pictures in any form that :func:`vitscope.pictures.picture_source` takes.
        block: Block of the head, from 0.
        head: The head in its block, from 0.
        labels: (n,) one class index per picture; None leaves out the metrics of the label.
        parts: Which parts, of ``vs.heads.PARTS`` without "query".
        queries: Patches (row by row, from 0) whose own row is removed, as the part "query".
        hops: The k of the parts "at", "within" and "beyond"; None takes all.
        distance: How hops are counted on the patch grid: "chebyshev", "manhattan" or "euclidean".
        renormalise: True scales rows that lost entries so that they sum to 1 again.
        representation: Which representations are measured, as for :func:`importance`.
        batch_size: Pictures in a batch, and changed copies in one pass; it changes time and memory, not the result.
        checkpoint: A folder that keeps every finished part; a stopped run continues from it.
        progress: Reports progress, and is asked whether to stop; see :mod:`vitscope.progress`.

    Returns:
        The curves, per picture.

    Raises:
        HeadsError: A head or part that does not exist, or a model without a patch grid.
        PictureError: A picture that cannot be read.

    Example:
        >>> import vitscope as vs
        >>> vit = vs.open_model("bundled/shapes")
        >>> pictures = vs.worlds.world("shapes").sample(2, seed=1).images()
        >>> parts = vs.heads.partial_pruning(vit, pictures, 3, 1, parts=["within"], hops=[0, 2, 4])
        >>> parts.curve("within", "js_divergence")[["k", "n"]].values.tolist()
        [[0, 2], [2, 2], [4, 2]]

    Source: partial pruning, Li et al., TVCG 2023, arXiv 2303.13731.
    """
    head_grid(vit.anatomy)  # or the model has no heads to dissect
    source = picture_source(images, labels=labels)
    check_labels_of(source, class_count(vit.anatomy))
    labelled = source.labels is not None
    options = {
        "block": block,
        "head": head,
        "parts": list(parts),
        "queries": list(queries),
        "hops": None if hops is None else list(hops),
        "distance": distance,
        "renormalise": renormalise,
        "representation": representation,
    }
    made = heads_recipe(vit, source, "partial pruning", options, labelled=labelled)
    steps, masks = steps_and_masks(vit.anatomy.layout, vit.source, parts, queries, hops, distance)
    stage = CountedStage(progress, "dissecting the head", len(source), checkpoint=checkpoint)

    def measure_batch(batch: Batch) -> Rows:
        clean = clean_run(vit, batch.images, batch.labels if labelled else None)
        here, masked = steps, masks
        if clean.anatomy.layout != vit.anatomy.layout:  # pictures of another size
            here, masked = steps_and_masks(clean.anatomy.layout, vit.source, parts, queries, hops, distance)
            if here != steps:
                raise HeadsError(
                    f"expected pictures of the model's own size {vit.anatomy.layout}, got {clean.anatomy.layout}; "
                    "name hops that all of them have"
                )
        resumer = Resumer(vit, clean)
        columns: dict[str, list[Tensor]] = {}
        n = clean.pictures
        for group in groups(range(len(here)), n, batch_size):
            index = stacked_index(n, len(group))
            ablation = EntryAblation(block, head, masked[group].repeat_interleave(n, 0), renormalise)
            logits, outputs = resumer.run(block, ablation, index, patches=representation == "all")
            for name, value in measure(clean, logits, outputs, block, index, representation).items():
                columns.setdefault(name, []).append(value.reshape(len(group), n).T.float())
        return Rows.of(batch, {name: torch.cat(column, 1) for name, column in columns.items()})

    analysis = PerPicture(made, measure_batch, batch_size, stage)
    found = go_through(analysis, vit, source, batch_size, stage, checkpoint)
    return PartialPruning(
        block,
        head,
        tuple(steps),
        found.values,
        found.keys,
        {
            "analysis": "partial pruning",
            "model": vit.source,
            "fingerprint": made.model["fingerprint"],
            "pictures": len(found.keys),
            "distance": distance,
            "renormalise": renormalise,
        },
        Origin(made, found.ids, dict(source.skipped)),
    )
