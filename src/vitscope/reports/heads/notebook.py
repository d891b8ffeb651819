"""What is known of heads in a notebook: the most telling rows beside a small plot."""

from __future__ import annotations

from vitscope.heads.atlas.atlas import PatternAtlas
from vitscope.heads.distance.strength_profile import StrengthProfile
from vitscope.heads.pruning.cumulative import CumulativePruning
from vitscope.heads.pruning.entries import HOP_PARTS
from vitscope.heads.pruning.partial_curves import PartialPruning
from vitscope.heads.rankings.agreement import Agreement
from vitscope.heads.table import HeadTable
from vitscope.reports import words
from vitscope.reports.heads import plots
from vitscope.reports.heads.score_sections import main_metric
from vitscope.reports.notebook import result_html


def table_html(table: HeadTable) -> str:
    """The most important heads by the main metric, and that metric of all heads."""
    metric = main_metric(table)
    mean, (low, high) = table.mean(metric), table.interval(metric)
    rows = [
        [words.head_name(*head), float(mean[head]), float(low[head]), float(high[head])]
        for head in table.order(metric)
    ]
    return result_html(
        f"{words.metric_title(metric)} of heads, {table.count} pictures",
        ["block.head", "mean", "low", "high"],
        rows,
        plots.importance_matrix(table, metric)("light"),
        "every head as a cell of blocks × heads",
    )


def agreement_html(found: Agreement) -> str:
    """The pairs of scores that agree most, and all pairs as a matrix."""
    frame = found.to_pandas().sort_values("spearman", ascending=False)
    rows = [
        [words.metric_title(row["first"]), words.metric_title(row["second"]), float(row["spearman"])]
        for row in frame.to_dict("records")
    ]
    return result_html(
        f"Rank correlations between scores of heads, {found.pictures} pictures",
        ["score", "score", "Spearman's ρ"],
        rows,
        plots.agreement_matrix(found)("light"),
        "rank correlations of all pairs",
    )


def strength_html(found: StrengthProfile) -> str:
    """How far each head looks, the nearest on top, and the distance over the blocks."""
    frame = found.summary().sort_values("patch_distance")
    rows = [
        [words.head_name(row["block"], row["head"]), float(row["patch_distance"]), float(row["entropy"])]
        for row in frame.to_dict("records")
    ]
    return result_html(
        f"How far heads look, {found.count} pictures",
        ["block.head", "expected hops", "entropy"],
        rows,
        plots.distance_trend(found)("light"),
        "expected hops of every head over the blocks",
    )


def partial_html(found: PartialPruning) -> str:
    """What taking parts of one head's attention away changes, and the curves over hops."""
    metric = "js_divergence" if "js_divergence" in found.values else next(iter(found.values))
    frame = found.to_pandas()
    frame = frame[frame["metric"] == metric]
    rows = [
        [str(row["part"]).replace("_", " "), "" if row["k"] < 0 else int(row["k"]), float(row["mean"])]
        for row in frame.to_dict("records")
    ]
    hops = bool(frame["part"].isin(HOP_PARTS).any())
    return result_html(
        f"Head {words.head_name(found.block, found.head)} in parts, {len(found.pictures)} pictures",
        ["part", "k", words.metric_title(metric)],
        rows,
        plots.partial_curves(found, metric)("light") if hops else None,
        "change over the hops taken away",
    )


def cumulative_html(found: CumulativePruning) -> str:
    """The area below each order's curve, and the curves."""
    column = "accuracy" if bool(found.curves["accuracy"].notna().any()) else "probability"
    areas = found.area(column)
    rows = [[str(row["order"]), float(row["area"])] for row in areas.to_dict("records")]
    return result_html(
        "Removing more and more heads",
        ["order", f"mean {column}"],
        rows,
        plots.cumulative_curves(found, column)("light"),
        f"{column} over the number of heads removed",
    )


def atlas_html(atlas: PatternAtlas) -> str:
    """The patterns with their sizes, and how heads mix them."""
    rows = [
        [name, pattern.maps, float(pattern.content_dependence)]
        for name, pattern in zip(atlas.names, atlas.patterns, strict=True)
    ]
    return result_html(
        f"{len(atlas.maps)} attention maps in {len(atlas.patterns)} patterns",
        ["pattern", "maps", "depends on content"],
        rows,
        plots.pattern_mix(atlas)("light"),
        "share of each pattern in every head's maps",
    )
