"""How far heads look: attention strength by spatial distance, streamed over any number of pictures.

Sheet "Visual analytics of attention", 2 (Li et al. 2023). Per picture the profiles of `profiles.py`; over pictures a
running mean and spread, so memory does not grow with the pictures, and attention is only ever held in query chunks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from vitscope.heads.batches import Progress, picture_source, quiet
from vitscope.heads.correlation import spearman
from vitscope.heads.distance import check_distance, grid_geometry
from vitscope.heads.moments import Moments
from vitscope.heads.problems import HeadsError
from vitscope.heads.profiles import PictureProfiles, add_rows, finish, start_sums, uniform_profiles
from vitscope.heads.sites import prefix_of, spatial_sites
from vitscope.heads.table import HeadTable
from vitscope.models.anatomy import TokenLayout
from vitscope.storage import tensors
from vitscope.storage.notes import decoding
from vitscope.tracing import AttentionSite, Trace, Vit
from vitscope.tracing.caller import unaffected

KIND = "strength profile"
GROUPS = ("values", "spreads", "uniform", "scalars")
SCALARS = ("expected_distance", "patch_distance", "entropy")
CHUNK = 4_000_000
"""Attention values of one chunk of queries (16 MB in float32)."""


@dataclass(frozen=True, repr=False)
class StrengthProfile:
    """Mean and spread over pictures of every profile, first axes (L, H); L counts the blocks that were profiled.

    values[name], spreads[name]: mass (K), strength (K), offsets (2h-1, 2w-1), to_prefix and from_prefix (prefix),
    prefix_self, prefix_entropy, expected_distance, patch_distance, entropy; see `PictureProfiles` for their meaning.
    uniform[name]: the same for uniform attention, without the first axes. blocks: block index of each row.
    scalars[name]: (n, L, H) per picture for the three scalars: a few bytes a head, kept for `agreement`.
    """

    values: Mapping[str, NDArray[np.float64]]
    spreads: Mapping[str, NDArray[np.float64]]
    uniform: Mapping[str, NDArray[np.float64]]
    scalars: Mapping[str, NDArray[np.float32]]
    blocks: tuple[int, ...]
    prefix: tuple[str, ...]
    grid: tuple[int, int]
    distance: str
    pictures: tuple[str, ...]
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        L, H, K = self["mass"].shape
        grid = "x".join(map(str, self.grid))
        return f"<StrengthProfile: {L} blocks x {H} heads, {K} hops on {grid}, {len(self.pictures)} pictures>"

    def __getitem__(self, name: str) -> NDArray[np.float64]:
        if name not in self.values:
            raise HeadsError(
                f"expected one of {', '.join(self.values)}, got {name!r}; name a profile of this record"
            )
        return self.values[name]

    @property
    def class_given(self) -> NDArray[np.float64] | None:
        """(L, H) mass that the class query gives to the patches; None without a class token."""
        return self["from_prefix"][..., self.prefix.index("class")] if "class" in self.prefix else None

    @property
    def class_taken(self) -> NDArray[np.float64] | None:
        """(L, H) mass that the class token takes from patch queries (mean); None without a class token."""
        return self["to_prefix"][..., self.prefix.index("class")] if "class" in self.prefix else None

    def to_pandas(self) -> pd.DataFrame:
        """One row per head and hop k: mass, strength, their spread, the uniform baseline, and the head's scalars."""
        L, H, K = self["mass"].shape
        columns: dict[str, Any] = {
            "block": np.repeat(np.asarray(self.blocks), H * K),
            "head": np.tile(np.repeat(np.arange(H), K), L),
            "k": np.tile(np.arange(K), L * H),
            "n": len(self.pictures),
        }
        for name in ("mass", "strength"):
            columns[name] = self.values[name].ravel()
            columns[f"{name}_std"] = self.spreads[name].ravel()
            columns[f"{name}_uniform"] = np.tile(self.uniform[name], L * H)
        return pd.DataFrame(columns)

    def summary(self) -> pd.DataFrame:
        """One row per head: scalars with spread, mass given and taken by every prefix token, and the uniform value."""
        L, H = self["expected_distance"].shape
        columns: dict[str, Any] = {
            "block": np.repeat(np.asarray(self.blocks), H),
            "head": np.tile(np.arange(H), L),
            "n": len(self.pictures),
        }
        for name in SCALARS:
            columns[name] = self.values[name].ravel()
            columns[f"{name}_std"] = self.spreads[name].ravel()
            columns[f"{name}_uniform"] = float(self.uniform[name])
        for position, token in enumerate(self.prefix):
            columns[f"{token}_given"] = self["from_prefix"][..., position].ravel()
            columns[f"{token}_given_std"] = self.spreads["from_prefix"][..., position].ravel()
            columns[f"{token}_taken"] = self["to_prefix"][..., position].ravel()
            columns[f"{token}_taken_std"] = self.spreads["to_prefix"][..., position].ravel()
        return pd.DataFrame(columns)

    def trend(self) -> pd.DataFrame:
        """One row per block: mean over heads of each scalar, its smallest and largest head."""
        rows = []
        for index, block in enumerate(self.blocks):
            row: dict[str, Any] = {"block": block}
            for name in SCALARS:
                head = self.values[name][index]
                row.update({name: head.mean(), f"{name}_low": head.min(), f"{name}_high": head.max()})
            rows.append(row)
        return pd.DataFrame(rows)

    def trend_correlation(self, name: str = "expected_distance") -> float:
        """Spearman's rho between block number and the block's mean of a scalar: above 0, later blocks look further."""
        return spearman(np.asarray(self.blocks, dtype=np.float64), self.values[name].mean(1))

    def nearest_and_furthest(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """The (block, head) that looks the shortest and the longest way, by patch_distance."""
        values = self.values["patch_distance"]
        low, high = (np.unravel_index(int(pick(values)), values.shape) for pick in (np.nanargmin, np.nanargmax))
        return (self.blocks[low[0]], int(low[1])), (self.blocks[high[0]], int(high[1]))

    def as_table(self) -> HeadTable:
        """The scalars per picture as a HeadTable (for agreement with importance)."""
        return HeadTable(dict(self.scalars), self.pictures, self.metadata)

    def save(self, path: str | Path) -> Path:
        """Write everything to one safetensors file (ending added when missing); returns its path."""
        arrays = {
            f"{group}.{name}": np.asarray(array)
            for group in GROUPS
            for name, array in getattr(self, group).items()
        }
        note = {
            "blocks": self.blocks,
            "prefix": self.prefix,
            "grid": self.grid,
            "distance": self.distance,
            "pictures": self.pictures,
            "metadata": self.metadata,
        }
        return tensors.save(path, KIND, arrays, note)

    @classmethod
    def load(cls, path: str | Path) -> StrengthProfile:
        """Read what `save` wrote. Raises StorageError for a damaged file, or one of another kind or version."""
        arrays, note = tensors.load(path, KIND)
        with decoding(path, KIND):
            groups: dict[str, dict[str, Any]] = {group: {} for group in GROUPS}
            for name, tensor in arrays.items():
                group, _, rest = name.partition(".")
                groups[group][rest] = tensor.numpy()
            found = cls(
                **groups,
                blocks=tuple(int(block) for block in note["blocks"]),
                prefix=tuple(note["prefix"]),
                grid=(int(note["grid"][0]), int(note["grid"][1])),
                distance=str(note["distance"]),
                pictures=tuple(note["pictures"]),
                metadata=dict(note["metadata"]),
            )
            found.summary()  # every column that a profile has
            return found


@unaffected
def strength(
    vit: Vit, images: Any, *, distance: str = "chebyshev", batch_size: int = 16, progress: Progress = quiet
) -> StrengthProfile:
    """Profiles of every head over pictures. distance: chebyshev (the paper's hops), manhattan or euclidean.

    Streaming: memory holds one traced batch (q, k, v) and running sums. Raises HeadsError for models without a
    patch grid or without patch-to-patch attention.
    """
    check_distance(distance)
    source = picture_source(images)
    moments: dict[str, Moments] = {}
    scalars: dict[str, list[Tensor]] = {name: [] for name in SCALARS}
    names: list[str] = []
    for batch in source.batches(vit, batch_size):
        trace = vit.trace(batch.pixels, gradient=False)
        profiles, blocks = trace_profiles(trace, distance)
        for name, value in vars(profiles).items():
            moments.setdefault(name, Moments()).add(value)
        for name in SCALARS:
            scalars[name].append(getattr(profiles, name).float().cpu())
        layout, prefix = trace.layout, int(profiles.to_prefix.shape[-1])
        names += batch.names
        progress("attention strength", len(names), len(source))
    uniform = uniform_profiles(prefix, grid_geometry(layout.grid, distance))
    return StrengthProfile(
        {name: m.mean.numpy() for name, m in moments.items()},
        {name: m.spread().numpy() for name, m in moments.items()},
        {name: value[0, 0].numpy() for name, value in vars(uniform).items()},
        {name: torch.cat(parts).numpy() for name, parts in scalars.items()},
        blocks,
        layout.prefix[:prefix],
        layout.grid,
        distance,
        tuple(names),
        {
            "analysis": "strength",
            "model": vit.source,
            "fingerprint": vit.fingerprint,
            "pictures": len(names),
            "distance": distance,
            "skipped": {source.names[i]: why for i, why in source.skipped.items()},
        },
    )


def trace_profiles(trace: Trace, distance: str = "chebyshev") -> tuple[PictureProfiles, tuple[int, ...]]:
    """Profiles of every spatial site of a trace, stacked to (B, L, H, ...), and the block of each.

    Blocks with fewer heads than the widest are padded with NaN.
    """
    layout = trace.layout
    sites = spatial_sites(trace.sites, layout, trace.vit.source)
    found = [_site_profiles(site, layout, distance) for site in sites]
    most = max(site.heads for site in sites)
    stacked = {
        name: torch.stack([_padded(getattr(profile, name), most) for profile in found], 1)
        for name in vars(found[0])
    }
    return PictureProfiles(**stacked), tuple(int(site.info.block or 0) for site in sites)


def _padded(value: Tensor, heads: int) -> Tensor:
    missing = heads - value.shape[1]
    if not missing:
        return value
    return torch.cat([value, value.new_full((value.shape[0], missing, *value.shape[2:]), torch.nan)], 1)


def _site_profiles(site: AttentionSite, layout: TokenLayout, distance: str) -> PictureProfiles:
    geometry = grid_geometry(layout.grid, distance)
    prefix = prefix_of(site, layout)
    sums = start_sums(site.batch, site.heads, prefix, geometry, site.output.device)
    step = max(1, CHUNK // (site.batch * site.heads * site.keys))
    for start in range(0, site.queries, step):
        stop = min(site.queries, start + step)
        add_rows(sums, site.attention(slice(start, stop)), start, prefix, geometry)
    return finish(sums, geometry)
