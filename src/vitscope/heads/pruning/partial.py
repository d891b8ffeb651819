"""Dissect one head: take away only some entries of its attention and watch the same metrics as a curve over k.

Sheet "Visual analytics of attention", 1, partial pruning (Li et al. 2023): the class query's row, the patch queries,
the class key, keys at exactly / at most / at least k hops, or one chosen query. The softmax is not renormalised by
default: the entries' contribution is gone and nothing takes its place.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from vitscope.heads.distance.hops import Distance, grid_geometry
from vitscope.heads.errors import HeadsError
from vitscope.heads.origin import HasOrigin, Origin, check_disjoint, check_labels_of, heads_recipe
from vitscope.heads.per_picture import PerPicture, Rows, go_through
from vitscope.heads.pruning.change_metrics import class_count
from vitscope.heads.pruning.sweep import Representation, clean_run, groups, measure, stacked_index
from vitscope.heads.spatial_sites import head_grid
from vitscope.heads.table import check_once, merged_metadata, picture_rows, write_frame
from vitscope.models.anatomy import TokenLayout
from vitscope.options.bounds import BatchSize, Folder
from vitscope.options.door import checked
from vitscope.pictures import Batch, Images, Labels, picture_source
from vitscope.progress import CountedStage, Progress
from vitscope.storage import tables
from vitscope.storage.notes import decoding
from vitscope.tracing import EntryAblation, Vit
from vitscope.tracing.calls.callers_switches import unaffected
from vitscope.tracing.copies.resuming import Resumer

KIND = "partial pruning"
PLACE = ("picture", "step", "part", "k")
"""Columns that say whose numbers a row holds."""
HOP_PARTS = ("at", "within", "beyond")
FIXED_PARTS = ("class_query", "patch_queries", "class_key", "whole_head")
PARTS = (*FIXED_PARTS, *HOP_PARTS, "query")


def entry_mask(
    part: str,
    layout: TokenLayout,
    *,
    k: int | None = None,
    query: int | None = None,
    distance: str = "chebyshev",
) -> Tensor:
    """(N, N) bool, True where the attention entry (query, key) is taken away.

    at / within / beyond: entries between patches whose hop distance is exactly / at most / at least k. query: the row
    of one patch (0 ... P-1, row-major). whole_head: every entry.
    """
    N, start = layout.tokens, layout.prefix_count
    mask = torch.zeros(N, N, dtype=torch.bool)
    if part in ("class_query", "class_key"):
        if layout.class_index is None:
            raise HeadsError(
                f"expected a model with a class token for {part}, got none; use patch_queries or hops"
            )
        if part == "class_query":
            mask[layout.class_index] = True
        else:
            mask[:, layout.class_index] = True
    elif part == "patch_queries":
        mask[start:] = True
    elif part == "whole_head":
        mask[:] = True
    elif part in HOP_PARTS:
        geometry = grid_geometry(layout.grid, distance)
        if k is None or not 0 <= k < geometry.rings:
            raise HeadsError(
                f"expected a hop count from 0 to {geometry.rings - 1}, got {k}; choose k in that range"
            )
        hops = geometry.hops
        mask[start:, start:] = hops == k if part == "at" else hops <= k if part == "within" else hops >= k
    elif part == "query":
        if query is None or not 0 <= query < layout.patches:
            raise HeadsError(
                f"expected a patch from 0 to {layout.patches - 1}, got {query}; count row by row"
            )
        mask[start + query] = True
    else:
        raise HeadsError(f"expected a part among {', '.join(PARTS)}, got {part!r}; choose one of them")
    return mask


@dataclass(frozen=True)
class PartialPruning(HasOrigin):
    """Curves of one head. steps: one (part, k or query, or -1) per mask; values[metric]: (n, steps) per picture.

    pictures: the key of each picture. origin: recipe, content ids and skipped pictures.
    """

    block: int
    head: int
    steps: tuple[tuple[str, int], ...]
    values: Mapping[str, NDArray[np.float32]]
    pictures: tuple[str, ...]
    metadata: Mapping[str, Any] = field(default_factory=dict)
    origin: Origin = field(default_factory=Origin)

    @checked(HeadsError)
    def merge(self, other: PartialPruning) -> PartialPruning:
        """The curves over these pictures and those of another shard.

        Raises:
            RecipeError: they were not made alike; the message says what differs.
            HeadsError: a picture is in both, or they are of other heads, steps or metrics.

        Example:
            ``first.merge(second).curve("at", "js_divergence")``
        """
        origin = self.origin.merge(other.origin, "two dissections of a head")
        check_disjoint(self.pictures, other.pictures, "dissections")
        mine, theirs = ((p.block, p.head, p.steps, set(p.values)) for p in (self, other))
        if mine != theirs:
            raise HeadsError(
                "expected dissections of one head with the same steps, got others; make both alike"
            )
        return PartialPruning(
            self.block,
            self.head,
            self.steps,
            {name: np.concatenate([array, other.values[name]]) for name, array in self.values.items()},
            self.pictures + other.pictures,
            merged_metadata(self.metadata, other.metadata),
            origin,
        )

    def curve(self, part: str, metric: str) -> pd.DataFrame:
        """k (or query), mean, std, n of one part; one row with k = -1 for parts without k."""
        if metric not in self.values:
            raise HeadsError(
                f"expected a metric among {', '.join(self.values)}, got {metric!r}; choose one of them"
            )
        frame = self.to_pandas()
        return frame.loc[
            (frame["part"] == part) & (frame["metric"] == metric), ["k", "mean", "std", "n"]
        ].reset_index(drop=True)

    def to_pandas(self) -> pd.DataFrame:
        """One row per part, k and metric: mean, std and n over pictures."""
        rows = []
        for metric, array in self.values.items():
            spread = array.std(0, ddof=1) if len(array) > 1 else np.full(array.shape[1], np.nan)
            for index, (part, k) in enumerate(self.steps):
                rows.append(
                    {
                        "block": self.block,
                        "head": self.head,
                        "part": part,
                        "k": k,
                        "metric": metric,
                        "mean": float(array[:, index].mean()),
                        "std": float(spread[index]),
                        "n": len(array),
                    }
                )
        return pd.DataFrame(rows)

    def per_picture(self) -> pd.DataFrame:
        """One row per picture and step: picture, step, part, k, then one column per metric."""
        count = len(self.pictures)
        columns: dict[str, Any] = {
            "picture": np.repeat(np.asarray(self.pictures, dtype=object), len(self.steps)),
            "step": np.tile(np.arange(len(self.steps)), count),
            "part": np.tile(np.asarray([part for part, _ in self.steps], dtype=object), count),
            "k": np.tile(np.asarray([k for _, k in self.steps], dtype=np.int64), count),
        }
        return pd.DataFrame({**columns, **{name: array.reshape(-1) for name, array in self.values.items()}})

    def save(self, path: str | Path) -> Path:
        """Write .parquet (per picture; loads back whole) or .csv (the curves)."""
        path = Path(path)
        if path.suffix != tables.ENDING:
            return write_frame(self.to_pandas(), path, self.metadata)
        note = {
            "block": self.block,
            "head": self.head,
            "steps": self.steps,
            "metadata": self.metadata,
            **self.origin.note(),
        }
        return tables.save(path, self.per_picture(), KIND, note)

    @classmethod
    def load(cls, path: str | Path) -> PartialPruning:
        """Read what `save` wrote as .parquet, by its columns; rows may stand in any order.

        Raises StorageError for a damaged file, or one of another kind."""
        frame, note = tables.load(path, KIND, PLACE)
        with decoding(path, KIND):
            steps = tuple((str(part), int(k)) for part, k in note["steps"])
            pictures, picture = picture_rows(frame, ("step",))
            index = (picture, frame["step"].to_numpy(np.int64))
            shape = (len(pictures), len(steps))
            check_once(index, shape)
            values = {}
            for name in frame.columns:
                if name not in PLACE:
                    values[str(name)] = np.empty(shape, np.float32)
                    values[str(name)][index] = frame[name].to_numpy(np.float32)
            origin = Origin.from_note(note)
            metadata = dict(note["metadata"])
            return cls(int(note["block"]), int(note["head"]), steps, values, pictures, metadata, origin)


@checked(HeadsError)
@unaffected
def partial_pruning(
    vit: Vit,
    images: Images,
    block: int,
    head: int,
    labels: Labels | None = None,
    *,
    parts: Sequence[str] = (*FIXED_PARTS, *HOP_PARTS),
    queries: Sequence[int] = (),
    hops: Sequence[int] | None = None,
    distance: Distance = "chebyshev",
    renormalise: bool = False,
    representation: Representation = "standard",
    batch_size: BatchSize = 32,
    checkpoint: Folder | None = None,
    progress: Progress | None = None,
) -> PartialPruning:
    """Take away parts of one head's attention in turn.

    Args:
        vit: The opened model; it needs class scores and a patch grid.
        images: Pictures in any form that ``vitscope.pictures.picture_source`` takes.
        block: Of the head, from 0.
        head: In its block, from 0.
        labels: One class index per picture; None leaves out the metrics of the label.
        parts: Of `PARTS`, but "query".
        queries: Patches whose own row is taken away (part "query").
        hops: The k of the hop parts (default: all).
        distance: How hops are counted.
        renormalise: Rows that lost entries sum to one again.
        representation: As for `importance`.
        batch_size: Pictures of a batch, and changed copies that the model sees at once. Changes no result.
        checkpoint: A folder that keeps every finished part; a stopped run goes on from them.
        progress: Told how far it is, and asked whether to stop; see :mod:`vitscope.progress`.

    Returns:
        The curves per picture. Those of shards are put together by ``merge``.

    Raises:
        HeadsError: a head or part that does not exist, or a model without a patch grid.
        PictureError: a picture that cannot be read.

    Example:
        ``vs.heads.partial_pruning(vit, "photos", 3, 1).curve("within", "js_divergence")``
    """
    L, H = head_grid(vit.anatomy)
    if not (0 <= block < L and 0 <= head < H):
        raise HeadsError(
            f"expected a block from 0 to {L - 1} and a head from 0 to {H - 1}, got {block}, {head}"
        )
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
    steps, masks = _masks(vit.anatomy.layout, vit.source, parts, queries, hops, distance)
    stage = CountedStage(progress, "dissecting the head", len(source), checkpoint=checkpoint)

    def measure_batch(batch: Batch) -> Rows:
        clean = clean_run(vit, batch.images, batch.labels if labelled else None)
        here, masked = steps, masks
        if clean.anatomy.layout != vit.anatomy.layout:  # pictures of another size
            here, masked = _masks(clean.anatomy.layout, vit.source, parts, queries, hops, distance)
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


def _masks(
    layout: TokenLayout | None,
    source: str,
    parts: Sequence[str],
    queries: Sequence[int],
    hops: Sequence[int] | None,
    distance: str,
) -> tuple[list[tuple[str, int]], Tensor]:
    if layout is None:
        raise HeadsError(f"expected a model with a patch grid, got {source}; pass grid=(h, w) to open_model")
    steps: list[tuple[str, int]] = []
    rings = grid_geometry(layout.grid, distance).rings
    for part in parts:
        if part == "query":
            continue
        if part in ("class_query", "class_key") and layout.class_index is None and len(parts) > 1:
            continue  # the default list asks for what a model without class token does not have
        steps += (
            [(part, k) for k in (hops if hops is not None else range(rings))]
            if part in HOP_PARTS
            else [(part, -1)]
        )
    steps += [("query", int(query)) for query in queries]
    masks = [
        entry_mask(
            part,
            layout,
            k=k if part in HOP_PARTS else None,
            query=k if part == "query" else None,
            distance=distance,
        )
        for part, k in steps
    ]
    return steps, torch.stack(masks)
