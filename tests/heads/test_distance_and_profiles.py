"""Profiles by distance against slow literal twins, and facts that hold for every attention."""

from __future__ import annotations

import math
from typing import get_args

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vitscope.heads import HeadsError
from vitscope.heads.distance.hops import Distance, grid_geometry, hop_of_offset
from vitscope.heads.distance.profiles import add_rows, finish, profile_attention, start_sums, uniform_profiles

DISTANCES = get_args(Distance)


def random_attention(batch: int, heads: int, tokens: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (3 * torch.randn(batch, heads, tokens, tokens, generator=generator)).softmax(-1)


def literal_hop(name: str, dy: int, dx: int) -> int:
    return {
        "chebyshev": max(abs(dy), abs(dx)),
        "manhattan": abs(dy) + abs(dx),
        "euclidean": round(math.hypot(dy, dx)),
    }[name]


def literal_profiles(A: torch.Tensor, prefix: int, h: int, w: int, distance: str) -> dict[str, object]:
    """One picture, one head, with loops over every pair of patches."""
    P = h * w
    K = max(literal_hop(distance, q // w - n // w, q % w - n % w) for q in range(P) for n in range(P)) + 1
    mass, strength, rings = [0.0] * K, [0.0] * K, [0] * K
    offsets = [[0.0] * (2 * w - 1) for _ in range(2 * h - 1)]
    entropy = 0.0
    for q in range(P):
        per_ring, count = [0.0] * K, [0] * K
        for n in range(P):
            dy, dx = n // w - q // w, n % w - q % w
            a = float(A[prefix + q, prefix + n])
            k = literal_hop(distance, dy, dx)
            per_ring[k] += a
            count[k] += 1
            offsets[dy + h - 1][dx + w - 1] += a / P
        for k in range(K):
            mass[k] += per_ring[k] / P
            if count[k]:
                strength[k] += per_ring[k] / count[k]
                rings[k] += 1
        entropy -= sum(float(a) * math.log2(float(a)) for a in A[prefix + q] if a > 0) / P
    return {
        "mass": mass,
        "strength": [s / r if r else math.nan for s, r in zip(strength, rings, strict=False)],
        "offsets": offsets,
        "entropy": entropy,
        "expected": sum(k * m for k, m in enumerate(mass)),
        "to_prefix": [float(A[prefix:, p].mean()) for p in range(prefix)],
        "from_prefix": [float(A[p, prefix:].sum()) for p in range(prefix)],
    }


@pytest.mark.parametrize("distance", DISTANCES)
@pytest.mark.parametrize(("grid", "prefix"), [((3, 5), 1), ((4, 2), 3), ((3, 3), 0)])
def test_profiles_equal_the_literal_loops(grid: tuple[int, int], prefix: int, distance: str) -> None:
    A = random_attention(2, 2, grid[0] * grid[1] + prefix)
    found = profile_attention(A, prefix, grid_geometry(grid, distance))
    for b in range(2):
        for head in range(2):
            twin = literal_profiles(A[b, head], prefix, *grid, distance)
            for name, value in (
                ("mass", found.mass),
                ("strength", found.strength),
                ("offsets", found.offsets),
                ("entropy", found.entropy),
                ("expected", found.expected_distance),
                ("to_prefix", found.to_prefix),
                ("from_prefix", found.from_prefix),
            ):
                expected = torch.tensor(twin[name], dtype=torch.float64)
                torch.testing.assert_close(value[b, head], expected, rtol=1e-5, atol=1e-7, equal_nan=True)


@settings(max_examples=25, deadline=None)
@given(
    st.integers(1, 5), st.integers(1, 6), st.integers(0, 3), st.sampled_from(DISTANCES), st.integers(0, 99)
)
def test_mass_is_kept_and_chunks_change_nothing(
    h: int, w: int, prefix: int, distance: str, seed: int
) -> None:
    geometry = grid_geometry((h, w), distance)
    A = random_attention(2, 3, h * w + prefix, seed)
    whole = profile_attention(A, prefix, geometry)
    ones = torch.ones(2, 3, dtype=torch.float64)
    torch.testing.assert_close(whole.mass.sum(-1) + whole.to_prefix.sum(-1), ones, rtol=0, atol=1e-5)
    torch.testing.assert_close(whole.offsets.sum((-2, -1)), whole.mass.sum(-1), rtol=0, atol=1e-6)
    sums = start_sums(2, 3, prefix, geometry, A.device)
    for start in range(0, A.shape[2], 4):
        add_rows(sums, A[:, :, start : start + 4], start, prefix, geometry)
    chunked = finish(sums, geometry)
    for name in vars(whole):
        torch.testing.assert_close(
            getattr(chunked, name), getattr(whole, name), rtol=1e-5, atol=1e-6, equal_nan=True
        )


def test_the_uniform_baseline_is_flat_in_strength() -> None:
    found = uniform_profiles(1, grid_geometry((4, 6)))
    torch.testing.assert_close(found.strength, torch.full_like(found.strength, 1 / 25), rtol=1e-5, atol=0)
    assert float(found.entropy) == pytest.approx(math.log2(25), abs=1e-5)
    along = [size - torch.arange(1 - size, size).abs() for size in (4, 6)]
    counts = (along[0][:, None] * along[1]).double()  # pairs of patches with each offset
    torch.testing.assert_close(found.offsets[0, 0], counts / 24 / 25, rtol=1e-5, atol=1e-9)


def test_a_head_that_looks_one_to_the_left_has_its_mass_there() -> None:
    h, w = 4, 5
    A = torch.zeros(1, 1, 20, 20)
    for q in range(20):
        A[0, 0, q, q - 1 if q % w else q] = 1
    found = profile_attention(A, 0, grid_geometry((h, w)))
    assert float(found.offsets[0, 0, h - 1, w - 2]) == pytest.approx(16 / 20)
    assert float(found.mass[0, 0, 1]) == pytest.approx(16 / 20)
    assert float(found.expected_distance) == pytest.approx(0.8)


def test_distances_and_bad_input() -> None:
    dy, dx = torch.tensor([3]), torch.tensor([-4])
    assert [int(hop_of_offset(dy, dx, name)) for name in DISTANCES] == [4, 7, 5]
    with pytest.raises(HeadsError, match="over 10 keys"):
        profile_attention(torch.ones(1, 1, 9, 9) / 9, 1, grid_geometry((3, 3)))
