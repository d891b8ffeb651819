"""Do the head scores agree? Rank correlations between all of them, with intervals, and the heads they quarrel over.

Sheet "Visual analytics of attention", 4 (no published tool has it): pruning metrics, GMAR weights, DAAM's share per
head, first-order scores, strength and entropy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from vitscope.heads.correlation import STATISTICS, Correlation, interval, rank_heads
from vitscope.heads.problems import HeadsError
from vitscope.heads.table import HeadTable, write_frame
from vitscope.storage import tables
from vitscope.storage.notes import decoding

KIND = "agreement"


@dataclass(frozen=True, repr=False)
class Agreement:
    """names: the scores. matrices[statistic]: (value, low, high), each (M, M). ranks: (M, L, H) in [0, 1].

    resample says what the intervals are over: "pictures" (would the correlation be the same on other pictures?) or
    "heads" (is it carried by a few heads?).
    """

    names: tuple[str, ...]
    matrices: Mapping[str, tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]]
    scores: NDArray[np.float64]
    ranks: NDArray[np.float64]
    resample: str
    pictures: int
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        statistics = ", ".join(self.matrices)
        return f"<Agreement of {len(self.names)} head scores: {statistics}, {self.pictures} pictures>"

    def correlation(self, first: str, second: str, statistic: str = "spearman") -> Correlation:
        """One entry of the matrix with its interval."""
        i, j = self._index(first), self._index(second)
        value, low, high = self.matrices[statistic]
        return Correlation(float(value[i, j]), float(low[i, j]), float(high[i, j]))

    def to_pandas(self) -> pd.DataFrame:
        """One row per pair: first, second, and per statistic its value, _low and _high."""
        rows = []
        for i, j in combinations(range(len(self.names)), 2):
            row: dict[str, Any] = {"first": self.names[i], "second": self.names[j]}
            for statistic, (value, low, high) in self.matrices.items():
                row.update(
                    {statistic: value[i, j], f"{statistic}_low": low[i, j], f"{statistic}_high": high[i, j]}
                )
            rows.append(row)
        return pd.DataFrame(rows)

    def disagreements(self, names: Sequence[str] | None = None) -> pd.DataFrame:
        """Heads sorted by the range of their ranks over the scores: block, head, range, who ranks it highest and
        lowest, then every score's rank (1 = most important)."""
        chosen = [self._index(name) for name in (names or self.names)]
        ranks = self.ranks[chosen]
        rows = []
        for block, head in np.ndindex(*ranks.shape[1:]):
            column = ranks[:, block, head]
            if np.isfinite(column).sum() < 2:
                continue
            row = {
                "block": block,
                "head": head,
                "range": float(np.nanmax(column) - np.nanmin(column)),
                "highest": self.names[chosen[int(np.nanargmax(column))]],
                "lowest": self.names[chosen[int(np.nanargmin(column))]],
            }
            row.update({self.names[m]: float(self.ranks[m, block, head]) for m in chosen})
            rows.append(row)
        return pd.DataFrame(rows).sort_values("range", ascending=False, ignore_index=True)

    def save(self, path: str | Path) -> Path:
        """Write the pairs as .parquet (loads back whole, with the scores of every head) or as .csv."""
        path = Path(path)
        if path.suffix != tables.ENDING:
            return write_frame(self.to_pandas(), path, self.metadata)
        note = {
            "names": self.names,
            "statistics": list(self.matrices),
            "scores": self.scores,
            "ranks": self.ranks,
            "resample": self.resample,
            "pictures": self.pictures,
            "metadata": self.metadata,
        }
        return tables.save(path, self.to_pandas(), KIND, note)

    @classmethod
    def load(cls, path: str | Path) -> Agreement:
        """Read what `save` wrote as .parquet. Raises StorageError for a damaged file, or one of another kind."""
        frame, note = tables.load(path, KIND, ("first", "second"))
        with decoding(path, KIND):
            names = tuple(str(name) for name in note["names"])
            place = {name: index for index, name in enumerate(names)}
            first, second = ([place[name] for name in frame[side]] for side in ("first", "second"))
            if len({*zip(first, second, strict=True)}) != len(names) * (len(names) - 1) // 2:
                raise ValueError("it has not every pair of scores once")
            matrices = {}
            for statistic in note["statistics"]:
                filled = []
                for column in (statistic, f"{statistic}_low", f"{statistic}_high"):
                    matrix = np.eye(len(names))
                    matrix[first, second] = matrix[second, first] = frame[column].to_numpy(np.float64)
                    filled.append(matrix)
                matrices[str(statistic)] = (filled[0], filled[1], filled[2])
            scores, ranks = (np.asarray(note[name], dtype=np.float64) for name in ("scores", "ranks"))
            if scores.ndim != 3 or scores.shape != ranks.shape or len(scores) != len(names):
                raise ValueError("it has not one score per head")
            return cls(
                names, matrices, scores, ranks, str(note["resample"]), int(note["pictures"]), dict(note["metadata"])
            )

    def _index(self, name: str) -> int:
        if name not in self.names:
            raise HeadsError(
                f"expected one of {', '.join(self.names)}, got {name!r}; name a score of this agreement"
            )
        return self.names.index(name)


def agree(
    table: HeadTable,
    scores: Sequence[str] | None = None,
    *,
    resample: str = "pictures",
    rounds: int = 300,
    seed: int = 0,
) -> Agreement:
    """Agreement between columns of a HeadTable. Distances from zero count for signed scores as they are: a head that
    hurts ranks lowest.

    rounds: bootstrap repetitions; 95 % percentile intervals. Raises HeadsError with fewer than two scores.
    """
    names = tuple(scores or table.metrics)
    if len(names) < 2:
        raise HeadsError(f"expected at least two scores to compare, got {len(names)}; name two or more")
    if resample not in ("pictures", "heads"):
        raise HeadsError(f"expected resample to be pictures or heads, got {resample!r}; choose one of them")
    values = np.stack([table[name] for name in names]).astype(np.float64)  # (M, n, L, H)
    flat = values.reshape(len(names), values.shape[1], -1)
    means = _means(flat, None)
    random = np.random.default_rng(seed)
    draws = []
    for _ in range(rounds):
        if resample == "pictures":
            weights = np.bincount(random.integers(0, flat.shape[1], flat.shape[1]), minlength=flat.shape[1])
            draws.append(_means(flat, weights))
        else:
            draws.append(means[:, random.integers(0, means.shape[1], means.shape[1])])
    matrices = {statistic: _matrix(means, draws, statistic) for statistic in STATISTICS}
    ranks = np.stack([rank_heads(row) for row in means])
    return Agreement(
        names,
        matrices,
        means.reshape(len(names), *table.shape),
        ranks.reshape(len(names), *table.shape),
        resample,
        len(table.pictures),
        dict(table.metadata),
    )


def _means(flat: NDArray[np.float64], weights: NDArray[np.int64] | None) -> NDArray[np.float64]:
    """(M, n, heads) -> (M, heads): mean over pictures (weighted by how often each was drawn), NaN left out."""
    finite = np.isfinite(flat)
    w = np.ones(flat.shape[1]) if weights is None else weights.astype(np.float64)
    total = np.einsum("mnh,n->mh", np.where(finite, flat, 0.0), w)
    count = np.einsum("mnh,n->mh", finite.astype(np.float64), w)
    with np.errstate(invalid="ignore", divide="ignore"):
        result: NDArray[np.float64] = np.where(count > 0, total / count, np.nan)
    return result


def _matrix(
    means: NDArray[np.float64], draws: list[NDArray[np.float64]], statistic: str
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    count = len(means)
    value, low, high = np.eye(count), np.eye(count), np.eye(count)
    measure = STATISTICS[statistic]
    for i, j in combinations(range(count), 2):
        value[i, j] = value[j, i] = measure(means[i], means[j])
        samples = np.array([measure(draw[i], draw[j]) for draw in draws])
        low[i, j], high[i, j] = interval(samples)
        low[j, i], high[j, i] = low[i, j], high[i, j]
    return value, low, high
