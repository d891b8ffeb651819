"""Trace pictures and keep the canonical maps that were drawn: prepared over all keys, collected part by part."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vitscope.heads.atlas.bottom_k import Draw, SampleLimits, ranks_of
from vitscope.heads.atlas.canonical import hellinger, offset_map, pooled_map
from vitscope.heads.atlas.features import map_features
from vitscope.heads.atlas.records import HeadMeans, ModelRecord
from vitscope.heads.atlas.sampling import MapSample, arrays_of, merge_samples, note_of, sample_from
from vitscope.heads.errors import HeadsError
from vitscope.heads.measuring import measured
from vitscope.heads.origin import Origin, heads_recipe
from vitscope.heads.per_picture import go_through
from vitscope.heads.spatial_sites import prefix_of, spatial_sites
from vitscope.models.token_layout import TokenLayout
from vitscope.options.bounds import BatchSize, Count, Folder, Seed
from vitscope.options.door import checked
from vitscope.pictures import Batch, Images, PictureSource, picture_source
from vitscope.progress import CountedStage, Progress
from vitscope.storage import tensors
from vitscope.storage.recipe import Recipe
from vitscope.sums.moments import ExactSum
from vitscope.tracing import AttentionSite, Vit
from vitscope.tracing.calls.callers_switches import unaffected

MAP_ELEMENTS = 24_000_000
"""Attention values of one block held at once (about 100 MB); the batch is cut down to stay below."""
MANY = 4096
"""Maps that may wait before they are put together (25 MB)."""
KIND = "part of a sample of maps"
FILE = "maps.safetensors"


@dataclass(frozen=True)
class Prepared:
    """The model, and the draw over the keys of all pictures."""

    vit: Vit
    draw: Draw | SampleLimits


@dataclass(frozen=True)
class MapCollection:
    """The sample of maps as an :class:`~vitscope.analysis.Analysis`. label: what the model is called in the sample."""

    made: Recipe
    label: str
    per_head: int
    seed: int
    batch_size: int
    stage: CountedStage
    name: str = "attention maps"

    def recipe(self, vit: Vit, source: PictureSource) -> Recipe:
        """What makes the result of the whole."""
        return self.made

    def prepare(self, vit: Vit, source: PictureSource) -> Prepared:
        """The draw over all pictures whose content could be read."""
        readable = [key for key, content in zip(source.keys, source.ids, strict=True) if content]
        return Prepared(vit, Draw(readable, self.per_head, self.seed))

    def run(self, prepared: Prepared, shard: PictureSource) -> MapSample | None:
        """The maps that were drawn of some of the pictures; None when none of them could be read."""

        def maps_of(batch: Batch) -> MapSample:
            trace = prepared.vit.trace(batch.images, gradient=False, keys=batch.keys)
            sites = spatial_sites(trace.sites, trace.layout, prepared.vit.source)
            return self._collect(prepared.draw, sites, trace.layout, batch)

        found = measured(prepared.vit, shard, self.batch_size, maps_of, self.stage)
        return self.merge(prepared, found)

    def merge(self, prepared: Prepared, parts: Iterable[MapSample | None]) -> MapSample | None:
        """The maps with the smallest ranks of all parts."""
        waiting: list[MapSample] = []
        for part in parts:
            if part is not None:
                waiting.append(part)
                # Putting them together copies them: done when they are twice as many.
                if sum(map(len, waiting[1:])) > max(MANY, len(waiting[0])):
                    waiting = [merge_samples(waiting)]
        return merge_samples(waiting) if waiting else None

    def encode(self, part: MapSample | None) -> Mapping[str, bytes]:
        """One file."""
        if part is None:
            return {FILE: tensors.encode(KIND, {}, {"empty": True})}
        return {FILE: tensors.encode(KIND, arrays_of(part), note_of(part))}

    def decode(self, files: Mapping[str, bytes]) -> MapSample | None:
        """What ``encode`` made, back."""
        arrays, note = tensors.decode(files[FILE], FILE, KIND)
        if note.get("empty"):
            return None
        return sample_from(arrays, note)

    def _collect(
        self, draw: Draw | SampleLimits, sites: Sequence[AttentionSite], layout: TokenLayout, batch: Batch
    ) -> MapSample:
        """The drawn maps of one batch, and the sums of all its maps."""
        keys = batch.keys
        names = tuple(sorted(keys))
        place = np.array([names.index(key) for key in keys], dtype=np.int64)
        maps: list[tuple[Tensor, Tensor, Tensor]] = []
        found: list[tuple[NDArray[np.int64], ...]] = []
        roots: list[Tensor] = []
        for site in sites:
            block, prefix = int(site.info.block or 0), prefix_of(site, layout)
            patches = site.attention()[..., prefix:, prefix:].cpu()
            pooled = hellinger(pooled_map(patches, layout.grid))
            offsets = hellinger(offset_map(patches, layout.grid))
            features = map_features(patches, layout.grid)
            roots.append(pooled)
            for head in range(site.heads):
                ranks = ranks_of(self.seed, keys, block, head)
                chosen = np.flatnonzero(ranks <= draw.limit(block, head))
                where = torch.from_numpy(chosen)
                maps.append((pooled[where, head].half(), offsets[where, head].half(), features[where, head]))
                here = np.full(len(chosen), block, np.int64), np.full(len(chosen), head, np.int64)
                found.append((place[chosen], *here, ranks[chosen]))
        total = ExactSum()
        total.add(torch.cat(roots, 1))
        streams = [(int(site.info.block or 0), head) for site in sites for head in range(site.heads)]
        means = HeadMeans(
            np.array([block for block, _ in streams], np.int64),
            np.array([head for _, head in streams], np.int64),
            total,
            len(keys),
        )
        blocks = tuple(dict.fromkeys(block for block, _ in streams))
        heads = max(head for _, head in streams) + 1
        fingerprint = str(self.made.model["fingerprint"])
        record = ModelRecord(self.label, fingerprint, layout.grid, blocks, heads, len(keys))
        pooled, offsets, features = (torch.cat(parts) for parts in zip(*maps, strict=True))
        picture, block_of, head_of, rank = (np.concatenate(parts) for parts in zip(*found, strict=True))
        return MapSample(
            pooled,
            offsets,
            features.numpy(),
            np.zeros(len(pooled), np.int64),
            picture,
            block_of,
            head_of,
            rank,
            names,
            (record,),
            (means,),
            self.per_head,
            Origin(ids=tuple(batch.ids[keys.index(name)] for name in names)),
        )


@checked(HeadsError)
@unaffected
def collect_maps(
    vit: Vit,
    images: Images,
    *,
    per_head: Count = 100,
    batch_size: BatchSize = 8,
    seed: Seed = 0,
    name: str | None = None,
    checkpoint: Folder | None = None,
    progress: Progress | None = None,
) -> MapSample:
    """Collect attention maps in canonical form: those of at most ``per_head`` pictures for every (block, head).

    Args:
        vit: The opened model.
        images: Pictures in any form that :func:`vitscope.pictures.picture_source` takes.
        per_head: The largest number of maps of a head. Which ones depends on the keys of the pictures and the seed,
            not on their order.
        batch_size: Pictures in a batch, fewer where one block's attention would not fit; it does not change the
            result.
        seed: Seed of the draw.
        name: The name of the model in the sample; None takes its source.
        checkpoint: A folder that keeps every finished part; a stopped run continues from it.
        progress: Reports progress, and is asked whether to stop; see :mod:`vitscope.progress`.

    Returns:
        The sample, 6 KB per map (72,000 maps: 0.45 GB).

    Raises:
        HeadsError: A model without a patch grid or without attention between patches, or ``per_head`` out of bounds.
        PictureError: A picture that cannot be read.

    Example:
        >>> import vitscope as vs
        >>> vit = vs.open_model("bundled/shapes")
        >>> sample = vs.heads.collect_maps(vit, vs.worlds.world("shapes").sample(3, seed=1).images(), per_head=2)
        >>> len(sample), tuple(sample.pooled.shape)
        (48, (48, 49, 49))
    """
    source = picture_source(images)
    size = _affordable(vit, batch_size)
    label = name or vit.source
    made = heads_recipe(
        vit, source, "attention maps", {"per_head": per_head, "seed": int(seed), "name": label}
    )
    stage = CountedStage(progress, "attention maps", len(source), checkpoint=checkpoint)
    analysis = MapCollection(made, label, per_head, int(seed), size, stage)
    sample = go_through(analysis, vit, source, size, stage, checkpoint)
    if sample is None:
        raise HeadsError("expected at least one picture, got none; give a folder with pictures")
    sample.origin = Origin(made, sample.origin.ids, dict(source.skipped))
    return sample


def _affordable(vit: Vit, batch_size: int) -> int:
    """The batch size at which one block's attention stays below MAP_ELEMENTS values."""
    per_picture = max((s.heads * s.queries * s.keys for s in vit.anatomy.sites), default=1)
    return max(1, min(batch_size, MAP_ELEMENTS // per_picture))
