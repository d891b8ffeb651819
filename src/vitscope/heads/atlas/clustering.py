"""k-means on codes, the number of clusters by bootstrap stability, and the adjusted Rand index over repetitions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from vitscope.heads.errors import HeadsError
from vitscope.heads.threads import same_threads
from vitscope.progress import CountedStage, Progress

Codes = NDArray[np.float32]
Labels = NDArray[np.int64]


@dataclass(frozen=True)
class Clustering:
    """Centres (k, latent); labels are the index of the nearest centre."""

    centres: Codes

    @property
    def k(self) -> int:
        return len(self.centres)

    def assign(self, codes: Codes) -> Labels:
        """(n, latent) -> (n,) nearest centre, in chunks."""
        parts = [
            _squared_distances(codes[i : i + 8192], self.centres).argmin(1)
            for i in range(0, len(codes), 8192)
        ]
        return np.concatenate(parts).astype(np.int64) if parts else np.zeros(0, np.int64)

    def distances(self, codes: Codes) -> Codes:
        """(n, k) Euclidean distances to the centres."""
        return np.sqrt(_squared_distances(codes, self.centres)).astype(np.float32)


def _squared_distances(codes: Codes, centres: Codes) -> NDArray[np.float64]:
    first, second = codes.astype(np.float64), centres.astype(np.float64)
    cross = first @ second.T
    squares: NDArray[np.float64] = (first**2).sum(1)[:, None] - 2 * cross + (second**2).sum(1)[None]
    return np.maximum(squares, 0)


def fit_clusters(codes: Codes, k: int, seed: int = 0, restarts: int = 4) -> Clustering:
    """k-means; centres are ordered by size, the largest cluster first, so that numbers do not depend on luck."""
    # Imported here: it takes a second, and few who import this module fit anything.
    from sklearn.cluster import KMeans

    if k < 1 or k > len(codes):
        raise HeadsError(
            f"expected between 1 and {len(codes)} clusters for {len(codes)} maps, got {k}; change k"
        )
    with same_threads():
        fitted = KMeans(k, n_init=restarts, random_state=seed).fit(codes)
    sizes = np.bincount(fitted.labels_, minlength=k)
    order = np.lexsort((fitted.cluster_centers_[:, 0], -sizes))
    return Clustering(np.ascontiguousarray(fitted.cluster_centers_[order], dtype=np.float32))


def mean_adjusted_rand_index(labelings: Sequence[Labels]) -> float:
    """Mean adjusted Rand index over all pairs of labelings of the same items; NaN with fewer than two."""
    from sklearn.metrics import adjusted_rand_score

    scores = [adjusted_rand_score(first, second) for first, second in combinations(labelings, 2)]
    return float(np.mean(scores)) if scores else float("nan")


@dataclass(frozen=True)
class ClusterChoice:
    """stability[k]: mean ARI over pairs of bootstrap fits, judged on all items; `chosen` and the rule in words."""

    stability: dict[int, float]
    chosen: int
    rule: str


def bootstrap_stability(
    codes: Codes, k: int, *, groups: NDArray[np.int64] | None = None, rounds: int = 6, seed: int = 0
) -> float:
    """Mean ARI between k-means fits on bootstrap samples, all labelling the same `codes`.

    With `groups` (one picture id per item) whole pictures are drawn: maps of one picture are not independent.
    """
    random = np.random.default_rng(seed)
    ids = np.arange(len(codes)) if groups is None else groups
    unique, inverse = np.unique(ids, return_inverse=True)
    order = np.argsort(inverse, kind="stable")
    bounds = np.searchsorted(inverse[order], np.arange(len(unique) + 1))
    labelings = []
    for _ in range(rounds):
        drawn = random.integers(0, len(unique), len(unique))
        sample = np.concatenate([order[bounds[g] : bounds[g + 1]] for g in drawn])
        if len(np.unique(sample)) < k:
            return float("nan")
        fit_seed = int(random.integers(2**31))
        labelings.append(fit_clusters(codes[sample], k, fit_seed, restarts=2).assign(codes))
    return mean_adjusted_rand_index(labelings)


def choose_clusters(
    codes: Codes,
    candidates: Sequence[int] = tuple(range(3, 13)),
    *,
    groups: NDArray[np.int64] | None = None,
    rounds: int = 6,
    threshold: float = 0.8,
    limit: int = 6000,
    seed: int = 0,
    progress: Progress | None = None,
) -> ClusterChoice:
    """The largest k whose bootstrap stability reaches `threshold` and is within 0.1 of the best; else the most stable.

    The plain maximum would nearly always be the smallest k. At most `limit` items (drawn by seed) are judged.
    """
    if len(codes) > limit:
        keep = np.sort(np.random.default_rng(seed).choice(len(codes), limit, replace=False))
        codes, groups = codes[keep], None if groups is None else groups[keep]
    usable = [k for k in candidates if k < len(codes)]
    if not usable:
        raise HeadsError(
            f"expected more maps than clusters, got {len(codes)} maps; give more pictures or a smaller k"
        )
    stage = CountedStage(progress, "choosing the number of clusters", len(usable), unit="numbers of clusters")
    stability: dict[int, float] = {}
    for k in usable:
        stage.check()
        stability[k] = bootstrap_stability(codes, k, groups=groups, rounds=rounds, seed=seed)
        stage.advance()
    best_value = max((value for value in stability.values() if value == value), default=0.0)
    passed = [k for k, value in stability.items() if value >= max(threshold, best_value - 0.1)]
    if passed:
        return ClusterChoice(
            stability, max(passed), f"largest k with stability of at least {threshold:g}, near the best"
        )
    known = {k: value for k, value in stability.items() if value == value} or {usable[0]: 0.0}
    best = max(known, key=lambda k: known[k])
    return ClusterChoice(stability, best, f"no k reached {threshold:g}; the most stable one was taken")
