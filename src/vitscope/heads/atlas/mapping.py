"""Pictures placed in an atlas that is there already: which pattern each of their maps has."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from vitscope.errors import OutputError
from vitscope.heads.atlas.mixing import head_mixes
from vitscope.heads.atlas.sampling import MapSample, arrays_of, merged_places, note_of, sample_from
from vitscope.heads.errors import HeadsError
from vitscope.heads.origin import HasOrigin, Origin
from vitscope.heads.table import write_frame
from vitscope.options.bounds import FilePath
from vitscope.options.door import checked
from vitscope.shown import as_table
from vitscope.storage import tables, tensors
from vitscope.storage.notes import decoding
from vitscope.storage.recipe import require_same_kind

KIND = "pattern mapping"


@dataclass(frozen=True, repr=False)
class PatternMapping(HasOrigin):
    """New pictures placed in an atlas.

    sample: where each of the n maps comes from; the maps themselves are not kept. clusters: (n,) pattern of each.
    distances: (n,) to the centre of that pattern, in code space. codes: (n, latent). names: of the patterns.
    """

    sample: MapSample
    clusters: NDArray[np.int64]
    distances: NDArray[np.float32]
    codes: NDArray[np.float32]
    names: tuple[str, ...]

    def __repr__(self) -> str:
        pictures = len(self.sample.picture_names)
        return (
            f"<PatternMapping: {len(self.codes)} maps of {pictures} pictures in {len(self.names)} patterns>"
        )

    @property
    def origin(self) -> Origin:  # type: ignore[override]
        """Recipe, content ids and skipped pictures."""
        return self.sample.origin

    @cached_property
    def maps(self) -> pd.DataFrame:
        """One row per map: model, picture, block, head, cluster, pattern, distance."""
        return map_frame(self.sample, self.clusters, self.distances, self.names)

    @cached_property
    def heads(self) -> pd.DataFrame:
        """One row per head: the mix of its patterns (`mixing.head_mixes`) and distance, the mean of its maps'."""
        mixes = head_mixes(self.sample, self.clusters, self.names)
        mean = self.maps.groupby(["model", "block", "head"])["distance"].mean()
        heads = zip(mixes["model"], mixes["block"], mixes["head"], strict=True)
        return mixes.assign(distance=[float(mean.get(head, np.nan)) for head in heads])

    def to_pandas(self) -> pd.DataFrame:
        """One row per map, as ``maps``."""
        return self.maps.copy()

    def _repr_html_(self) -> str:
        return as_table(self, self.heads)

    def merge(self, *others: PatternMapping) -> PatternMapping:
        """The mapping of these pictures and those of other shards: the same maps as one of all pictures.

        Raises:
            RecipeError: another atlas or model, or other options; the message says what differs.
            HeadsError: a picture is in two of them.

        Example:
            ``first.merge(second).heads``
        """
        require_same_kind(self, others)
        parts = (self, *others)
        together, chosen = merged_places([part.sample for part in parts], "pattern mappings")
        if any(part.names != self.names for part in others):
            raise HeadsError("expected mappings in one atlas, got patterns of other names; use one atlas")
        return PatternMapping(
            together.take(chosen),
            np.concatenate([part.clusters for part in parts])[chosen],
            np.concatenate([part.distances for part in parts])[chosen],
            np.concatenate([part.codes for part in parts])[chosen],
            self.names,
        )

    @checked(OutputError)
    def save(self, path: FilePath) -> Path:
        """Write everything to one safetensors file (ending added when missing), or the rows alone as .csv or .parquet
        for other programs; returns its path."""
        if Path(path).suffix in (".csv", tables.ENDING):
            return write_frame(self.maps, Path(path))
        arrays = arrays_of(self.sample)
        arrays |= {name: getattr(self, name) for name in ("clusters", "distances", "codes")}
        return tensors.save(path, KIND, arrays, {"patterns": self.names, **note_of(self.sample)})

    @classmethod
    def load(cls, path: str | Path) -> PatternMapping:
        """Read what `save` wrote as .safetensors. Raises StorageError for a damaged file, or one of another kind."""
        arrays, note = tensors.load(path, KIND)
        with decoding(path, KIND):
            sample, names = sample_from(arrays, note), tuple(str(name) for name in note["patterns"])
            clusters, distances, codes = (arrays[n].numpy() for n in ("clusters", "distances", "codes"))
            if any(len(column) != len(sample) for column in (clusters, distances, codes)):
                raise ValueError("it has not one pattern per map")
            if len(clusters) and not 0 <= int(clusters.min()) <= int(clusters.max()) < len(names):
                raise ValueError("it has maps of an unknown pattern")
            return cls(sample, clusters, distances, codes, names)


def without_maps(sample: MapSample) -> MapSample:
    """Where the maps of a sample come from, without the maps, which are the large part."""
    none = torch.zeros(len(sample), 0, 0, dtype=torch.float16)
    return replace(sample, pooled=none, offsets=none)


def map_frame(
    sample: MapSample, labels: NDArray[np.int64], distances: NDArray[np.float32], names: Any
) -> pd.DataFrame:
    """One row per map: model, picture, block, head, cluster, pattern, distance to its centre."""
    return pd.DataFrame(
        {
            "model": [sample.models[m].name for m in sample.model],
            "picture": [sample.picture_names[p] for p in sample.picture],
            "block": sample.block,
            "head": sample.head,
            "cluster": labels,
            "pattern": np.asarray(names, dtype=object)[labels],
            "distance": distances,
        }
    )
