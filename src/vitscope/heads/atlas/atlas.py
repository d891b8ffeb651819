"""PatternAtlas: codes, clusters, names and prototypes of attention maps; saves, loads, and maps new pictures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from vitscope.errors import OutputError, StorageError
from vitscope.heads.atlas.autoencoder import MapAutoencoder, autoencoder_from
from vitscope.heads.atlas.canonical import FORMS, Form
from vitscope.heads.atlas.clustering import Clustering
from vitscope.heads.atlas.coding import CODERS, AutoencoderCoder, Coder, decoded
from vitscope.heads.atlas.collecting import collect_maps
from vitscope.heads.atlas.mapping import KIND as KIND_OF_MAPPING
from vitscope.heads.atlas.mapping import PatternMapping, without_maps
from vitscope.heads.atlas.pattern_names import Pattern, unique_names
from vitscope.heads.atlas.principal import PrincipalCoder
from vitscope.heads.atlas.sampling import MapSample
from vitscope.heads.errors import HeadsError
from vitscope.heads.origin import HasOrigin, Origin
from vitscope.options.bounds import BatchSize, Count, Folder, Seed
from vitscope.options.door import checked
from vitscope.pictures import Images
from vitscope.progress import Progress
from vitscope.shown import drawn_by
from vitscope.storage import folders, tables, tensors
from vitscope.storage.notes import decoding
from vitscope.tracing import Vit

KIND = "pattern atlas"
MAP_COLUMNS = ("model", "picture", "block", "head", "cluster", "pattern", "distance")
HEAD_COLUMNS = ("model", "block", "head", "pattern", "purity", "content_dependence")


@dataclass(frozen=True, repr=False)
class PatternAtlas(HasOrigin):
    """Attention patterns that :func:`patterns` learned: codes, clusters with names, and prototypes.

    Args:
        autoencoder: The trained autoencoder.
        principal: PCA with as many code dimensions.
        coder_name: Which of them gave the codes: "autoencoder" or "pca".
        form: Canonical form of a map: "pooled" (49 x 49 by position) or "offset" (27 x 27 by relative offset).
        clustering: Centres of the k clusters.
        patterns: The k clusters with their names.
        prototypes: (k, side, side) decoded centres; rows sum to 1 (form "offset": the whole map does).
        examples: (k, side, side) mean of the cluster's own maps, likewise.
        codes: (n, latent) float32.
        maps: One row per sampled map: model, picture, block, head, cluster, pattern, distance, held_out, x, y.
        heads: One row per head: its mix of patterns, purity and dependence on content.
        report: Held-out errors and stability of both coders, and the verdict.
        null: Rows as ``heads`` for shuffled weights, None when not asked for.
        metadata: Models and numbers of maps, as plain JSON values.
        origin: The recipe, content ids and skipped pictures.

    Example:
        >>> import vitscope as vs
        >>> vit = vs.open_model("bundled/shapes")
        >>> pictures = vs.worlds.world("shapes").sample(3, seed=1).images()
        >>> quick = vs.heads.AutoencoderOptions(epochs=1, width=1, latent=2)
        >>> atlas = vs.heads.patterns(vit, pictures, per_head=2, k=2, repeats=0, display="pca", options=quick)
        >>> len(atlas.codes), len(atlas.names), tuple(atlas.prototypes.shape)
        (48, 2, (2, 49, 49))
        >>> vs.heads.PatternAtlas.load(atlas.save("atlas")).names == atlas.names
        True

    Source: attention patterns by an autoencoder, Li et al., TVCG 2023, arXiv 2303.13731.
    """

    autoencoder: MapAutoencoder
    principal: PrincipalCoder
    coder_name: str
    form: Form
    clustering: Clustering
    patterns: tuple[Pattern, ...]
    prototypes: Tensor
    examples: Tensor
    codes: NDArray[np.float32]
    maps: pd.DataFrame
    heads: pd.DataFrame
    report: Mapping[str, Any]
    null: pd.DataFrame | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    origin: Origin = field(default_factory=Origin)

    def __repr__(self) -> str:
        return f"<PatternAtlas: {len(self.codes)} maps in {len(self.patterns)} patterns, coded by {self.coder_name}>"

    def _repr_html_(self) -> str:
        return str(drawn_by("heads.notebook", "atlas_html")(self))

    @property
    def verdict(self) -> str:
        """Which coder was better on held-out pictures, in words."""
        return str(self.report["verdict"])

    @property
    def names(self) -> list[str]:
        """A unique name for each of the k clusters, numbered where several share one."""
        return unique_names([pattern.name for pattern in self.patterns])

    @property
    def coder(self) -> Coder:
        """The coder whose codes were clustered."""
        return AutoencoderCoder(self.autoencoder) if self.coder_name == "autoencoder" else self.principal

    @checked(HeadsError)
    def map_pictures(
        self,
        vit: Vit,
        images: Images,
        *,
        per_head: Count = 100,
        batch_size: BatchSize = 8,
        seed: Seed = 0,
        name: str | None = None,
        checkpoint: Folder | None = None,
        progress: Progress | None = None,
    ) -> PatternMapping:
        """Place new pictures, also of another model with another grid, in this atlas; nothing is fitted again.

        Args:
            vit: The opened model.
            images: Pictures in any form that :func:`vitscope.pictures.picture_source` takes.
            per_head: The largest number of maps of a head.
            batch_size: Pictures in a batch; it changes time and memory, not the result.
            seed: Seed of the draw of maps.
            name: The name of the model in the result; None takes its source.
            checkpoint: A folder that keeps every finished part; a stopped run continues from it.
            progress: Reports progress, and is asked whether to stop; see :mod:`vitscope.progress`.

        Returns:
            Cluster, pattern and distance of every map, and the mix of patterns of every head.

        Raises:
            HeadsError: A model without a patch grid or without attention between patches.
            PictureError: A picture that cannot be read.
        """
        return self.map_sample(
            collect_maps(
                vit,
                images,
                per_head=per_head,
                batch_size=batch_size,
                seed=seed,
                name=name,
                checkpoint=checkpoint,
                progress=progress,
            )
        )

    @checked(HeadsError)
    def map_sample(self, sample: MapSample) -> PatternMapping:
        """Place maps that were collected already, see :func:`collect_maps`.

        Args:
            sample: Canonical maps.

        Returns:
            Cluster, pattern and distance of every map, and the mix of patterns of every head.
        """
        maps = sample.form(self.form)
        codes = self.coder.encode(maps).numpy()
        clusters = self.clustering.assign(codes)
        distances = self.clustering.distances(codes)[np.arange(len(clusters)), clusters]
        made = sample.recipe
        recipe = replace(
            made, analysis=KIND_OF_MAPPING, options={**made.options, "atlas": self.recipe.digest}
        )
        kept = replace(without_maps(sample), origin=replace(sample.origin, recipe=recipe))
        return PatternMapping(kept, clusters, distances, codes, tuple(self.names))

    def decode(self, codes: NDArray[np.float32]) -> Tensor:
        """Decode codes into maps.

        Args:
            codes: (n, latent) float32.

        Returns:
            (n, side, side): rows sum to 1 (form "pooled"), or the whole map does (form "offset").
        """
        return decoded(self.coder, codes, self.form)

    def with_null(self, null: PatternMapping) -> PatternAtlas:
        """The atlas together with the pattern mixes of shuffled weights.

        Args:
            null: The mapping that :func:`null_mixes` gave.

        Returns:
            A copy of the atlas whose ``null`` holds the mixes.
        """
        return replace(self, null=null.heads)

    def to_pandas(self) -> pd.DataFrame:
        """The sampled maps as a table, see ``maps``."""
        return self.maps.copy()

    @checked(OutputError)
    def save(self, folder: Folder) -> Path:
        """Write the atlas into a folder; an atlas that is there is replaced.

        Args:
            folder: Where to write.

        Returns:
            The folder.

        Raises:
            OutputError: It cannot be written.
        """
        arrays = {f"autoencoder.{name}": value for name, value in self.autoencoder.state_dict().items()}
        arrays |= {
            "principal.mean": self.principal.mean,
            "principal.directions": self.principal.directions,
            "centres": torch.from_numpy(self.clustering.centres),
            "prototypes": self.prototypes,
            "examples": self.examples,
            "codes": torch.from_numpy(self.codes),
        }
        note = {
            "coder": self.coder_name,
            "form": self.form,
            "autoencoder": {
                "side": self.autoencoder.side,
                "latent": self.autoencoder.latent,
                "width": self.autoencoder.width,
            },
            "patterns": [vars(pattern) for pattern in self.patterns],
            "report": self.report,
            "metadata": self.metadata,
            **self.origin.note(),
        }
        frames = {"maps": self.maps, "heads": self.heads, "null": self.null}
        parts = {"arrays.safetensors": tensors.encode(KIND, arrays, {})} | {
            f"{name}.parquet": tables.encode(frame, KIND, {})
            for name, frame in frames.items()
            if frame is not None
        }
        return folders.save(folder, KIND, parts, note)

    @classmethod
    @checked(StorageError)
    def load(cls, folder: Folder) -> PatternAtlas:
        """Read an atlas that :meth:`save` wrote.

        Args:
            folder: Where it was written.

        Returns:
            The atlas.

        Raises:
            StorageError: The folder holds no atlas, or a damaged one.
        """
        parts, note = folders.load(folder, KIND)
        with decoding(folder, KIND):
            arrays, _ = tensors.decode(parts["arrays.safetensors"], folder, KIND)
            frames = {
                name: tables.decode(parts[f"{name}.parquet"], folder, KIND, columns)[0]
                for name, columns in (("maps", MAP_COLUMNS), ("heads", HEAD_COLUMNS), ("null", HEAD_COLUMNS))
                if name != "null" or "null.parquet" in parts
            }
            if note["coder"] not in CODERS or note["form"] not in FORMS:
                raise ValueError("unknown coder or form")
            return cls(
                autoencoder_from(note["autoencoder"], arrays),
                PrincipalCoder(
                    int(note["autoencoder"]["side"]), arrays["principal.mean"], arrays["principal.directions"]
                ),
                note["coder"],
                note["form"],
                Clustering(arrays["centres"].numpy()),
                tuple(Pattern(**pattern) for pattern in note["patterns"]),
                arrays["prototypes"],
                arrays["examples"],
                arrays["codes"].numpy(),
                frames["maps"],
                frames["heads"],
                dict(note["report"]),
                frames.get("null"),
                dict(note["metadata"]),
                Origin.from_note(note),
            )
