"""Profiles of one attention tensor by spatial distance: pure functions, one value per picture and head.

The formulas are those of attention strength in Li et al., TVCG 2023, arXiv 2303.13731. All take rows of an attention
after softmax and may be called on a slice of the queries, so that the N x N matrix never has to exist in full.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from vitscope.heads.distance.hops import GridGeometry
from vitscope.heads.errors import HeadsError


@dataclass
class ProfileSums:
    """Sums over the patch queries seen so far; `finish` turns them into per-picture profiles.

    Every field has shape (B, H, ...): ring_strength (K), offsets ((2h-1)(2w-1)), one value per prefix token for
    to_prefix, from_prefix, prefix_entropy and prefix_self; queries is the number of patch queries seen.
    """

    ring_strength: Tensor
    offsets: Tensor
    to_prefix: Tensor
    from_prefix: Tensor
    prefix_entropy: Tensor
    prefix_self: Tensor
    row_entropy: Tensor
    queries: int = 0


def row_entropy(rows: Tensor) -> Tensor:
    """Shannon entropy in bits of distributions along the last axis; 0 log 0 = 0."""
    return -(rows * rows.clamp_min(torch.finfo(rows.dtype).tiny).log2()).sum(-1)


def start_sums(
    batch: int, heads: int, prefix: int, geometry: GridGeometry, device: torch.device
) -> ProfileSums:
    """Empty sums for a batch."""

    def zeros(*tail: int) -> Tensor:
        return torch.zeros(batch, heads, *tail, dtype=torch.float64, device=device)

    height, width = geometry.offset_shape
    return ProfileSums(
        zeros(geometry.rings),
        zeros(height * width),
        zeros(prefix),
        zeros(prefix),
        zeros(prefix),
        zeros(prefix),
        zeros(),
    )


def add_rows(sums: ProfileSums, rows: Tensor, first_query: int, prefix: int, geometry: GridGeometry) -> None:
    """Add attention rows (B, H, n, N) of the queries first_query ... first_query + n - 1 (token indices)."""
    tokens = prefix + geometry.patches
    if rows.shape[-1] != tokens:
        raise HeadsError(
            f"expected attention over {tokens} keys ({prefix} prefix + {geometry.patches} patches), "
            f"got {rows.shape[-1]}; strength needs sites whose keys are the whole grid."
        )
    last_query = first_query + rows.shape[2]
    for index in range(first_query, min(last_query, prefix)):
        row = rows[:, :, index - first_query].double()
        sums.from_prefix[..., index] = row[..., prefix:].sum(-1)
        sums.prefix_self[..., index] = row[..., index]
        sums.prefix_entropy[..., index] = row_entropy(row)
    start = max(first_query, prefix)
    if start >= last_query:
        return
    patch_rows = rows[:, :, start - first_query :]
    sums.to_prefix += patch_rows[..., :prefix].double().sum(2)
    sums.row_entropy += row_entropy(patch_rows).double().sum(-1)
    queries = slice(start - prefix, last_query - prefix)
    on_patches = patch_rows[..., prefix:]
    hops = geometry.hops[queries].to(rows.device)
    counts = geometry.ring_counts[queries].to(rows.device).gather(1, hops)
    corrected = on_patches / counts
    _scatter(sums.ring_strength, corrected, hops)
    _scatter(sums.offsets, on_patches, geometry.offsets[queries].to(rows.device))
    sums.queries += last_query - start


def _scatter(target: Tensor, values: Tensor, index: Tensor) -> None:
    """target[b, h, index[q, k]] += values[b, h, q, k]."""
    flat = values.flatten(2)
    partial = torch.zeros(*target.shape, dtype=flat.dtype, device=flat.device)
    partial.index_add_(2, index.flatten(), flat)
    target += partial.double()


@dataclass(frozen=True)
class PictureProfiles:
    """Profiles per picture and head; first axes (B, H).

    mass (K): mean over patch queries of the attention summed over ring k (prefix keys apart, so that
    sum(mass) + sum(to_prefix) = 1). strength (K): mass per existing cell of the ring, mean over the queries for which
    the ring exists; NaN where it exists for none. offsets (2h-1, 2w-1): attention summed by key - query, mean over
    queries (sums to the patch mass). to_prefix: mean mass that patch queries put on each prefix token ("taken" by it);
    from_prefix: mass that each prefix query puts on all patches ("given"). prefix_self: its mass on itself.
    expected_distance: sum of k mass(k); patch_distance: the same given that a patch is looked at. entropy, in bits:
    mean over patch queries of the whole row's entropy; prefix_entropy: of each prefix query's row.
    """

    mass: Tensor
    strength: Tensor
    offsets: Tensor
    to_prefix: Tensor
    from_prefix: Tensor
    prefix_self: Tensor
    expected_distance: Tensor
    patch_distance: Tensor
    entropy: Tensor
    prefix_entropy: Tensor


def finish(sums: ProfileSums, geometry: GridGeometry) -> PictureProfiles:
    """Per-picture profiles once every patch query has been added."""
    if sums.queries != geometry.patches:
        raise HeadsError(
            f"expected {geometry.patches} patch queries, got {sums.queries}; add every query once."
        )
    # The hop of a pair depends on its offset only: ring masses are sums of the offset histogram.
    ring_mass = torch.zeros_like(sums.ring_strength)
    ring_mass.index_add_(2, geometry.offset_hops.to(ring_mass.device), sums.offsets)
    mass = ring_mass / sums.queries
    has_ring = (geometry.ring_counts > 0).sum(0).to(mass.device)
    strength = torch.where(has_ring > 0, sums.ring_strength / has_ring.clamp_min(1), torch.nan)
    rings = torch.arange(geometry.rings, dtype=mass.dtype, device=mass.device)
    expected = (mass * rings).sum(-1)
    return PictureProfiles(
        mass=mass,
        strength=strength,
        offsets=(sums.offsets / sums.queries).unflatten(2, geometry.offset_shape),
        to_prefix=sums.to_prefix / sums.queries,
        from_prefix=sums.from_prefix,
        prefix_self=sums.prefix_self,
        expected_distance=expected,
        patch_distance=expected / mass.sum(-1).clamp_min(1e-12),
        entropy=sums.row_entropy / sums.queries,
        prefix_entropy=sums.prefix_entropy,
    )


def profile_attention(attention: Tensor, prefix: int, geometry: GridGeometry) -> PictureProfiles:
    """Profiles of a whole attention tensor (B, H, N, N), prefix tokens first."""
    batch, heads = attention.shape[:2]
    sums = start_sums(batch, heads, prefix, geometry, attention.device)
    add_rows(sums, attention, 0, prefix, geometry)
    return finish(sums, geometry)


def uniform_profiles(prefix: int, geometry: GridGeometry) -> PictureProfiles:
    """The profiles of uniform attention over all N tokens, shape (1, 1, ...): the baseline of every plot."""
    tokens = prefix + geometry.patches
    return profile_attention(torch.full((1, 1, tokens, tokens), 1.0 / tokens), prefix, geometry)
