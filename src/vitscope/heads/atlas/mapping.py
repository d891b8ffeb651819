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

from vitscope.errors import OutputError, StorageError
from vitscope.heads.atlas.mixing import head_mixes
from vitscope.heads.atlas.sampling import MapSample, arrays_of, merged_places, note_of, sample_from
from vitscope.heads.errors import HeadsError
from vitscope.heads.frames import write_frame
from vitscope.heads.origin import HasOrigin, Origin
from vitscope.options.bounds import FilePath
from vitscope.options.door import checked
from vitscope.shown import drawn_by
from vitscope.storage import tables, tensors
from vitscope.storage.notes import decoding

KIND = "pattern mapping"


@dataclass(frozen=True, repr=False)
class PatternMapping(HasOrigin):
    """New pictures placed in an atlas.

    Made by :meth:`PatternAtlas.map_pictures` or :func:`null_mixes`.

    Args:
        sample: Where each of the n maps comes from; the maps themselves are not kept.
        clusters: (n,) int64, the pattern of each map.
        distances: (n,) float32, to the centre of that pattern, in code space.
        codes: (n, latent) float32, the code of each map.
        names: The names of the patterns.

    Example:
        >>> import vitscope as vs
        >>> vit = vs.open_model("bundled/shapes")
        >>> pictures = vs.worlds.world("shapes").sample(3, seed=1).images()
        >>> quick = vs.heads.AutoencoderOptions(epochs=1, width=1, latent=2)
        >>> atlas = vs.heads.patterns(vit, pictures, per_head=2, k=2, repeats=0, display="pca", options=quick)
        >>> placed = atlas.map_pictures(vit, pictures[:1], per_head=1)
        >>> placed
        <PatternMapping: 24 maps of 1 pictures in 2 patterns>
        >>> len(placed.maps), len(placed.heads), placed.codes.shape
        (24, 24, (24, 2))
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
        """The recipe, content ids and skipped pictures."""
        return self.sample.origin

    @cached_property
    def maps(self) -> pd.DataFrame:
        """One row per map: model, picture, block, head, cluster, pattern, distance (to the cluster's centre)."""
        return map_frame(self.sample, self.clusters, self.distances, self.names)

    @cached_property
    def heads(self) -> pd.DataFrame:
        """One row per head: its mix of patterns, purity, dependence on content, and the mean distance of its maps."""
        mixes = head_mixes(self.sample, self.clusters, self.names)
        mean = self.maps.groupby(["model", "block", "head"])["distance"].mean()
        heads = zip(mixes["model"], mixes["block"], mixes["head"], strict=True)
        return mixes.assign(distance=[float(mean.get(head, np.nan)) for head in heads])

    def to_pandas(self) -> pd.DataFrame:
        """The maps as a table, see ``maps``."""
        return self.maps.copy()

    def _repr_html_(self) -> str:
        return str(drawn_by("notebook", "frame_html")(self, self.heads))

    @checked(HeadsError)
    def merge(self, *others: PatternMapping) -> PatternMapping:
        """Join the mappings of shards of a data set: the same maps as a mapping of all pictures.

        Args:
            others: Mappings of other pictures.

        Returns:
            The mapping of all pictures.

        Raises:
            RecipeError: Another atlas, model or other options; the message says what differs.
            HeadsError: A picture is in two of them.
        """
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
        """Write everything to one safetensors file, or the rows alone as .csv or .parquet.

        Args:
            path: The file; ``.safetensors`` is added when there is no ending.

        Returns:
            The path of the file.

        Raises:
            OutputError: It cannot be written.
        """
        if Path(path).suffix in (".csv", tables.ENDING):
            return write_frame(self.maps, Path(path))
        arrays = arrays_of(self.sample)
        arrays |= {name: getattr(self, name) for name in ("clusters", "distances", "codes")}
        return tensors.save(path, KIND, arrays, {"patterns": self.names, **note_of(self.sample)})

    @classmethod
    @checked(StorageError)
    def load(cls, path: FilePath) -> PatternMapping:
        """Read what :meth:`save` wrote as .safetensors.

        Args:
            path: The file.

        Returns:
            The mapping.

        Raises:
            StorageError: The file is damaged, or of another kind.
        """
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
