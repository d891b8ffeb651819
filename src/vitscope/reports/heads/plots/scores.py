"""Plots of what head scores say: importance, curves of removal, and how far scores agree."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from vitscope.heads.atlas.atlas import PatternAtlas
from vitscope.heads.pruning.cumulative import CumulativePruning
from vitscope.heads.pruning.entries import HOP_PARTS
from vitscope.heads.pruning.partial_curves import PartialPruning
from vitscope.heads.rankings.agreement import Agreement
from vitscope.heads.rankings.correlation import rank_heads
from vitscope.heads.table import HeadTable
from vitscope.rendering.plots.charts import correlation_matrix, curves, head_matrix, scatter
from vitscope.reports import words
from vitscope.reports.heads.plots.labels import Drawn, few_groups


def importance_matrix(table: HeadTable, metric: str, second: str | None = None) -> Drawn:
    """Blocks x heads, one metric as colour, a second one as the square in each cell; numbered from 0."""
    L, H = table.shape

    return lambda theme: head_matrix(
        table.mean(metric),
        label=words.metric_title(metric),
        signed=words.is_signed_metric(metric),
        block_labels=words.numbers(L),
        head_labels=words.numbers(H),
        theme=theme,
        second=None if second is None else np.abs(table.mean(second)),
        second_label="" if second is None else f"|{words.metric_title(second)}|",
    )


def metric_scatter(table: HeadTable, first: str, second: str, named: int = 6) -> Drawn:
    """Head against head: two metrics; the most important heads of either carry their names."""
    x, y = table.mean(first).ravel(), table.mean(second).ravel()
    H = table.shape[1]
    chosen = {
        int(i) for scores in (x, y) for i in np.argsort(-np.nan_to_num(scores, nan=-np.inf))[: named // 2]
    }
    names = [words.head_name(i // H, i % H) if i in chosen else "" for i in range(len(x))]
    return lambda theme: scatter(
        x,
        y,
        names=names,
        x_label=words.metric_title(first),
        y_label=words.metric_title(second),
        theme=theme,
        title="Two scores, head by head",
    )


def partial_curves(found: PartialPruning, metric: str) -> Drawn:
    """Curves over k of the three hop parts of one head."""
    return partial_frame_curves(found.to_pandas(), metric)


def partial_frame_curves(frame: pd.DataFrame, metric: str) -> Drawn:
    """The same from the saved table (`PartialPruning.to_pandas`)."""
    signs = {"at": "= k hops", "within": "≤ k hops", "beyond": "≥ k hops"}
    chosen = frame[(frame["metric"] == metric) & frame["part"].isin(HOP_PARTS)]
    hops = np.unique(chosen["k"].to_numpy())
    series = {
        signs[str(part)]: rows.set_index("k")["mean"].loc[hops].to_numpy()
        for part, rows in chosen.groupby("part", sort=False)
    }
    name = words.head_name(frame["block"].iloc[0], frame["head"].iloc[0])
    return lambda theme: curves(
        hops,
        series,
        title=f"Head {name} without the keys at k hops",
        x_label="k (hops)",
        y_label=words.metric_title(metric),
        zero=True,
        theme=theme,
    )


def cumulative_curves(found: CumulativePruning, column: str, names: Sequence[str] | None = None) -> Drawn:
    """A column of the curves against the number of removed heads, random orders with their range as a band."""
    series, bands = {}, {}
    x = np.unique(found.curves["removed"].to_numpy())
    for order, frame in found.curves.groupby("order", sort=False):
        if names is not None and order not in (*names, "random"):
            continue
        table = frame.pivot(index="removed", columns="repeat", values=column).loc[x].to_numpy()
        label = "random order" if order == "random" else words.metric_title(str(order))
        series[label] = table.mean(1)
        if table.shape[1] > 1:
            bands[label] = (table.min(1), table.max(1))
    axes = {
        "probability": "mean probability",
        "accuracy": "accuracy",
        "same_prediction": "same prediction as the full model",
        "js_divergence": "Jensen-Shannon divergence (bits)",
    }
    return lambda theme: curves(
        x,
        series,
        bands,
        title="Removing heads, least important first",
        theme=theme,
        x_label="heads removed",
        y_label=axes.get(column, column),
    )


def agreement_matrix(found: Agreement, statistic: str = "spearman") -> Drawn:
    """The matrix of rank correlations."""
    return lambda theme: correlation_matrix(
        found.matrices[statistic][0],
        [words.metric_title(name) for name in found.names],
        theme=theme,
        label="Spearman's ρ over heads" if statistic == "spearman" else "Kendall's τ over heads",
        title="Do the head scores agree?",
    )


def importance_by_pattern(table: HeadTable, atlas: PatternAtlas, metric: str) -> Drawn:
    """Importance (rank) of heads against their dependence on content, coloured by their commonest pattern."""
    frame = atlas.heads[atlas.heads["model"] == atlas.metadata["models"][0]["name"]]
    ranks = rank_heads(table.mean(metric))
    y = [float(ranks[b, h]) for b, h in zip(frame["block"], frame["head"], strict=True)]
    names = [
        words.head_name(b, h) if value >= 0.85 else ""
        for b, h, value in zip(frame["block"], frame["head"], y, strict=True)
    ]
    return lambda theme: scatter(
        frame["content_dependence"],
        y,
        groups=few_groups(frame["pattern"]),
        names=names,
        theme=theme,
        x_label="dependence on content (variance over pictures)",
        y_label=f"importance rank by {words.metric_title(metric)}",
        title="Importance and pattern",
    )
