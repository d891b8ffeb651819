"""Canonical maps of many pictures: a sample per (block, head), and sums over all pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from vitscope.errors import OutputError, StorageError
from vitscope.heads.atlas.bottom_k import smallest
from vitscope.heads.atlas.canonical import Form
from vitscope.heads.atlas.records import HeadMeans, ModelRecord, merged_models
from vitscope.heads.errors import HeadsError
from vitscope.heads.origin import HasOrigin, Origin, check_disjoint
from vitscope.options.bounds import FilePath
from vitscope.options.door import checked
from vitscope.storage import tensors
from vitscope.storage.notes import decoding

KIND = "sample of maps"
MAPS = ("pooled", "offsets")
PLACES = ("model", "picture", "block", "head", "rank")
"""Whole numbers of each map: where it comes from."""


@dataclass(repr=False)
class MapSample(HasOrigin):
    """Attention maps of many pictures in canonical form: some of every head, and sums over all pictures.

    Made by :func:`collect_maps`.

    Args:
        pooled: (n, 49, 49) float16, square roots of maps pooled to a 7 x 7 grid.
        offsets: (n, 27, 27) float16, square roots of maps by relative offset.
        features: (n, 12) float32, numbers at the model's own resolution by which clusters are named.
        model: (n,) index into ``models``.
        picture: (n,) index into ``picture_names``.
        block: (n,) block of each map, from 0.
        head: (n,) head of each map, from 0.
        rank: (n,) rank in the draw: each head keeps the maps with the smallest ranks.
        picture_names: The keys of all pictures, sorted.
        models: What is kept of each model.
        means: For each model, sums over all pictures of its maps.
        per_head: The largest number of maps of a head.
        origin: The recipe, content ids and skipped pictures.

    Example:
        >>> import vitscope as vs
        >>> vit = vs.open_model("bundled/shapes")
        >>> sample = vs.heads.collect_maps(vit, vs.worlds.world("shapes").sample(3, seed=1).images(), per_head=2)
        >>> len(sample), tuple(sample.form("offset").shape)
        (48, (48, 27, 27))
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
        """The maps in one canonical form.

        Args:
            name: "pooled" or "offset".

        Returns:
            (n, 49, 49) or (n, 27, 27) float16.

        Raises:
            HeadsError: Another name.
        """
        return self.pooled if name == "pooled" else self.offsets

    @checked(HeadsError)
    def merge(self, *others: MapSample) -> MapSample:
        """Join the samples of shards of a data set: the same maps as a sample of all pictures.

        Args:
            others: Samples of other pictures.

        Returns:
            The joint sample.

        Raises:
            RecipeError: They were made in different ways; the message says what differs.
            HeadsError: A picture is in two of them, or they are of other models.
        """
        return merge_samples([self, *others])

    @checked(HeadsError)
    def join(self, *others: MapSample) -> MapSample:
        """Join the samples of several models (other grids, other numbers of heads); pictures of equal key are one.

        Args:
            others: Samples of other models.

        Returns:
            A sample with all models.

        Raises:
            RecipeError: Something that is no sample.
        """
        if not others:
            return self
        samples = (self, *others)
        bases = np.cumsum([0, *(len(sample.models) for sample in samples[:-1])]).tolist()
        records = tuple(record for sample in samples for record in sample.models)
        return _together(samples, bases, records, self.origin.join(*(other.origin for other in others)))

    def to_pandas(self) -> pd.DataFrame:
        """Where the maps come from, one row per map: model, picture, block, head, rank (in the draw)."""
        return pd.DataFrame(
            {
                "model": [self.models[m].name for m in self.model],
                "picture": [self.picture_names[p] for p in self.picture],
                "block": self.block,
                "head": self.head,
                "rank": self.rank,
            }
        )

    def __repr__(self) -> str:
        models = ", ".join(record.name for record in self.models)
        return f"<MapSample: {len(self)} maps of {len(self.picture_names)} pictures by {models}>"

    @checked(OutputError)
    def save(self, path: FilePath) -> Path:
        """Write everything to one safetensors file.

        Args:
            path: The file; ``.safetensors`` is added when missing.

        Returns:
            The path of the file.

        Raises:
            OutputError: It cannot be written.
        """
        return tensors.save(path, KIND, arrays_of(self), note_of(self))

    @classmethod
    @checked(StorageError)
    def load(cls, path: FilePath) -> MapSample:
        """Read what :meth:`save` wrote.

        Args:
            path: The file.

        Returns:
            The sample.

        Raises:
            StorageError: The file is damaged, or of another kind or version.
        """
        arrays, note = tensors.load(path, KIND)
        with decoding(path, KIND):
            return sample_from(arrays, note)

    def bottom_places(self) -> NDArray[np.int64]:
        """The indices of the maps with the smallest ranks of each head, head by head, (m,) int64."""
        heads = np.stack([self.model, self.block, self.head], 1)
        _, groups = np.unique(heads, axis=0, return_inverse=True)
        return smallest(groups.reshape(-1).astype(np.int64), self.rank, self.per_head)

    def take(self, chosen: NDArray[np.int64]) -> MapSample:
        """The maps with these indices, in this order.

        Args:
            chosen: (m,) int64.

        Returns:
            A sample of m maps.
        """
        kept = {name: getattr(self, name)[torch.from_numpy(chosen)] for name in MAPS}
        kept |= {name: getattr(self, name)[chosen] for name in ("features", *PLACES)}
        return replace(self, **kept)


def merge_samples(samples: Sequence[MapSample]) -> MapSample:
    """The sample of the pictures of several shards together. Raises as `MapSample.merge`."""
    together, chosen = merged_places(samples, "samples of maps")
    return together.take(chosen)


def merged_places(samples: Sequence[MapSample], what: str) -> tuple[MapSample, NDArray[np.int64]]:
    """All maps of several shards one after the other, and the indices of those that their sample has, in its order."""
    first = samples[0]
    means, records = first.means, first.models
    origin = first.origin.merge(*(other.origin for other in samples[1:]), what=what)
    check_disjoint((each.picture_names for each in samples), what)
    for other in samples[1:]:
        records = merged_models(records, other.models)
        if first.per_head != other.per_head:
            raise HeadsError("expected samples of as many maps a head, got others; make both alike")
        means = tuple(mine.merge(theirs) for mine, theirs in zip(means, other.means, strict=True))
    joined = _together(samples, [0] * len(samples), records, origin)
    joined.means = means
    return joined, joined.bottom_places()


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


def arrays_of(sample: MapSample) -> dict[str, Tensor | NDArray[Any]]:
    """Every array of a sample by name; maps that it does not keep are left out."""
    arrays: dict[str, Tensor | NDArray[Any]] = {name: getattr(sample, name) for name in ("features", *PLACES)}
    arrays |= {name: maps for name in MAPS if (maps := getattr(sample, name)).numel()}
    for index, means in enumerate(sample.means):
        arrays |= {f"means.{index}.{name}": array for name, array in means.arrays().items()}
    return arrays


def note_of(sample: MapSample) -> dict[str, Any]:
    """All of a sample that is no array."""
    return {
        "names": sample.picture_names,
        "models": [vars(record) for record in sample.models],
        "counts": [means.count for means in sample.means],
        "per_head": sample.per_head,
        **sample.origin.note(),
    }


def sample_from(arrays: Mapping[str, Tensor], note: Mapping[str, Any]) -> MapSample:
    """The sample of these arrays and this note. Raises KeyError, TypeError or ValueError for others."""
    records = tuple(ModelRecord.from_note(model) for model in note["models"])
    means = tuple(
        HeadMeans.from_arrays(f"means.{index}.", arrays, int(count))
        for index, count in enumerate(note["counts"])
    )
    places: list[NDArray[np.int64]] = [arrays[name].numpy() for name in PLACES]
    names = tuple(str(name) for name in note["names"])
    none = torch.zeros(len(places[0]), 0, 0, dtype=torch.float16)
    pooled, offsets = (arrays.get(name, none) for name in MAPS)
    features = arrays["features"].numpy()
    counts = {len(pooled), len(offsets), len(features), *map(len, places)}
    if len(counts) > 1:
        raise ValueError("it has not one row per map")
    shapes = [(len(m.block), len(m.head), len(m.total.high), len(m.total.low)) for m in means]
    if len(means) != len(records) or any(len(set(shape)) > 1 for shape in shapes):
        raise ValueError("it has not the means of every head")
    if len(places[0]) and (_most(places[0]) >= len(records) or _most(places[1]) >= len(names)):
        raise ValueError("it has maps of other models or pictures")
    model, picture, block, head, rank = places
    origin, per_head = Origin.from_note(note), int(note["per_head"])
    return MapSample(
        pooled, offsets, features, model, picture, block, head, rank, names, records, means, per_head, origin
    )


def _most(places: NDArray[np.int64]) -> int:
    return int(places.max()) if places.min() >= 0 else len(places) + 2**40
