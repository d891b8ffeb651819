"""The story of a model's heads as one self-contained HTML page: which matter, how far they look, what pattern they
have, and why the important ones are important. Every sentence with a number is made from the records."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from vitscope.heads import plots
from vitscope.heads.agreement import Agreement
from vitscope.heads.atlas import PatternAtlas
from vitscope.heads.correlation import spearman
from vitscope.heads.cumulative import CumulativePruning
from vitscope.heads.partial import PartialPruning
from vitscope.heads.strength import StrengthProfile
from vitscope.heads.table import HeadTable
from vitscope.rendering.html import Column, Measure, Page

MAIN_METRICS = ("probability_drop_label", "js_divergence", "probability_drop_top")


def main_metric(table: HeadTable) -> str:
    """The metric that the story is told by: the Jensen-Shannon divergence, else the first one there is."""
    return "js_divergence" if "js_divergence" in table.metrics else table.metrics[0]


@dataclass(frozen=True)
class HeadsStory:
    """What is known of a model's heads; every part but the model and the number of pictures may be missing."""

    model: str
    pictures: int
    table: HeadTable | None = None
    strength: StrengthProfile | None = None
    atlas: PatternAtlas | None = None
    agreement: Agreement | None = None
    cumulative: CumulativePruning | None = None
    joint: pd.DataFrame | None = None
    partial: PartialPruning | None = None
    commands: tuple[str, ...] = ()

    def write(self, path: str | Path) -> Path:
        """Write the page."""
        return self.page().write(path)

    def page(self) -> Page:
        """The page with a section for every part that is there."""
        page = Page(
            f"The heads of {self.model}",
            f"Seen on {self.pictures} pictures. Heads are named block.head, from 0.",
        )
        if self.table is not None:
            self._importance(page, self.table)
        if self.cumulative is not None:
            self._several(page, self.cumulative)
        if self.strength is not None:
            self._strength(page, self.strength)
        if self.atlas is not None:
            self._patterns(page, self.atlas)
        if self.table is not None and (self.strength is not None or self.atlas is not None):
            self._why(page, self.table)
        if self.agreement is not None:
            self._agreement(page, self.agreement)
        page.section("How this was made")
        source = next(
            (part.metadata for part in (self.table, self.strength, self.atlas) if part is not None), {}
        )
        page.metadata(
            {key: value for key, value in source.items() if key not in ("savings", "skipped", "models")}
        )
        if self.commands:
            page.commands(list(self.commands))
        return page

    # ---- sections --------------------------------------------------------------------------------------------
    def _importance(self, page: Page, table: HeadTable) -> None:
        metric = main_metric(table)
        order = table.order(metric)
        mean = table.mean(metric)
        names = ", ".join(f"{b}.{h}" for b, h in order[:3])
        share = float(
            np.nansum([mean[h] for h in order[: max(1, len(order) // 5)]]) / max(1e-12, np.nansum(mean))
        )
        page.section(
            "Which heads matter",
            (
                f"Every head was taken away in turn and the model run again. By {plots.title_of(metric)} "
                f"the most important heads are {names}; the first fifth of the heads carries "
                f"{share:.0%} of the sum over all heads."
            ),
        )
        drop = next((m for m in MAIN_METRICS if m in table.metrics and "drop" in m), None)
        if drop is not None:
            hurting = [
                (b, h)
                for b, h in table.order(drop, most_important_first=False)
                if table.interval(drop)[1][b, h] < 0
            ]
            text = ", ".join(f"{b}.{h}" for b, h in hurting[:6]) or "none"
            page.text(
                f"Heads that hurt (the {plots.title_of(drop)} is below zero with its whole 95 % interval): {text}."
            )
        page.figure(
            plots.importance_matrix(table, metric, drop),
            alt="importance of every head",
            caption="Colour: the metric; small square: " + (plots.title_of(drop) if drop else "none") + ".",
        )
        if "first_order" in table.metrics and metric != "first_order":
            agreement = table.metadata.get("first_order_spearman") or {}
            found = agreement.get(metric)
            words = (
                ""
                if found is None or found != found
                else (
                    f" Its rank correlation with the exact result is {found:.2f} over the heads that were confirmed."
                )
            )
            page.text(
                "The first-order score asks for one forward and one backward pass for all heads." + words
            )
            page.figure(
                plots.metric_scatter(table, "first_order", metric), alt="first-order against exact importance"
            )
        page.table(
            [Column("head"), *(Column(plots.title_of(m), numeric=True) for m in self._shown(table))],
            [[f"{b}.{h}", *(self._measure(table, m, b, h) for m in self._shown(table))] for b, h in order],
            caption=f"All heads with 95 % intervals over {len(table.pictures)} pictures.",
        )

    @staticmethod
    def _shown(table: HeadTable) -> list[str]:
        wanted = (
            "probability_drop_label",
            "probability_drop_top",
            "js_divergence",
            "flip",
            "accuracy_drop",
            "class_cosine_block",
            "class_cosine_last",
            "patch_cosine_block",
            "first_order",
        )
        return [name for name in wanted if name in table.metrics]

    @staticmethod
    def _measure(table: HeadTable, metric: str, block: int, head: int) -> Measure | None:
        value = float(table.mean(metric)[block, head])
        if value != value:
            return None
        low, high = table.interval(metric)
        if low[block, head] != low[block, head]:
            return Measure(value)
        return Measure(value, float(low[block, head]), float(high[block, head]))

    def _several(self, page: Page, found: CumulativePruning) -> None:
        has_labels = bool(np.isfinite(found.curves["accuracy"]).any())
        column = "accuracy" if has_labels else "probability"
        areas = found.area(column)
        best = areas.iloc[0]
        random = areas[areas["order"] == "random"]
        against = "" if random.empty else f" (random order: {float(random['area'].iloc[0]):.3f})"
        page.section(
            "Taking away many heads",
            (
                f"Heads were removed one after the other, the least important first. The order by "
                f"{plots.title_of(str(best['order']))} keeps the most: "
                f"mean {column} over the curve {best['area']:.3f}{against}."
            ),
        )
        page.figure(plots.cumulative_curves(found, column), alt="cumulative pruning")
        if self.joint is not None and len(self.joint):
            row = self.joint.set_index("metric").iloc[0]
            page.text(
                f"Single scores do not add up: taking the chosen heads away together changes "
                f"{self.joint['metric'].iloc[0]} by {row['joint']:.3f}, "
                f"the sum of taking each alone is {row['sum_of_singles']:.3f}."
            )
            page.table(
                [
                    Column("metric"),
                    *(Column(c.replace("_", " "), numeric=True) for c in self.joint.columns[1:]),
                ],
                self.joint.to_numpy().tolist(),
            )

    def _strength(self, page: Page, found: StrengthProfile) -> None:
        values = found["patch_distance"]
        flat = [
            (found.blocks[i], h, float(values[i, h]))
            for i in range(values.shape[0])
            for h in range(values.shape[1])
            if values[i, h] == values[i, h]
        ]
        near, far = min(flat, key=lambda item: item[2]), max(flat, key=lambda item: item[2])
        rho = found.trend_correlation("patch_distance")
        page.section(
            "How far they look",
            (
                f"Distances are {found.distance} hops on the {found.grid[0]} x {found.grid[1]} patch grid; uniform "
                f"attention would look {float(found.uniform['patch_distance']):.2f} hops far. The most local head is "
                f"{near[0]}.{near[1]} ({near[2]:.2f} hops), the furthest {far[0]}.{far[1]} ({far[2]:.2f}). "
                f"Over the blocks the mean "
                f"distance "
                f"{'rises' if rho > 0.3 else 'falls' if rho < -0.3 else 'shows no steady trend'} "
                f"(rank correlation {rho:.2f})."
            ),
        )
        chosen = [(near[0], near[1]), (far[0], far[1])]
        page.figures(
            [
                (plots.distance_trend(found), "distance by block", "One dot per head; the line is the mean."),
                (
                    plots.strength_curves(found, "strength", chosen),
                    "strength by distance",
                    "Border-corrected: attention per existing key at k hops; grey: all other heads; "
                    "bands: spread over pictures.",
                ),
            ]
        )
        page.figure(plots.offset_grid(found), alt="relative-offset maps of all heads")
        frame = found.summary()
        page.table(
            [Column(c.replace("_", " "), numeric=c not in ("block", "head")) for c in frame.columns],
            frame.to_numpy().tolist(),
            caption="Profiles of every head; given and taken: mass of prefix tokens.",
        )

    def _patterns(self, page: Page, atlas: PatternAtlas) -> None:
        page.section(
            "Which patterns they have",
            (
                f"{len(atlas.maps)} maps were coded and clustered into {len(atlas.patterns)} patterns "
                f"({atlas.report['cluster_rule']}). {atlas.verdict}"
            ),
        )
        page.figure(plots.prototype_grid(atlas), alt="prototypes")
        page.table(
            [
                Column("pattern"),
                Column("maps", numeric=True),
                Column("depends on content", numeric=True),
                Column("because"),
            ],
            [
                [
                    name,
                    p.maps,
                    None if p.content_dependence != p.content_dependence else p.content_dependence,
                    p.because,
                ]
                for name, p in zip(atlas.names, atlas.patterns, strict=True)
            ],
            caption="Names are given by rule. Depends on content: variance over pictures at a fixed query, 0 to 1.",
        )
        page.figures(
            [
                (plots.pattern_mix(atlas), "mix of patterns per head", ""),
                (plots.code_map(atlas), "codes in two dimensions", ""),
            ]
        )
        if atlas.null is not None:
            trained = atlas.heads.groupby("pattern").size().to_dict()
            random = atlas.null.groupby("pattern").size().to_dict()
            names = list(dict.fromkeys([*atlas.names, *random]))
            page.text(
                "The null: the same architecture with shuffled weights, seen through the same patterns. A pattern "
                "that the null has too owes nothing to learning."
            )
            page.table(
                [
                    Column("pattern"),
                    Column("heads, trained", numeric=True),
                    Column("heads, shuffled", numeric=True),
                ],
                [[name, int(trained.get(name, 0)), int(random.get(name, 0))] for name in names],
            )

    def _why(self, page: Page, table: HeadTable) -> None:
        metric = main_metric(table)
        mean = table.mean(metric)
        sentences = []
        if self.strength is not None:
            rows = list(self.strength.blocks)
            importance = mean[rows].ravel()
            for name, words in (
                ("patch_distance", "how far a head looks"),
                ("entropy", "how spread its attention is"),
            ):
                rho = spearman(importance, self.strength[name][:, : mean.shape[1]].ravel())
                sentences.append(f"Importance and {words}: rank correlation {rho:+.2f}.")
        if self.atlas is not None:
            frame = self.atlas.heads[self.atlas.heads["model"] == self.atlas.metadata["models"][0]["name"]]
            scores = np.array([mean[b, h] for b, h in zip(frame["block"], frame["head"], strict=True)])
            rho = spearman(scores, frame["content_dependence"].to_numpy())
            sentences.append(f"Importance and dependence on content: rank correlation {rho:+.2f}.")
            by = frame.assign(score=scores).groupby("pattern")["score"].mean().sort_values(ascending=False)
            sentences.append(
                f"Mean importance is highest for the pattern {by.index[0]}"
                + (f" and lowest for {by.index[-1]}." if len(by) > 1 else ".")
            )
        page.section("Why the important ones are important", " ".join(sentences))
        page.text(
            "These are correlations over heads of one model; they say what goes together, not what causes what."
        )
        if self.atlas is not None:
            page.figure(plots.importance_by_pattern(table, self.atlas, metric), alt="importance and pattern")
        if self.partial is not None:
            best = max(
                ("class_query", "patch_queries", "class_key"), key=lambda part: abs(self._part(part, metric))
            )
            page.text(
                f"Head {self.partial.block}.{self.partial.head} dissected: of its parts, taking away the "
                f"{best.replace('_', ' ')} changes the answer most ({self._part(best, metric):.3g}; the whole head: "
                f"{self._part('whole_head', metric):.3g})."
            )
            page.figure(plots.partial_curves(self.partial, metric), alt="partial pruning")

    def _part(self, part: str, metric: str) -> float:
        assert self.partial is not None
        frame = self.partial.curve(part, metric)
        return float(frame["mean"].iloc[0]) if len(frame) else 0.0

    def _agreement(self, page: Page, found: Agreement) -> None:
        frame = found.to_pandas().sort_values("spearman")
        low, high = frame.iloc[0], frame.iloc[-1]
        page.section(
            "Do the scores agree?",
            (
                f"Least: {plots.title_of(low['first'])} and {plots.title_of(low['second'])} ({low['spearman']:+.2f}). "
                f"Most: {plots.title_of(high['first'])} and {plots.title_of(high['second'])} "
                f"({high['spearman']:+.2f}). "
                f"Intervals are 95 % bootstrap intervals over {found.resample}."
            ),
        )
        page.figure(plots.agreement_matrix(found), alt="rank correlations between scores")
        worst = found.disagreements().head(8)
        page.table(
            [
                Column("head"),
                Column("range of ranks", numeric=True),
                Column("ranked highest by"),
                Column("lowest by"),
            ],
            [
                [
                    f"{row['block']}.{row['head']}",
                    float(row["range"]),
                    plots.title_of(row["highest"]),
                    plots.title_of(row["lowest"]),
                ]
                for _, row in worst.iterrows()
            ],
            caption="The heads on which the scores disagree most.",
        )
        rows = [
            [
                plots.title_of(r["first"]),
                plots.title_of(r["second"]),
                Measure(r["spearman"], r["spearman_low"], r["spearman_high"])
                if r["spearman"] == r["spearman"]
                else None,
                Measure(r["kendall"], r["kendall_low"], r["kendall_high"])
                if r["kendall"] == r["kendall"]
                else None,
            ]
            for _, r in frame.iloc[::-1].iterrows()
        ]
        page.table(
            [
                Column("score"),
                Column("score"),
                Column("Spearman", numeric=True),
                Column("Kendall", numeric=True),
            ],
            rows,
        )
