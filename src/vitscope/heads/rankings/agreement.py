"""Do the head scores agree? Rank correlations between all of them, with intervals, and the heads they rank differently.

Compared are pruning metrics, GMAR weights, DAAM's share per head, first-order scores, attention distance and entropy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from vitscope.errors import OutputError, StorageError
from vitscope.heads.errors import HeadsError
from vitscope.heads.frames import write_frame
from vitscope.heads.origin import HasOrigin, Origin
from vitscope.heads.rankings import kept_scores
from vitscope.heads.rankings.bootstrap import Resample, correlations, means_and_draws
from vitscope.heads.rankings.correlation import MATRICES, Correlation, rank_heads, rank_ranges
from vitscope.heads.summed_table import SummedHeadTable
from vitscope.heads.table import HeadTable
from vitscope.heads.table_parts import merge_tables
from vitscope.options.bounds import Count, FilePath, Names, Seed
from vitscope.options.door import check, checked
from vitscope.progress import CountedStage, Progress
from vitscope.shown import drawn_by
from vitscope.storage import tables, tensors
from vitscope.storage.notes import decoding

KIND = "agreement"
SIDES = ("value", "low", "high")


@dataclass(frozen=True, repr=False)
class Agreement(HasOrigin):
    """Rank correlations between scores of heads, with intervals.

    Args:
        names: The M scores.
        matrices: By the name of each statistic ("spearman", "kendall"), (value, low, high), each (M, M).
        scores: (M, L, H) mean over pictures.
        ranks: (M, L, H) ranks in [0, 1], 1 is the most important head.
        resample: What the 95 % intervals are over: "pictures" or "heads", see :func:`agree`.
        pictures: How many pictures.
        metadata: Model and options, as plain JSON values.
        table: The scores per picture, or sums of them, which :meth:`merge` needs; None where they were not kept.
        rounds: Bootstrap repetitions.
        seed: Seed of the bootstrap.

    Example:
        >>> import numpy as np
        >>> import vitscope as vs
        >>> first, second = np.float32([[[1, 2], [4, 3]]]), np.float32([[[10, 20], [40, 30]]])
        >>> found = vs.heads.agree(vs.heads.HeadTable({"a": first, "b": second}, ("cat.png",)), rounds=5)
        >>> found
        <Agreement of 2 head scores: spearman, kendall, 1 pictures>
        >>> round(float(found.correlation("a", "b").value), 3)
        1.0
    """

    names: tuple[str, ...]
    matrices: Mapping[str, tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]]
    scores: NDArray[np.float64]
    ranks: NDArray[np.float64]
    resample: Resample
    pictures: int
    metadata: Mapping[str, Any] = field(default_factory=dict)
    table: HeadTable | SummedHeadTable | None = None
    rounds: int = 300
    seed: int = 0

    @property
    def origin(self) -> Origin:  # type: ignore[override]
        """The recipe, content ids and skipped pictures of the scores."""
        return Origin() if self.table is None else self.table.origin

    @checked(HeadsError)
    def merge(self, *others: Agreement) -> Agreement:
        """Join the agreements of shards of a data set; correlations and intervals are computed again.

        Args:
            others: The agreement on other pictures.

        Returns:
            The agreement on all pictures.

        Raises:
            RecipeError: The scores were made in different ways; the message says what differs.
            HeadsError: A picture is in two of them, scores or bootstrap differ, or scores per picture were not kept.
        """
        tables = [part.table for part in (self, *others) if part.table is not None]
        if len(tables) <= len(others):
            raise HeadsError(
                "expected agreements that keep every picture's scores, got one without; make it with vs.heads.agree"
            )
        mine, *theirs = ((a.names, a.resample, a.rounds, a.seed) for a in (self, *others))
        for other in theirs:
            if mine != other:
                raise HeadsError(
                    f"expected agreements of the same scores and bootstrap, got {mine} and {other}; make both alike"
                )
        table = merge_tables(tables, seed=self.seed)
        return agree(table, self.names, resample=self.resample, rounds=self.rounds, seed=self.seed)

    def __repr__(self) -> str:
        statistics = ", ".join(self.matrices)
        return f"<Agreement of {len(self.names)} head scores: {statistics}, {self.pictures} pictures>"

    def _repr_html_(self) -> str:
        return str(drawn_by("heads.notebook", "agreement_html")(self))

    def correlation(self, first: str, second: str, statistic: str = "spearman") -> Correlation:
        """One rank correlation with its 95 % interval.

        Args:
            first: A score of this agreement.
            second: Another one.
            statistic: "spearman" or "kendall".

        Returns:
            Value, low and high, in [−1, 1].

        Raises:
            HeadsError: There is no such score.
        """
        i, j = self._index(first), self._index(second)
        value, low, high = self.matrices[statistic]
        return Correlation(float(value[i, j]), float(low[i, j]), float(high[i, j]))

    def to_pandas(self) -> pd.DataFrame:
        """All correlations as a table, one row per pair of scores.

        Returns:
            Columns: first, second, and for each statistic its value, NAME_low and NAME_high.
        """
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
        """The heads that the scores rank most differently, first the one with the largest range of ranks.

        Args:
            names: Which scores; None takes all.

        Returns:
            Columns: block, head, range, highest and lowest (the scores that rank it so), then the rank by every score
            (1 is the most important head).

        Raises:
            HeadsError: There is no such score.
        """
        chosen = [self._index(name) for name in (names or self.names)]
        return rank_ranges(self.ranks[chosen], [self.names[place] for place in chosen])

    @checked(OutputError)
    def save(self, path: FilePath) -> Path:
        """Write everything to one safetensors file (ending added when missing), or the pairs alone as .csv or .parquet
        for other programs; returns its path."""
        if Path(path).suffix in (".csv", tables.ENDING):
            return write_frame(self.to_pandas(), path, self.metadata)
        arrays: dict[str, NDArray[Any]] = {"scores": self.scores, "ranks": self.ranks}
        for statistic, matrices in self.matrices.items():
            arrays |= {f"{statistic}.{side}": matrix for side, matrix in zip(SIDES, matrices, strict=True)}
        note: dict[str, Any] = {
            "names": self.names,
            "statistics": list(self.matrices),
            "resample": self.resample,
            "pictures": self.pictures,
            "metadata": self.metadata,
            "rounds": self.rounds,
            "seed": self.seed,
        }
        if self.table is not None:
            kept, about = kept_scores.encode(self.table)
            arrays, note = arrays | kept, note | about
        return tensors.save(path, KIND, arrays, note)

    @classmethod
    @checked(StorageError)
    def load(cls, path: FilePath) -> Agreement:
        """Read what :meth:`save` wrote as .safetensors.

        Raises StorageError for a damaged file, or one of another kind.
        """
        kept, note = tensors.load(path, KIND)
        with decoding(path, KIND):
            arrays = {name: value.numpy() for name, value in kept.items()}
            names = tuple(str(name) for name in note["names"])
            matrices = {
                str(statistic): (
                    arrays[f"{statistic}.value"],
                    arrays[f"{statistic}.low"],
                    arrays[f"{statistic}.high"],
                )
                for statistic in note["statistics"]
            }
            scores, ranks = arrays["scores"], arrays["ranks"]
            square = (len(names), len(names))
            if any(matrix.shape != square for sides in matrices.values() for matrix in sides):
                raise ValueError("it has not every pair of scores once")
            if scores.ndim != 3 or scores.shape != ranks.shape or len(scores) != len(names):
                raise ValueError("it has not one score per head")
            return cls(
                names,
                matrices,
                scores,
                ranks,
                check(note["resample"], Resample, "resample", "an agreement", HeadsError),
                int(note["pictures"]),
                dict(note["metadata"]),
                kept_scores.decode(note, kept, names),
                int(note["rounds"]),
                int(note["seed"]),
            )

    def _index(self, name: str) -> int:
        if name not in self.names:
            raise HeadsError(
                f"expected one of {', '.join(self.names)}, got {name!r}; name a score of this agreement"
            )
        return self.names.index(name)


@checked(HeadsError)
def agree(
    table: HeadTable | SummedHeadTable,
    scores: Names | None = None,
    *,
    resample: Resample = "pictures",
    rounds: Count = 300,
    seed: Seed = 0,
    progress: Progress | None = None,
) -> Agreement:
    """Rank correlations between columns of a HeadTable.

    Signed scores count as they are: a head that hurts ranks lowest.

    Args:
        table: Scores per picture, whose order does not matter; or sums of them, whose bootstrap has its own seed.
        scores: Which columns, two or more; None takes all.
        resample: What the 95 % percentile intervals are over: "pictures" (would the correlation be the same on other
            pictures?) or "heads" (is it carried by a few heads?).
        rounds: Bootstrap repetitions; on sums at most 1,000 over pictures.
        seed: Seed of the bootstrap.
        progress: Reports progress, and is asked whether to stop; see :mod:`vitscope.progress`.

    Returns:
        Spearman's and Kendall's correlation of every pair, with intervals.

    Raises:
        HeadsError: Fewer than two scores, an unknown one, or numbers out of bounds.

    Example:
        >>> import vitscope as vs
        >>> vit = vs.open_model("bundled/shapes")
        >>> scores = vs.heads.head_scores(vit, vs.worlds.world("shapes").sample(2, seed=1).images())
        >>> vs.heads.agree(scores, ["first_order", "gmar_norm", "entropy"], rounds=5)
        <Agreement of 3 head scores: spearman, kendall, 2 pictures>
    """
    names = tuple(scores or table.metrics)
    if len(names) < 2:
        raise HeadsError(f"expected at least two scores to compare, got {len(names)}; name two or more")
    how = {"scores": list(names), "resample": resample, "rounds": rounds, "seed": seed}
    made = table.recipe
    recipe = replace(made, analysis="agreement", options={**made.options, **how})
    chosen = table.select(names)
    chosen = replace(chosen, origin=replace(chosen.origin, recipe=recipe))
    stage = CountedStage(progress, "rank correlations", rounds + (rounds + 1) * len(MATRICES), unit="steps")
    means, draws = means_and_draws(chosen, resample, rounds, seed, stage)
    matrices = {statistic: correlations(means, draws, statistic, stage) for statistic in MATRICES}
    ranks = np.stack([rank_heads(row) for row in means])
    return Agreement(
        names,
        matrices,
        means.reshape(len(names), *chosen.shape),
        ranks.reshape(len(names), *chosen.shape),
        resample,
        chosen.count,
        dict(chosen.metadata),
        chosen,
        rounds,
        seed,
    )
