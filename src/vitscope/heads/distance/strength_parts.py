"""Profiles of some of the pictures, and how those of several parts are added up."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from vitscope.heads.distance.hops import grid_geometry
from vitscope.heads.distance.profiles import PictureProfiles, add_rows, finish, start_sums
from vitscope.heads.errors import HeadsError
from vitscope.heads.measuring import measured
from vitscope.heads.per_picture import FILE, Rows
from vitscope.heads.spatial_sites import prefix_of, spatial_sites
from vitscope.models.token_layout import TokenLayout
from vitscope.pictures import Batch, PictureSource
from vitscope.progress import CountedStage
from vitscope.storage import tensors
from vitscope.storage.recipe import Recipe
from vitscope.sums import poisson_bootstrap
from vitscope.sums.moments import Moments
from vitscope.tracing import AttentionSite, Trace, Vit

SCALARS = ("expected_distance", "patch_distance", "entropy")
CHUNK = 4_000_000
"""Attention values of one chunk of queries (16 MB in float32)."""
KIND = "part of a strength profile"
MOMENTS = "moments.safetensors"


@dataclass(frozen=True)
class Shape:
    """blocks: index of each profiled one. prefix: names of the tokens before the patches. grid: (h, w)."""

    blocks: tuple[int, ...]
    prefix: tuple[str, ...]
    grid: tuple[int, int]


@dataclass
class StrengthPart:
    """Sums over pictures, and the scalars of each up to 100,000; shape is None when there was no picture."""

    rows: Rows = field(default_factory=Rows)
    moments: dict[str, Moments] = field(default_factory=dict)
    shape: Shape | None = None

    @property
    def count(self) -> int:
        """How many pictures."""
        return next((moments.count for moments in self.moments.values()), 0)

    def merge(self, other: StrengthPart) -> None:
        """Take in the sums of other pictures, not their rows. Raises HeadsError for another size."""
        if other.shape is None:
            return
        if self.shape is not None and self.shape != other.shape:
            raise HeadsError(
                f"expected pictures of one size, got grids {self.shape.grid} and {other.shape.grid}; "
                "resize them, or profile them apart"
            )
        self.shape = other.shape
        for name, moments in other.moments.items():
            self.moments.setdefault(name, Moments()).merge(moments)


@dataclass(frozen=True)
class StrengthSums:
    """The profiles of pictures as an :class:`~vitscope.analysis.Analysis`."""

    made: Recipe
    distance: str
    batch_size: int
    stage: CountedStage
    name: str = "attention strength"

    def recipe(self, vit: Vit, source: PictureSource) -> Recipe:
        """What makes the result of the whole."""
        return self.made

    def prepare(self, vit: Vit, source: PictureSource) -> Vit:
        """Nothing has to be known of all pictures."""
        return vit

    def run(self, prepared: Vit, shard: PictureSource) -> StrengthPart:
        """The sums over some of the pictures."""

        def profiles_of(batch: Batch) -> StrengthPart:
            trace = prepared.trace(batch.images, gradient=False, keys=batch.keys)
            profiles, blocks = trace_profiles(trace, self.distance)
            part = StrengthPart(Rows.of(batch, {name: getattr(profiles, name) for name in SCALARS}))
            for name, value in vars(profiles).items():
                part.moments[name] = Moments()
                part.moments[name].add(value)
            prefix = trace.layout.prefix[: int(profiles.to_prefix.shape[-1])]
            part.shape = Shape(blocks, tuple(prefix), trace.layout.grid)
            return part

        found = measured(prepared, shard, self.batch_size, profiles_of, self.stage)
        return self.merge(prepared, found)

    def merge(self, prepared: Vit, parts: Iterable[StrengthPart]) -> StrengthPart:
        """The sums over all pictures."""
        whole, rows = StrengthPart(), []
        for part in parts:
            whole.merge(part)
            rows.append(part.rows)
            if whole.count > poisson_bootstrap.EXACT:
                rows.clear()
        whole.rows = Rows.join(rows)
        return whole

    def encode(self, part: StrengthPart) -> Mapping[str, bytes]:
        """The scalars and the moments, a file each."""
        arrays: dict[str, Tensor] = {}
        for name, moments in part.moments.items():
            arrays |= moments.tensors(name)
        shape = None if part.shape is None else vars(part.shape)
        note = {"profiles": list(part.moments), "count": part.count, "shape": shape}
        return {FILE: part.rows.encode(), MOMENTS: tensors.encode(KIND, arrays, note)}

    def decode(self, files: Mapping[str, bytes]) -> StrengthPart:
        """What ``encode`` made, back."""
        arrays, note = tensors.decode(files[MOMENTS], MOMENTS, KIND)
        count, shape = int(note["count"]), note["shape"]
        return StrengthPart(
            Rows.decode(files[FILE]),
            {str(name): Moments.from_tensors(name, count, arrays) for name in note["profiles"]},
            None
            if shape is None
            else Shape(
                tuple(int(block) for block in shape["blocks"]),
                tuple(shape["prefix"]),
                (int(shape["grid"][0]), int(shape["grid"][1])),
            ),
        )


def trace_profiles(trace: Trace, distance: str = "chebyshev") -> tuple[PictureProfiles, tuple[int, ...]]:
    """Profiles of every spatial site of a trace, stacked to (B, L, H, ...), and the block of each.

    Blocks with fewer heads than the widest are padded with NaN.
    """
    layout = trace.layout
    sites = spatial_sites(trace.sites, layout, trace.model.source)
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
