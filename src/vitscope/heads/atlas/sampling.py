"""Canonical maps of many pictures: a sample per (block, head), and sums over all pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vitscope.heads.atlas.bottom_k import smallest
from vitscope.heads.atlas.features import uniform_features
from vitscope.heads.errors import HeadsError
from vitscope.heads.moments import ExactSum
from vitscope.heads.origin import HasOrigin, Origin, check_disjoint
from vitscope.options.door import checked

Form = Literal["pooled", "offset"]
"""Canonical forms of a map: pooled, 49 x 49 by position; offset, 27 x 27 by relative offset."""
FORMS: tuple[Form, ...] = get_args(Form)


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
    """Sums over pictures of one model: block (S,), head (S,), and total (S, 49, 49), of the root maps of each head."""

    block: NDArray[np.int64]
    head: NDArray[np.int64]
    total: ExactSum
    count: int

    @property
    def root(self) -> Tensor:
        """(S, 49, 49) float64: the mean root map of each head."""
        return self.total.value() / max(1, self.count)

    def content_dependence(self) -> NDArray[np.float64]:
        """(S,) in [0, 1]: variance over pictures of the root map at a fixed query, mean over queries.

        Rows sum to 1, so E|r|^2 = 1 for a root row r and its variance is 1 - |E r|^2: 0 for a head that does the same
        on every picture, towards 1 for one that follows the content.
        """
        kept = self.root.square().sum(-1).mean(-1)
        result: NDArray[np.float64] = (1 - kept).clamp(0, 1).numpy()
        return result

    @checked(HeadsError)
    def merge(self, other: HeadMeans) -> HeadMeans:
        """The sums over these pictures and others."""
        total = ExactSum()
        total.merge(self.total)
        total.merge(other.total)
        return HeadMeans(self.block, self.head, total, self.count + other.count)


@dataclass
class MapSample(HasOrigin):
    """n sampled maps: pooled (n, 49, 49) and offsets (n, 27, 27) float16 roots, features (n, 12) at native
    resolution, and for each map its model (index), picture, block, head and rank in the draw.

    picture_names: the keys of all pictures, sorted. means[m]: sums over *all* pictures of model m's root maps, for
    content dependence. per_head: at most so many maps of a head, those with the smallest ranks.
    """

    pooled: Tensor
    offsets: Tensor
    features: NDArray[np.float32]
    model: NDArray[np.int64]
    picture: NDArray[np.int64]
    block: NDArray[np.int64]
    head: NDArray[np.int64]
    rank: NDArray[np.int64]
    picture_names: tuple[str, ...]
    models: tuple[ModelRecord, ...]
    means: tuple[HeadMeans, ...]
    per_head: int
    origin: Origin = field(default_factory=Origin)

    def __len__(self) -> int:
        return len(self.model)

    @checked(HeadsError)
    def form(self, name: Form) -> Tensor:
        """The maps that are coded: "pooled" or "offset"."""
        return self.pooled if name == "pooled" else self.offsets

    def uniform_features(self) -> NDArray[np.float32]:
        """(models, 12)."""
        return np.stack([uniform_features(record.grid).numpy() for record in self.models]).astype(np.float32)

    @checked(HeadsError)
    def merge(self, other: MapSample) -> MapSample:
        """The sample of these pictures and those of another shard: the same maps as one of all pictures.

        Raises:
            RecipeError: the samples were not made alike; the message says what differs.
            HeadsError: a picture is in both.

        Example:
            ``vs.heads.fit_atlas(first.merge(second))``
        """
        return merge_samples([self, other])

    @classmethod
    def join(cls, samples: Sequence[MapSample]) -> MapSample:
        """Samples of several models (other grids, other numbers of heads) as one; pictures of equal key are one."""
        bases = np.cumsum([0, *(len(sample.models) for sample in samples[:-1])]).tolist()
        records = tuple(record for sample in samples for record in sample.models)
        return _together(samples, bases, records, samples[0].origin)

    def bottom(self) -> MapSample:
        """Each head's maps with the smallest ranks, head by head, smallest first."""
        heads = np.stack([self.model, self.block, self.head], 1)
        _, groups = np.unique(heads, axis=0, return_inverse=True)
        return self.take(smallest(groups.reshape(-1).astype(np.int64), self.rank, self.per_head))

    def take(self, chosen: NDArray[np.int64]) -> MapSample:
        """The maps with these indices, in this order."""
        where = torch.from_numpy(chosen)
        return replace(
            self,
            pooled=self.pooled[where],
            offsets=self.offsets[where],
            features=self.features[chosen],
            model=self.model[chosen],
            picture=self.picture[chosen],
            block=self.block[chosen],
            head=self.head[chosen],
            rank=self.rank[chosen],
        )


def merge_samples(samples: Sequence[MapSample]) -> MapSample:
    """The sample of the pictures of several shards together. Raises as `MapSample.merge`."""
    first = samples[0]
    origin, means, records = first.origin, first.means, first.models
    seen = set(first.picture_names)
    for other in samples[1:]:
        origin = origin.merge(other.origin, "two samples of maps")
        check_disjoint(seen, other.picture_names, "samples of maps")
        seen.update(other.picture_names)
        same = [replace(record, pictures=0) for record in records] == [
            replace(record, pictures=0) for record in other.models
        ]
        if not same or first.per_head != other.per_head:
            raise HeadsError(
                "expected samples of the same models, heads and grids, got others; make both alike"
            )
        records = tuple(
            replace(record, pictures=record.pictures + more.pictures)
            for record, more in zip(records, other.models, strict=True)
        )
        means = tuple(mine.merge(theirs) for mine, theirs in zip(means, other.means, strict=True))
    joined = _together(samples, [0] * len(samples), records, origin)
    joined.means = means
    return joined.bottom()


def _together(
    samples: Sequence[MapSample], bases: Sequence[int], records: tuple[ModelRecord, ...], origin: Origin
) -> MapSample:
    """One after the other, with one list of pictures; bases: what is added to the model index of each."""
    names = tuple(sorted({name for sample in samples for name in sample.picture_names}))
    position = {name: index for index, name in enumerate(names)}
    ids = {key: each for s in samples for key, each in zip(s.picture_names, s.origin.ids, strict=False)}
    origin = replace(origin, ids=tuple(ids.get(name, "") for name in names))
    places = [np.array([position[name] for name in s.picture_names], dtype=np.int64) for s in samples]
    return MapSample(
        torch.cat([s.pooled for s in samples]),
        torch.cat([s.offsets for s in samples]),
        np.concatenate([s.features for s in samples]),
        np.concatenate([s.model + base for s, base in zip(samples, bases, strict=True)]),
        np.concatenate([place[s.picture] for s, place in zip(samples, places, strict=True)]),
        np.concatenate([s.block for s in samples]),
        np.concatenate([s.head for s in samples]),
        np.concatenate([s.rank for s in samples]),
        names,
        records,
        tuple(means for s in samples for means in s.means),
        max(s.per_head for s in samples),
        origin,
    )
