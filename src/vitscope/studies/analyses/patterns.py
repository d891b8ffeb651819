"""What patterns attention has: a sample of maps, an atlas fitted to it, and the code of every map in the atlas."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vitscope.heads.atlas.atlas import PatternAtlas
from vitscope.heads.atlas.autoencoder import AutoencoderOptions
from vitscope.heads.atlas.bottom_k import SampleLimits
from vitscope.heads.atlas.canonical import hellinger, offset_map, pooled_map
from vitscope.heads.atlas.collecting import MapCollection, Prepared
from vitscope.heads.atlas.fitting import fit_atlas
from vitscope.heads.atlas.sampling import MapSample
from vitscope.heads.measuring import measured
from vitscope.heads.origin import heads_recipe
from vitscope.heads.spatial_sites import head_grid, prefix_of, spatial_sites
from vitscope.pictures import Batch
from vitscope.pictures.read_batch import ReadBatch
from vitscope.progress import CountedStage, Progress
from vitscope.storage import files
from vitscope.storage.recipe import Recipe
from vitscope.studies.analyses.analysis import Desk
from vitscope.studies.output import Output, Places
from vitscope.studies.store.specs import ArraySpec, array_spec

SAMPLE = "patterns/maps.safetensors"
ATLAS = "atlas"


class MapSamples:
    """The maps of each head with the smallest ranks among all pictures of the study.

    Args:
        desk: Model and study.
        per_head: The largest number of maps of a head.
        limits: By (block, head), the largest rank that can be among them, found over all planned pictures.
    """

    tables: Sequence[str] = ()

    def __init__(self, desk: Desk, per_head: int, limits: Sequence[Sequence[int]]) -> None:
        self._desk, self._per_head = desk, per_head
        places = {(int(block), int(head)): int(limit) for block, head, limit in limits}
        self._draw = SampleLimits(places)

    def _collection(self, pictures: ReadBatch | None) -> MapCollection:
        vit = self._desk.vit
        options = {"per_head": self._per_head, "seed": self._desk.seed, "name": vit.source}
        made = (
            Recipe("attention maps")
            if pictures is None
            else heads_recipe(vit, pictures, "attention maps", options, model=self._desk.model)
        )
        stage = CountedStage(None, "attention maps", 0 if pictures is None else len(pictures))
        return MapCollection(made, vit.source, self._per_head, self._desk.seed, self._desk.batch_size, stage)

    def run(self, pictures: ReadBatch) -> MapSample | None:
        """The sample of one batch."""
        collection = self._collection(pictures)
        found = collection.run(Prepared(self._desk.vit, self._draw), pictures)
        if found is not None:
            found.origin = replace(found.origin, recipe=collection.made)
        return found

    def arrays(self, parts: Sequence[MapSample | None]) -> Sequence[ArraySpec]:
        """None."""
        return ()

    def finish(self, parts: Sequence[MapSample | None], places: Places) -> Output:
        """The sample of a shard."""
        collection = self._collection(None)
        whole = collection.merge(Prepared(self._desk.vit, self._draw), parts)
        kept = None if whole is None else _named_by_maps(whole)
        return Output(states={SAMPLE: collection.encode(kept)["maps.safetensors"]})

    def whole(self, states: Iterable[Mapping[str, bytes]]) -> MapSample | None:
        """The sample of all shards, from the states of each in their order."""
        collection = self._collection(None)
        parts = (collection.decode({"maps.safetensors": state[SAMPLE]}) for state in states)
        return collection.merge(Prepared(self._desk.vit, self._draw), parts)


def _named_by_maps(sample: MapSample) -> MapSample:
    """The sample with the names of those pictures alone of which it has maps, so that it does not grow with the others.
    How many pictures there were is kept beside the models and the means."""
    used, places = np.unique(sample.picture, return_inverse=True)
    ids = sample.origin.ids
    origin = replace(sample.origin, ids=tuple(ids[index] for index in used) if ids else ())
    names = tuple(sample.picture_names[index] for index in used)
    return replace(sample, picture=places.reshape(-1).astype(np.int64), picture_names=names, origin=origin)


def fitted(sample: MapSample, options: Mapping[str, Any], progress: Progress | None) -> dict[str, bytes]:
    """The files of the atlas that is fitted to a sample; what a clock said is left out, so that equal samples and
    options give equal bytes."""
    chosen = dict(options)
    trained = AutoencoderOptions(**chosen.pop("autoencoder"))
    atlas = fit_atlas(sample, options=trained, progress=progress, **chosen)
    coders = {name: {**report, "seconds": None} for name, report in atlas.report["coders"].items()}
    metadata = {**atlas.metadata, "pictures": sample.models[0].pictures}
    atlas = replace(atlas, report={**atlas.report, "coders": coders}, metadata=metadata)
    with tempfile.TemporaryDirectory(prefix="vitscope-") as place:
        folder = atlas.save(Path(place) / ATLAS)
        found = sorted(each for each in folder.rglob("*") if each.is_file())
        return {f"{ATLAS}/{each.relative_to(folder).as_posix()}": files.read(each) for each in found}


def atlas_of(state: Mapping[str, bytes]) -> PatternAtlas:
    """The atlas of the files that `fitted` gave."""
    with tempfile.TemporaryDirectory(prefix="vitscope-") as place:
        for name, content in state.items():
            if name.startswith(f"{ATLAS}/"):
                files.write(Path(place) / name, content)
        return PatternAtlas.load(Path(place) / ATLAS)


@dataclass(frozen=True)
class Coded:
    """keys: of n pictures. codes: (n, L, H, latent), NaN for heads without maps. clusters: (n, L, H)."""

    keys: tuple[str, ...]
    codes: NDArray[np.float32]
    clusters: NDArray[np.float32]


class Codes:
    """Every map of every picture as a code in the atlas, with the pattern that is nearest.

    Args:
        desk: Model and study.
        atlas: The fitted atlas.
    """

    tables: Sequence[str] = ()

    def __init__(self, desk: Desk, atlas: PatternAtlas) -> None:
        self._desk, self._atlas = desk, atlas

    def run(self, pictures: ReadBatch) -> list[Coded]:
        """The codes of one batch."""
        vit = self._desk.vit
        stage = CountedStage(None, "pattern codes", len(pictures))
        return list(measured(vit, pictures, self._desk.batch_size, self._of_batch, stage))

    def _of_batch(self, batch: Batch) -> Coded:
        vit = self._desk.vit
        trace = vit.trace(batch.images, gradient=False, keys=batch.keys)
        L, H = head_grid(vit.anatomy)
        codes: NDArray[np.float32] | None = None
        clusters = np.full((len(batch), L, H), np.nan, np.float32)
        for site in spatial_sites(trace.sites, trace.layout, vit.source):
            block, prefix = int(site.info.block or 0), prefix_of(site, trace.layout)
            patches = site.attention()[..., prefix:, prefix:].cpu()
            bring = pooled_map if self._atlas.form == "pooled" else offset_map
            maps = hellinger(
                bring(patches, trace.layout.grid)
            ).half()  # as in the sample that the atlas was fitted to
            found = self._atlas.coder.encode(maps.flatten(0, 1)).numpy()
            if codes is None:
                codes = np.full((len(batch), L, H, found.shape[1]), np.nan, np.float32)
            codes[:, block, : site.heads] = found.reshape(len(batch), site.heads, -1)
            nearest = self._atlas.clustering.assign(found)
            clusters[:, block, : site.heads] = nearest.reshape(len(batch), site.heads)
        assert codes is not None  # spatial_sites refuses models without any
        return Coded(tuple(batch.keys), codes, clusters)

    def arrays(self, parts: Sequence[list[Coded]]) -> Sequence[ArraySpec]:
        """``patterns/codes`` and ``patterns/clusters``."""
        return [spec for coded in _flat(parts) for spec in code_arrays(coded.codes.shape[1:])][:2]

    def finish(self, parts: Sequence[list[Coded]], places: Places) -> Output:
        """A row for every picture."""
        filled = list(_flat(parts))
        if not filled:
            return Output()
        keys = [key for coded in filled for key in coded.keys]
        return Output(
            arrays={
                "patterns/codes": places.spread(keys, np.concatenate([coded.codes for coded in filled])),
                "patterns/clusters": places.spread(
                    keys, np.concatenate([coded.clusters for coded in filled])
                ),
            }
        )


def code_arrays(shape: tuple[int, ...]) -> list[ArraySpec]:
    """The arrays of codes of shape (L, H, latent)."""
    return [array_spec("patterns/codes", shape), array_spec("patterns/clusters", shape[:2])]


def _flat(parts: Sequence[list[Coded]]) -> Iterator[Coded]:
    return (coded for part in parts for coded in part)
