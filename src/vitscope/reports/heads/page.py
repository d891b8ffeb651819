"""The story of a model's heads: which matter, how far they look, what pattern they have, and why the important ones
are important; as one self-contained page, and as tables and plots. Every sentence with a number is made from records.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from vitscope.heads.atlas.atlas import PatternAtlas
from vitscope.heads.atlas.mapping import PatternMapping
from vitscope.heads.distance.strength_profile import StrengthProfile
from vitscope.heads.frames import write_frame
from vitscope.heads.pruning.cumulative import CumulativePruning
from vitscope.heads.pruning.joint_result import JointEffect
from vitscope.heads.pruning.partial_curves import PartialPruning
from vitscope.heads.rankings.agreement import Agreement
from vitscope.heads.rankings.correlation import spearman
from vitscope.heads.table import HeadTable
from vitscope.rendering import save_figure
from vitscope.rendering.pages.page import Column, Page
from vitscope.reports import words
from vitscope.reports.heads import plots
from vitscope.reports.heads.looks_sections import patterns_section, placed_section, strength_section
from vitscope.reports.heads.score_sections import (
    agreement_section,
    dissection_section,
    drop_metric,
    importance_section,
    main_metric,
    several_section,
)

__all__ = ["HeadsReport", "main_metric", "write_both"]


@dataclass(frozen=True)
class HeadsReport:
    """What is known of a model's heads, as one page with tables and plots; parts that are None are left out.

    Args:
        model: Name of the model.
        pictures: Number of pictures.
        table: Importance of heads.
        strength: How far heads look.
        atlas: Attention patterns.
        placed: Other pictures, or another model, placed in ``atlas``.
        agreement: Rank correlations between scores.
        cumulative: Cumulative pruning.
        joint: Heads removed together.
        partial: Partial pruning of one head.
        pruned: What ``vitscope heads prune`` changed: by name, before and after.
        removed: The (block, head) pairs that were removed, from 0.
        commands: Commands that made the report.

    Example:
        >>> import numpy as np
        >>> import vitscope as vs
        >>> table = vs.heads.HeadTable({"first_order": np.float32([[[1, 2], [4, 3]]])}, ("cat.png",))
        >>> vs.reports.HeadsReport("my model", 1, table=table).write("heads.html").name
        'heads.html'
    """

    model: str
    pictures: int
    table: HeadTable | None = None
    strength: StrengthProfile | None = None
    atlas: PatternAtlas | None = None
    placed: PatternMapping | None = None
    agreement: Agreement | None = None
    cumulative: CumulativePruning | None = None
    joint: JointEffect | None = None
    partial: PartialPruning | None = None
    pruned: Mapping[str, tuple[Any, Any]] | None = None
    removed: tuple[tuple[int, int], ...] = ()
    commands: tuple[str, ...] = ()

    # ---- files -----------------------------------------------------------------------------------------------
    def save(self, folder: str | Path, name: str = "report") -> list[Path]:
        """Every table as Parquet and CSV, every plot as PNG, and the page NAME.html. Returns the files, page first."""
        folder = Path(folder)
        files = [self.write(folder / f"{name}.html")]
        for stem, frame, metadata in self._tables():
            files += write_both(frame, folder / stem, metadata)
        if self.cumulative is not None:
            files.append(self.cumulative.save(folder / "cumulative.csv"))
        if self.agreement is not None:
            files.append(self.agreement.save(folder / "agreement.csv"))
        if self.table is not None:
            files.append(self.table.save(folder / "heads-per-picture.parquet"))
        if self.partial is not None:
            files.append(self.partial.save(folder / "partial-per-picture.parquet"))
        if self.cumulative is not None:
            files.append(self.cumulative.save(folder / "cumulative.parquet"))
        if self.agreement is not None:
            files += [
                self.agreement.save(folder / f"agreement.{kind}") for kind in ("parquet", "safetensors")
            ]
        if self.strength is not None:
            files.append(self.strength.save(folder / "strength.safetensors"))
        if self.atlas is not None and self.placed is None:
            files.append(self.atlas.save(folder / "atlas"))
        for stem, drawn in self._plots().items():
            files.append(folder / f"{stem}.png")
            save_figure(drawn("light"), files[-1])
        return files

    def write(self, path: str | Path) -> Path:
        """Write the page alone."""
        return self.page().write(path)

    def _tables(self) -> list[tuple[str, pd.DataFrame, Mapping[str, Any]]]:
        found: list[tuple[str, pd.DataFrame, Mapping[str, Any]]] = []
        if self.table is not None:
            found.append(("heads", self.table.to_pandas(), self.table.metadata))
        if self.partial is not None:
            found.append(("partial", self.partial.to_pandas(), self.partial.metadata))
        if self.joint is not None:
            found.append(("joint", self.joint.to_pandas(), {}))
        if self.strength is not None:
            found.append(("strength", self.strength.summary(), self.strength.metadata))
            found.append(("strength-by-hop", self.strength.to_pandas(), self.strength.metadata))
        if self.placed is not None:
            found.append(("maps", self.placed.maps, {}))
        if self.atlas is not None:
            mix = self.atlas if self.placed is None else self.placed
            found.append(("pattern-mix", mix.heads, self.atlas.metadata))
        if self.agreement is not None:
            found.append(("disagreements", self.agreement.disagreements(), self.agreement.metadata))
        return found

    def _plots(self) -> dict[str, plots.Drawn]:
        found: dict[str, plots.Drawn] = {}
        if self.table is not None:
            metric = main_metric(self.table)
            found["importance"] = plots.importance_matrix(self.table, metric, drop_metric(self.table))
            if "first_order" in self.table.metrics and metric != "first_order":
                found["first-order"] = plots.metric_scatter(self.table, "first_order", metric)
        if self.partial is not None:
            found["partial"] = plots.partial_curves(self.partial, "js_divergence")
        if self.cumulative is not None:
            for column in ("accuracy", "probability"):
                if bool(np.isfinite(self.cumulative.curves[column]).any()):
                    found[f"cumulative-{column}"] = plots.cumulative_curves(self.cumulative, column)
        if self.strength is not None:
            found["strength"] = plots.strength_curves(self.strength)
            found["strength-trend"] = plots.distance_trend(self.strength)
            found["strength-offsets"] = plots.offset_grid(self.strength)
        if self.atlas is not None:
            found["patterns"] = plots.prototype_grid(self.atlas)
            found["pattern-mix"] = plots.pattern_mix(self.atlas, self.placed)
            if self.placed is None:
                found["codes"] = plots.code_map(self.atlas)
        if self.agreement is not None:
            found["agreement"] = plots.agreement_matrix(self.agreement)
        if self.table is not None and self.atlas is not None:
            found["importance-pattern"] = plots.importance_by_pattern(
                self.table, self.atlas, main_metric(self.table)
            )
        return found

    # ---- the page --------------------------------------------------------------------------------------------
    def page(self) -> Page:
        """The page with a section for every part that is there."""
        pictures = "1 picture" if self.pictures == 1 else f"{self.pictures} pictures"
        page = Page(f"The heads of {self.model}", f"Seen on {pictures}. Heads are named block.head, from 0.")
        if self.pruned is not None:
            self._pruned(page, self.pruned)
        if self.table is not None:
            importance_section(page, self.table)
        if self.partial is not None:
            dissection_section(page, self.partial, "js_divergence")
        several_section(page, self.cumulative, None if self.joint is None else self.joint.to_pandas())
        if self.strength is not None:
            strength_section(page, self.strength)
        if self.atlas is not None and self.placed is not None:
            placed_section(page, self.atlas, self.placed)
        elif self.atlas is not None:
            patterns_section(page, self.atlas)
        if self.table is not None and (self.strength is not None or self.atlas is not None):
            self._why(page, self.table)
        if self.agreement is not None:
            agreement_section(page, self.agreement)
        page.section("How this was made")
        source = next(
            (
                part.metadata
                for part in (self.table, self.strength, self.atlas, self.agreement)
                if part is not None
            ),
            {},
        )
        page.metadata({key: value for key, value in source.items() if not isinstance(value, (dict, list))})
        if self.commands:
            page.commands(list(self.commands))
        return page

    def _pruned(self, page: Page, changed: Mapping[str, tuple[Any, Any]]) -> None:
        names = words.head_names(self.removed) or "none"
        page.section("What was pruned", f"Heads taken away: {names}.")
        page.table(
            [Column(""), Column("before", numeric=True), Column("after", numeric=True)],
            [[name, before, after] for name, (before, after) in changed.items()],
            caption="Measured on the pictures that also chose the heads, which flatters the pruned model a little.",
        )

    def _why(self, page: Page, table: HeadTable) -> None:
        metric = main_metric(table)
        mean = table.mean(metric)
        sentences = []
        if self.strength is not None:
            importance = mean[list(self.strength.blocks)].ravel()
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
            lowest = f" and lowest for {by.index[-1]} ({by.iloc[-1]:.3g})" if len(by) > 1 else ""
            sentences.append(
                f"Mean importance is highest for the pattern {by.index[0]} ({by.iloc[0]:.3g}){lowest}."
            )
        depth = spearman(np.repeat(np.arange(len(mean)), mean.shape[1]).astype(np.float64), mean.ravel())
        sentences.append(f"Importance and depth (block number): rank correlation {depth:+.2f}.")
        page.section("Why the important ones are important", " ".join(sentences))
        page.text(
            "These are correlations over heads of one model; they say what goes together, not what causes what. Where "
            "importance goes with depth, so does everything else that changes with depth."
        )
        if self.atlas is not None:
            page.figure(plots.importance_by_pattern(table, self.atlas, metric), alt="importance and pattern")


def write_both(frame: pd.DataFrame, path: Path, metadata: Mapping[str, Any] | None = None) -> list[Path]:
    """One table as PATH.parquet and PATH.csv."""
    return [
        write_frame(frame, path.with_name(path.name + ending), metadata) for ending in (".parquet", ".csv")
    ]
