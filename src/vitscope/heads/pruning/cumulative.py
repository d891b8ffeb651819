"""Cumulative pruning: heads removed one after the other, in several orders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import scipy
import torch

from vitscope.errors import OutputError, StorageError
from vitscope.heads.errors import HeadsError
from vitscope.heads.frames import merged_metadata, write_frame
from vitscope.heads.origin import HasOrigin, Origin, check_disjoint, check_labels_of, heads_recipe
from vitscope.heads.per_picture import go_through
from vitscope.heads.pruning.change_metrics import class_count
from vitscope.heads.pruning.cumulative_parts import ANSWERS, CumulativeSums, Head, with_means
from vitscope.heads.pruning.means import Replacement, check_replacement, replacement_means
from vitscope.heads.spatial_sites import head_grid
from vitscope.heads.table import HeadTable
from vitscope.options.bounds import BatchSize, Count, FilePath, Folder, Items, Names, Range, Seed
from vitscope.options.door import checked
from vitscope.pictures import Images, Labels, picture_source
from vitscope.progress import CountedStage, Progress
from vitscope.shown import drawn_by
from vitscope.storage import tables
from vitscope.storage.notes import decoding
from vitscope.sums.moments import ExactSum
from vitscope.tracing import Vit
from vitscope.tracing.calls.callers_switches import unaffected
from vitscope.tracing.recipe import model_identity

KIND = "cumulative pruning"
COLUMNS = ("order", "repeat", "removed", "kept_share", *ANSWERS)


@dataclass(frozen=True, repr=False)
class CumulativePruning(HasOrigin):
    """What remains of the model's answers while more and more heads are removed.

    Args:
        curves: One row per order, repetition and number of removed heads. Columns: order, repeat, removed, kept_share,
            probability (mean probability of the reference class), accuracy (NaN without labels), same_prediction
            (share of predictions equal to the full model's) and js_divergence (bits); all are means over pictures.
            The reference class is the label where there are labels, else the full model's prediction.
        orders: By name, the (block, head) pairs in the order of removal.
        metadata: Model and options, as plain JSON values.
        pictures: The key of each picture.
        sums: Sums over pictures of the last four columns, (rows, 4), which :meth:`merge` adds up.
        origin: The recipe, content ids and skipped pictures.

    Example:
        >>> import vitscope as vs
        >>> vit = vs.open_model("bundled/shapes")
        >>> pictures = vs.worlds.world("shapes").sample(2, seed=1).images()
        >>> heads = [(block, head) for block in range(6) for head in range(4)]
        >>> pruning = vs.heads.cumulative_pruning(vit, pictures, {"from below": heads}, random_orders=1, steps=2)
        >>> pruning.curves["removed"].tolist()
        [0, 12, 24, 0, 12, 24]
        >>> vs.heads.CumulativePruning.load(pruning.save("pruning.parquet")).pictures == pruning.pictures
        True
    """

    curves: pd.DataFrame
    orders: Mapping[str, list[Head]]
    metadata: Mapping[str, Any] = field(default_factory=dict)
    pictures: tuple[str, ...] = ()
    sums: ExactSum = field(default_factory=ExactSum)
    origin: Origin = field(default_factory=Origin)

    def _repr_html_(self) -> str:
        return str(drawn_by("heads.notebook", "cumulative_html")(self))

    @checked(HeadsError)
    def merge(self, *others: CumulativePruning) -> CumulativePruning:
        """Join the curves of shards of a data set.

        Args:
            others: Cumulative pruning on other pictures.

        Returns:
            The curves over all pictures.

        Raises:
            RecipeError: They were made in different ways (other orders, replacement, model); the message says what
                differs.
            HeadsError: A picture is in two of them, or one has no pictures.
        """
        parts = (self, *others)
        origin = self.origin.merge(*(other.origin for other in others), what="cumulative prunings")
        check_disjoint((part.pictures for part in parts), "cumulative prunings")
        place = ["order", "repeat", "removed"]
        if any(not part.pictures or not part.curves[place].equals(self.curves[place]) for part in parts):
            raise HeadsError(
                "expected cumulative prunings of pictures, in the same orders and steps, got others; make both alike"
            )
        sums = ExactSum()
        for part in parts:
            sums.merge(part.sums)
        pictures = tuple(key for part in parts for key in part.pictures)
        curves = with_means(self.curves, sums, len(pictures))
        metadata = merged_metadata(*(part.metadata for part in parts))
        return CumulativePruning(curves, self.orders, metadata, pictures, sums, origin)

    def __repr__(self) -> str:
        orders = ", ".join(dict.fromkeys(self.curves["order"]))
        return (
            f"<CumulativePruning: orders {orders}, {len(self.curves)} steps, {len(self.pictures)} pictures>"
        )

    def to_pandas(self) -> pd.DataFrame:
        """The curves: one row per order, repetition and number of removed heads."""
        return self.curves.copy()

    def area(self, column: str = "probability") -> pd.DataFrame:
        """The mean of a column over the whole curve, for each order.

        A large area of the probability means that the order removes the important heads last.

        Args:
            column: A column of ``curves``.

        Returns:
            Columns: order, area (in the column's unit), area_std (over repetitions; NaN for one), sorted by area.
        """

        def integrate(frame: pd.DataFrame) -> float:
            x, y = (frame[each].to_numpy(np.float64) for each in ("removed", column))
            return float(scipy.integrate.trapezoid(y, x) / (x[-1] - x[0]))

        rows = []
        for order, frame in self.curves.groupby("order", sort=False):
            areas = [integrate(part) for _, part in frame.groupby("repeat")]
            rows.append(
                {
                    "order": order,
                    "area": float(np.mean(areas)),
                    "area_std": float(np.std(areas, ddof=1)) if len(areas) > 1 else np.nan,
                }
            )
        return pd.DataFrame(rows).sort_values("area", ascending=False, ignore_index=True)

    @checked(OutputError)
    def save(self, path: FilePath) -> Path:
        """Write the curves as .parquet (can be loaded, with the orders) or as .csv.

        Args:
            path: The file.

        Returns:
            The path of the file.

        Raises:
            OutputError: It cannot be written.
        """
        path = Path(path)
        if path.suffix != tables.ENDING:
            return write_frame(self.curves, path, self.metadata)
        note = {
            "orders": self.orders,
            "metadata": self.metadata,
            "pictures": self.pictures,
            "sums": [self.sums.high.tolist(), self.sums.low.tolist()],
            **self.origin.note(),
        }
        return tables.save(path, self.curves, KIND, note)

    @classmethod
    @checked(StorageError)
    def load(cls, path: FilePath) -> CumulativePruning:
        """Read a .parquet file that :meth:`save` wrote.

        Args:
            path: The file.

        Returns:
            The curves.

        Raises:
            StorageError: The file is damaged, or of another kind.
        """
        curves, note = tables.load(path, KIND, COLUMNS)
        with decoding(path, KIND):
            orders = {
                str(name): [(int(block), int(head)) for block, head in order]
                for name, order in note["orders"].items()
            }
            high, low = (torch.tensor(values, dtype=torch.float64) for values in note["sums"])
            pictures = tuple(str(key) for key in note["pictures"])
            if pictures and high.shape != (len(curves), len(ANSWERS)):
                raise ValueError("it has not one sum per row")
            sums, origin = ExactSum(high, low), Origin.from_note(note)
            return cls(curves, orders, dict(note["metadata"]), pictures, sums, origin)


@checked(HeadsError)
@unaffected
def cumulative_pruning(
    vit: Vit,
    images: Images,
    orders: Annotated[Mapping[str, Sequence[Head]], Items(1)] | HeadTable,
    labels: Labels | None = None,
    *,
    metrics: Names | None = None,
    random_orders: Annotated[int, Range(0, 10_000)] = 3,
    steps: Count | None = None,
    replacement: Replacement = "zero",
    batch_size: BatchSize = 32,
    seed: Seed = 0,
    checkpoint: Folder | None = None,
    progress: Progress | None = None,
) -> CumulativePruning:
    """Remove more and more heads, in several orders, and record the model's answers.

    Args:
        vit: The opened model; it needs class scores.
        images: Pictures in any form that :func:`vitscope.pictures.picture_source` takes.
        orders: By name, lists of (block, head) pairs, first removed first; or a HeadTable, in which every metric
            (or the named ones) gives the order "least important first".
        labels: (n,) one class index per picture; None takes the full model's predictions.
        metrics: Which columns of a HeadTable give orders; None takes all.
        random_orders: How many random orders are added as a control.
        steps: How many points a curve has besides the full model; None removes one head per step.
        replacement: What stands in for a head, as for :func:`importance`.
        batch_size: Pictures in a batch; it changes time and memory, not the result.
        seed: Seed of the random orders.
        checkpoint: A folder that keeps every finished part; a stopped run continues from it.
        progress: Reports progress, and is asked whether to stop; see :mod:`vitscope.progress`.

    Returns:
        The curves, with means over pictures.

    Raises:
        HeadsError: An order that does not have every head once, or numbers out of bounds.
        PictureError: A picture that cannot be read.

    Example:
        >>> import vitscope as vs
        >>> vit = vs.open_model("bundled/shapes")
        >>> pictures = vs.worlds.world("shapes").sample(2, seed=1).images()
        >>> scores = vs.heads.importance(vit, pictures, exact=False)
        >>> pruning = vs.heads.cumulative_pruning(vit, pictures, scores, metrics=["first_order"], steps=2)
        >>> sorted(pruning.area()["order"])
        ['first_order', 'random']

    Source: extends head importance of Li et al., TVCG 2023, arXiv 2303.13731, to several heads.
    """
    check_replacement(vit, replacement)
    L, H = head_grid(vit.anatomy)
    everything = [(b, h) for b in range(L) for h in range(vit.anatomy.blocks[b].heads)]
    if isinstance(orders, HeadTable):
        orders = {m: orders.order(m, most_important_first=False) for m in (metrics or orders.metrics)}
    named = {name: list(order) for name, order in orders.items()}
    for name, order in named.items():
        if sorted(order) != everything:
            raise HeadsError(
                f"expected every head once in the order {name!r}, got {len(order)} of {len(everything)} heads; "
                "an order from a screened table lacks the heads that were not confirmed"
            )
    random = np.random.default_rng(seed)
    runs = [(name, 0, order) for name, order in named.items()]
    runs += [
        ("random", r, [everything[i] for i in random.permutation(len(everything))])
        for r in range(random_orders)
    ]
    pace = min(steps or len(everything), len(everything))
    counts = np.unique(np.linspace(0, len(everything), pace + 1).round().astype(int)).tolist()
    source = picture_source(images, labels=labels)
    check_labels_of(source, class_count(vit.anatomy))
    labelled = source.labels is not None
    model = model_identity(vit)
    means = replacement_means(vit, source, replacement, batch_size, progress, checkpoint, model)
    options = {"orders": [order for *_, order in runs], "counts": counts, "means": means}
    made = heads_recipe(vit, source, "cumulative pruning", options, labelled=labelled, model=model)
    stage = CountedStage(
        progress,
        "cumulative pruning",
        len(source),
        len(runs) * len(counts),
        unit="answers",
        checkpoint=checkpoint,
    )
    heads = [order for *_, order in runs]
    analysis = CumulativeSums(made, heads, counts, means, labelled, batch_size, L, H, stage)
    found = go_through(analysis, vit, source, batch_size, stage, checkpoint)
    sums = ExactSum(found.total.high.flatten(0, 1), found.total.low.flatten(0, 1))
    place = pd.DataFrame(
        [
            {"order": name, "repeat": repeat, "removed": count, "kept_share": 1 - count / len(everything)}
            for name, repeat, _ in runs
            for count in counts
        ]
    )
    return CumulativePruning(
        with_means(place, sums, len(found.keys)),
        named,
        {
            "analysis": "cumulative pruning",
            "model": vit.source,
            "fingerprint": model["fingerprint"],
            "pictures": len(found.keys),
            "replacement": replacement if isinstance(replacement, str) else "given",
            "labels": labelled,
        },
        tuple(found.keys),
        sums,
        Origin(made, tuple(found.ids), dict(source.skipped)),
    )
