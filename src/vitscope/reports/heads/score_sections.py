"""The sections of the page that are about scores: which heads matter, alone and together, and whether scores agree."""

from __future__ import annotations

import numpy as np
import pandas as pd

from vitscope.heads.pruning.cumulative import CumulativePruning
from vitscope.heads.pruning.partial_curves import PartialPruning
from vitscope.heads.rankings.agreement import Agreement
from vitscope.heads.table import HeadTable
from vitscope.rendering.pages.page import Column, Measure, Page
from vitscope.reports import words
from vitscope.reports.heads import plots

DROPS = ("probability_drop_label", "probability_drop_top")
SHOWN = (
    "probability_drop_label", "probability_drop_top", "js_divergence", "flip", "accuracy_drop", "class_cosine_block",
    "class_cosine_last", "patch_cosine_block", "first_order",
)  # fmt: skip


def main_metric(table: HeadTable) -> str:
    """The main metric of the report: the Jensen-Shannon divergence, else the first one there is."""
    return "js_divergence" if "js_divergence" in table.metrics else table.metrics[0]


def drop_metric(table: HeadTable) -> str | None:
    """The signed metric that tells heads that hurt: the label's probability, else the prediction's."""
    return next((name for name in DROPS if name in table.metrics), None)


def importance_section(page: Page, table: HeadTable) -> None:
    """Every head alone: the matrix, first order against exact, and the table of all heads."""
    metric, drop = main_metric(table), drop_metric(table)
    order, mean = table.order(metric), table.mean(metric)
    if not order:
        return
    names = words.head_names(order[:3])
    fifth = max(1, len(order) // 5)
    share = float(np.nansum([mean[h] for h in order[:fifth]]) / max(1e-12, np.nansum(mean)))
    how = "Every head was taken away in turn and the model run again. By the"
    if metric == "first_order":
        how = "No head was taken away: one forward and one backward pass give the first-order score of all. By the"
    page.section(
        "Which heads matter",
        f"{how} {words.metric_title(metric)} the most important heads are {names}; the first fifth of the heads "
        f"({fifth} of {len(order)}) carries {share:.0%} of the sum over all heads.",
    )
    if drop is not None:
        hurting = [head for head in table.order(drop)[::-1] if table.interval(drop)[1][head] < 0]
        listed = words.head_names(hurting[:6]) + (" and others" if len(hurting) > 6 else "")
        page.text(
            f"Heads that hurt (the {words.metric_title(drop)} is below zero with its whole 95 % interval): "
            f"{listed or 'none'}."
            + (
                " They were picked on these very pictures, so expect some to fade on others."
                if hurting
                else ""
            )
        )
    page.figure(
        plots.importance_matrix(table, metric, drop),
        alt="importance of every head",
        caption=f"Colour: {words.metric_title(metric)}."
        + (f" Small square: size of the {words.metric_title(drop)}." if drop else ""),
    )
    if "first_order" in table.metrics and metric != "first_order":
        found = (table.metadata.get("first_order_spearman") or {}).get(metric)
        known = found is not None and found == found
        page.text(
            "The first-order score asks for one forward and one backward pass for all heads."
            + (
                f" Its rank correlation with the exact result is {found:.2f} over the confirmed heads."
                if known
                else ""
            )
        )
        page.figure(
            plots.metric_scatter(table, "first_order", metric), alt="first-order against exact importance"
        )
    shown = [name for name in SHOWN if name in table.metrics]
    page.table(
        [Column("head"), *(Column(words.metric_title(m), numeric=True) for m in shown)],
        [[words.head_name(b, h), *(_measure(table, m, b, h) for m in shown)] for b, h in order],
        caption=f"All heads with 95 % intervals over {table.count} pictures.",
    )


def _measure(table: HeadTable, metric: str, block: int, head: int) -> Measure | None:
    value = float(table.mean(metric)[block, head])
    if value != value:
        return None
    low, high = (float(bound[block, head]) for bound in table.interval(metric))
    return Measure(value) if low != low else Measure(value, low, high)


def several_section(page: Page, found: CumulativePruning | None, joint: pd.DataFrame | None) -> None:
    """Heads taken away together: cumulative curves, and a chosen set against the sum of its single effects."""
    if found is None and joint is None:
        return
    page.section("Taking away many heads")
    if found is not None:
        column = "accuracy" if bool(np.isfinite(found.curves["accuracy"]).any()) else "probability"
        areas = found.area(column).set_index("order")["area"]
        named = areas.drop("random", errors="ignore")
        random = f" (random order: {areas['random']:.3f})" if "random" in areas else ""
        verdict = ""
        if "random" in areas and len(named) and named.iloc[0] <= areas["random"]:
            verdict = " No order does better than chance."
        page.text(
            "Heads were removed one after the other, the least important first. "
            + (
                f"The order by {words.metric_title(str(named.index[0]))} keeps the most: mean {column} over the curve "
                f"{named.iloc[0]:.3f}{random}.{verdict}"
                if len(named)
                else f"Mean {column} over the curve in random order: {areas['random']:.3f}."
            )
        )
        page.figure(plots.cumulative_curves(found, column), alt="cumulative pruning")
    if joint is not None and len(joint):
        row = joint.iloc[0]
        page.text(
            f"Single scores do not add up: taking the chosen heads away together changes the "
            f"{words.metric_title(str(row['metric']))} by {row['joint']:.3f}, the sum of taking each alone is "
            f"{row['sum_of_singles']:.3f}."
        )
        page.table(
            [Column("metric"), *(Column(c.replace("_", " "), numeric=True) for c in joint.columns[1:])],
            [[words.metric_title(str(name)), *rest] for name, *rest in joint.to_numpy().tolist()],
        )


def dissection_section(page: Page, found: PartialPruning, metric: str) -> None:
    """One head without parts of its attention."""
    parts = {
        part: float(found.curve(part, metric)["mean"].iloc[0])
        for part in ("class_query", "patch_queries", "class_key", "whole_head")
        if len(found.curve(part, metric))
    }
    whole = parts.pop("whole_head", float("nan"))
    text = ""
    if parts:
        best = max(parts, key=lambda part: abs(parts[part]))
        text = (
            f"Of its parts, taking away the {best.replace('_', ' ')} changes the answer most "
            f"({parts[best]:.3g} in {words.metric_title(metric)}; the whole head: {whole:.3g})."
        )
    page.section(f"Head {words.head_name(found.block, found.head)} dissected", text)
    page.figure(plots.partial_curves(found, metric), alt="partial pruning")


def agreement_section(page: Page, found: Agreement) -> None:
    """Rank correlations between scores, the heads they rank most differently, and every pair."""
    frame = found.to_pandas().sort_values("spearman")
    known = frame[frame["spearman"].notna()]
    text = "No two scores could be compared."
    if len(known):
        low, high = known.iloc[0], known.iloc[-1]
        text = (
            f"Least: {words.metric_title(low['first'])} and {words.metric_title(low['second'])} "
            f"({low['spearman']:+.2f}). "
            f"Most: {words.metric_title(high['first'])} and {words.metric_title(high['second'])} "
            f"({high['spearman']:+.2f}). Rank correlations over heads; intervals are 95 % bootstrap intervals over "
            f"{found.resample}."
        )
    page.section("Do the scores agree?", text)
    page.figure(plots.agreement_matrix(found), alt="rank correlations between scores")
    page.table(
        [
            Column("head"), Column("range of ranks", numeric=True), Column("ranked highest by"), Column("lowest by"),
        ],
        [
            [words.head_name(row["block"], row["head"]), float(row["range"]), words.metric_title(row["highest"]),
             words.metric_title(row["lowest"])]
            for _, row in found.disagreements().head(8).iterrows()
        ],
        caption="The heads on which the scores disagree most.",
    )  # fmt: skip

    def measured(row: pd.Series, name: str) -> Measure | None:
        return Measure(row[name], row[f"{name}_low"], row[f"{name}_high"]) if row[name] == row[name] else None

    page.table(
        [Column("score"), Column("score"), Column("Spearman", numeric=True), Column("Kendall", numeric=True)],
        [
            [
                words.metric_title(r["first"]),
                words.metric_title(r["second"]),
                measured(r, "spearman"),
                measured(r, "kendall"),
            ]
            for _, r in frame.iloc[::-1].iterrows()
        ],
        caption="Every pair of scores.",
    )
