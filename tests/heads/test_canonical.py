"""Canonical maps against loops, and the facts that make them comparable."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vitscope.heads import HeadsError
from vitscope.heads.atlas.canonical import from_hellinger, hellinger, offset_map, overlap, pooled_map
from vitscope.heads.atlas.features import FEATURES, map_features, uniform_features


def random_rows(h: int, w: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (2 * torch.randn(2, h * w, h * w, generator=generator)).softmax(-1) * 0.8


def literal_share(source: int, target: int, s: int, t: int) -> float:
    """Part of source interval s / source that lies in target interval t / target."""
    low, high = max(s / source, t / target), min((s + 1) / source, (t + 1) / target)
    return max(0.0, high - low) * source


def literal_pooled(A: torch.Tensor, h: int, w: int, g: int) -> torch.Tensor:
    A = A / A.sum(-1, keepdim=True)
    out, weight = torch.zeros(g * g, g * g), torch.zeros(g * g)
    cells = [
        (y * w + x, ty * g + tx, literal_share(h, g, y, ty) * literal_share(w, g, x, tx))
        for y in range(h)
        for x in range(w)
        for ty in range(g)
        for tx in range(g)
    ]
    cells = [cell for cell in cells if cell[2] > 0]
    for q, tq, share in cells:
        weight[tq] += share
        for n, tn, part in cells:
            out[tq, tn] += share * part * A[q, n]
    return out / weight[:, None]


@pytest.mark.parametrize(("h", "w", "g"), [(4, 4, 2), (5, 3, 2), (3, 4, 3), (2, 2, 3)])
def test_pooled_map_equals_the_loops(h: int, w: int, g: int) -> None:
    A = random_rows(h, w)
    torch.testing.assert_close(
        pooled_map(A, (h, w), g)[0], literal_pooled(A[0], h, w, g), rtol=1e-4, atol=1e-6
    )


def test_a_14_grid_pools_in_blocks_of_two_and_its_offsets_are_exact() -> None:
    A = random_rows(14, 14)
    rows = (A / A.sum(-1, keepdim=True)).reshape(2, 7, 2, 7, 2, 7, 2, 7, 2)
    blocks = rows.mean((2, 4)).sum((4, 6)).reshape(2, 49, 49)
    torch.testing.assert_close(pooled_map(A, (14, 14)), blocks, rtol=1e-4, atol=1e-6)
    twin = torch.zeros(27, 27)
    P = A[0] / A[0].sum(-1, keepdim=True)
    for q in range(196):
        for n in range(196):
            twin[n // 14 - q // 14 + 13, n % 14 - q % 14 + 13] += P[q, n] / 196
    torch.testing.assert_close(offset_map(A[:1], (14, 14))[0], twin, rtol=1e-3, atol=1e-6)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 99))
def test_mass_is_kept_on_every_grid(h: int, w: int, seed: int) -> None:
    A = random_rows(h, w, seed)
    torch.testing.assert_close(pooled_map(A, (h, w)).sum(-1), torch.ones(2, 49), rtol=0, atol=1e-4)
    torch.testing.assert_close(offset_map(A, (h, w)).sum((-2, -1)), torch.ones(2), rtol=0, atol=1e-4)
    torch.testing.assert_close(overlap(h, w).sum(0), torch.ones(h, dtype=torch.float64))


def test_the_root_gives_hellinger_distances_and_comes_back() -> None:
    p, q = random_rows(3, 3)[0] / 0.8, random_rows(3, 3)[1] / 0.8
    twin = sum((math.sqrt(a) - math.sqrt(b)) ** 2 for a, b in zip(p[0].tolist(), q[0].tolist(), strict=True))
    assert float((hellinger(p[0]) - hellinger(q[0])).square().sum()) == pytest.approx(twin, rel=1e-4)
    torch.testing.assert_close(from_hellinger(hellinger(p)), p, rtol=1e-4, atol=1e-6)
    assert torch.isfinite(pooled_map(torch.zeros(9, 9), (3, 3))).all()


def test_features_of_hand_made_maps() -> None:
    h = w = 6
    P = h * w
    eye = dict(zip(FEATURES, map_features(torch.eye(P), (h, w)).tolist(), strict=True))
    assert eye["self"] == pytest.approx(1) and eye["row_entropy"] == pytest.approx(0, abs=1e-6)
    left = torch.zeros(P, P)
    for q in range(P):
        left[q, q - 1 if q % w else q] = 1
    found = dict(zip(FEATURES, map_features(left, (h, w)).tolist(), strict=True))
    assert (
        found["left"] == pytest.approx(5 / 6) and found["right"] == 0 and found["row"] == pytest.approx(5 / 6)
    )
    sink = torch.zeros(P, P)
    sink[:, 7] = 1
    found = dict(zip(FEATURES, map_features(sink, (h, w)).tolist(), strict=True))
    assert found["stripe"] == pytest.approx(1) and found["key_entropy"] == pytest.approx(0, abs=1e-6)
    flat = dict(zip(FEATURES, uniform_features((h, w)).tolist(), strict=True))
    assert flat["row_entropy"] == pytest.approx(1, abs=1e-5) and flat["self"] == pytest.approx(1 / P)


def test_a_map_of_another_grid_is_refused() -> None:
    with pytest.raises(HeadsError, match="drop the prefix"):
        pooled_map(torch.ones(10, 10) / 10, (3, 3))
