"""Canonical maps of many pictures: a reservoir per (block, head), and running means over all pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vitscope.heads.batches import Progress, picture_source, quiet
from vitscope.heads.canonical import hellinger, offset_map, pooled_map
from vitscope.heads.features import FEATURES, map_features, uniform_features
from vitscope.heads.problems import HeadsError
from vitscope.heads.sites import prefix_of, spatial_sites
from vitscope.models.anatomy import TokenLayout
from vitscope.tracing import AttentionSite, Vit

FORMS = ("pooled", "offset")
"""Canonical forms: 49 x 49 by position, 27 x 27 by relative offset."""
MAP_ELEMENTS = 24_000_000
"""Attention values of one block held at once (about 100 MB); the batch is cut down to stay below."""


@dataclass(frozen=True)
class ModelRecord:
    """What is kept of the model that maps came from."""

    name: str
    fingerprint: str
    grid: tuple[int, int]
    blocks: tuple[int, ...]
    heads: int
    pictures: int


@dataclass(frozen=True)
class HeadMeans:
    """Running means of one model: block (S,), head (S,), and root (S, 49, 49), the mean root map of each head."""

    block: NDArray[np.int64]
    head: NDArray[np.int64]
    root: Tensor

    def content_dependence(self) -> NDArray[np.float64]:
        """(S,) in [0, 1]: variance over pictures of the root map at a fixed query, mean over queries.

        Rows sum to 1, so E|r|^2 = 1 for a root row r and its variance is 1 - |E r|^2: 0 for a head that does the same
        on every picture, towards 1 for one that follows the content.
        """
        kept = self.root.double().square().sum(-1).mean(-1)
        result: NDArray[np.float64] = (1 - kept).clamp(0, 1).numpy()
        return result


@dataclass
class MapSample:
    """n sampled maps: pooled (n, 49, 49) and offsets (n, 27, 27) float16 roots, features (n, 12) at native
    resolution, and for each map its model (index), picture, block and head.

    means[m]: mean over *all* pictures of model m's root maps, for content dependence.
    """

    pooled: Tensor
    offsets: Tensor
    features: NDArray[np.float32]
    model: NDArray[np.int64]
    picture: NDArray[np.int64]
    block: NDArray[np.int64]
    head: NDArray[np.int64]
    picture_names: tuple[str, ...]
    models: tuple[ModelRecord, ...]
    means: tuple[HeadMeans, ...]

    def __len__(self) -> int:
        return len(self.model)

    def form(self, name: str) -> Tensor:
        """The maps that are coded: "pooled" or "offset"."""
        if name not in FORMS:
            raise HeadsError(f"expected the form pooled or offset, got {name!r}; choose one of them")
        return self.pooled if name == "pooled" else self.offsets

    def uniform_features(self) -> NDArray[np.float32]:
        """(models, 12)."""
        return np.stack([uniform_features(record.grid).numpy() for record in self.models]).astype(np.float32)

    @classmethod
    def join(cls, samples: Sequence[MapSample]) -> MapSample:
        """Samples of several models (other grids, other numbers of heads) as one; pictures of equal name are one."""
        names = tuple(dict.fromkeys(name for sample in samples for name in sample.picture_names))
        position = {name: i for i, name in enumerate(names)}
        models, pictures, base = [], [], 0
        for sample in samples:
            lookup = np.array([position[name] for name in sample.picture_names], dtype=np.int64)
            models.append(sample.model + base)
            pictures.append(lookup[sample.picture])
            base += len(sample.models)
        return cls(
            torch.cat([s.pooled for s in samples]),
            torch.cat([s.offsets for s in samples]),
            np.concatenate([s.features for s in samples]),
            np.concatenate(models),
            np.concatenate(pictures),
            np.concatenate([s.block for s in samples]),
            np.concatenate([s.head for s in samples]),
            names,
            tuple(r for s in samples for r in s.models),
            tuple(m for s in samples for m in s.means),
        )


class Reservoir:
    """Uniform sample without replacement of at most `capacity` pictures for each of `streams` streams (algorithm R),
    every stream on its own; storage is allocated once, so memory does not grow with the pictures."""

    def __init__(self, streams: int, capacity: int, seed: int) -> None:
        self.capacity = capacity
        self.random = np.random.default_rng(seed)
        self.seen = 0
        self.streams = streams
        self.picture = np.full((streams, capacity), -1, dtype=np.int64)

    def slots(self, picture: int) -> NDArray[np.int64]:
        """(streams,) the slot in which this picture is to be kept by each stream, -1 for none."""
        if self.seen < self.capacity:
            chosen = np.full(self.streams, self.seen, dtype=np.int64)
        else:
            drawn = self.random.integers(0, self.seen + 1, self.streams)
            chosen = np.where(drawn < self.capacity, drawn, -1)
        self.seen += 1
        kept = chosen >= 0
        self.picture[np.flatnonzero(kept), chosen[kept]] = picture
        return chosen


def collect_maps(
    vit: Vit,
    images: Any,
    *,
    per_head: int = 100,
    batch_size: int = 8,
    seed: int = 0,
    name: str | None = None,
    progress: Progress = quiet,
) -> MapSample:
    """Trace the pictures and keep canonical maps of at most `per_head` pictures for every (block, head).

    Memory: 6 KB per kept map (72,000 maps: 0.45 GB) plus one block's attention at a time.
    """
    if per_head < 1:
        raise HeadsError(f"expected to keep at least 1 map per head, got {per_head}; raise per_head")
    source = picture_source(images)
    sampler: _Sampler | None = None
    done = 0
    for batch in source.batches(vit, _affordable(vit, batch_size)):
        trace = vit.trace(batch.pixels, gradient=False)
        sites = spatial_sites(trace.sites, trace.layout, vit.source)
        if sampler is None:
            sampler = _Sampler(sites, trace.layout, per_head, seed)
        sampler.add(sites, batch.positions)
        done += len(batch.names)
        progress("attention maps", done, len(source))
    assert sampler is not None
    blocks = tuple(dict.fromkeys(sampler.block.tolist()))
    record = ModelRecord(
        name or vit.source, vit.fingerprint, sampler.layout.grid, blocks, int(sampler.head.max()) + 1, done
    )
    return sampler.sample(record, source.names)


def _affordable(vit: Vit, batch_size: int) -> int:
    """The batch size at which one block's attention stays below MAP_ELEMENTS values."""
    per_picture = max((s.heads * s.queries * s.keys for s in vit.anatomy.sites), default=1)
    return max(1, min(batch_size, MAP_ELEMENTS // per_picture))


class _Sampler:
    """Reservoirs of canonical maps for every (block, head) of one model: one stream per head."""

    def __init__(self, sites: Sequence[AttentionSite], layout: TokenLayout, capacity: int, seed: int) -> None:
        self.layout = layout
        self.block = np.concatenate([np.full(site.heads, site.info.block, np.int64) for site in sites])
        self.head = np.concatenate([np.arange(site.heads, dtype=np.int64) for site in sites])
        streams = len(self.block)
        self.reservoir = Reservoir(streams, capacity, seed)
        self.pooled = torch.zeros(streams, 0, 49, 49, dtype=torch.float16)
        self.offsets = torch.zeros(streams, 0, 27, 27, dtype=torch.float16)
        self.features = torch.zeros(streams, 0, len(FEATURES))
        self.mean_root = torch.zeros(streams, 49, 49)
        self.count = 0

    def add(self, sites: Sequence[AttentionSite], positions: Sequence[int]) -> None:
        """Take in one traced batch."""
        slots = np.stack([self.reservoir.slots(position) for position in positions])  # (B, streams)
        self._grow(min(self.reservoir.seen, self.reservoir.capacity))
        self.count += len(positions)
        stream = 0
        for site in sites:
            prefix = prefix_of(site, self.layout)
            patches = site.attention()[..., prefix:, prefix:].cpu()
            pooled = hellinger(pooled_map(patches, self.layout.grid))
            offsets = hellinger(offset_map(patches, self.layout.grid))
            features = map_features(patches, self.layout.grid)
            mean = self.mean_root[stream : stream + site.heads]
            mean += (pooled - mean).sum(0) / self.count
            for head in range(site.heads):
                for b in np.flatnonzero(slots[:, stream] >= 0).tolist():
                    slot = int(slots[b, stream])
                    self.pooled[stream, slot] = pooled[b, head].half()
                    self.offsets[stream, slot] = offsets[b, head].half()
                    self.features[stream, slot] = features[b, head]
                stream += 1

    def _grow(self, needed: int) -> None:
        """Storage doubles up to the capacity: a handful of pictures does not reserve for thousands."""
        have = self.pooled.shape[1]
        if needed <= have:
            return
        extra = min(self.reservoir.capacity, max(needed, 2 * have)) - have

        def grown(old: Tensor) -> Tensor:
            return torch.cat([old, old.new_zeros(old.shape[0], extra, *old.shape[2:])], 1)

        self.pooled, self.offsets, self.features = (
            grown(self.pooled),
            grown(self.offsets),
            grown(self.features),
        )

    def sample(self, record: ModelRecord, names: tuple[str, ...]) -> MapSample:
        """What was kept, flat: stream after stream."""
        kept = min(self.reservoir.seen, self.reservoir.capacity)
        stream = np.repeat(np.arange(len(self.block)), kept)
        return MapSample(
            self.pooled[:, :kept].flatten(0, 1),
            self.offsets[:, :kept].flatten(0, 1),
            self.features[:, :kept].flatten(0, 1).numpy(),
            np.zeros(len(stream), np.int64),
            self.reservoir.picture[:, :kept].reshape(-1),
            self.block[stream],
            self.head[stream],
            names,
            (record,),
            (HeadMeans(self.block, self.head, self.mean_root),),
        )
