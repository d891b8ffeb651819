"""The plots of this room, built from its records and drawn by the rendering room."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

from vitscope.heads.agreement import Agreement
from vitscope.heads.atlas import PatternAtlas
from vitscope.heads.change_metrics import METRICS
from vitscope.heads.correlation import rank_heads
from vitscope.heads.cumulative import CumulativePruning
from vitscope.heads.partial import HOP_PARTS, PartialPruning
from vitscope.heads.scores import SCORES
from vitscope.heads.strength import StrengthProfile
from vitscope.heads.table import HeadTable
from vitscope.rendering.figure import new_figure, style_axes, theme_of
from vitscope.rendering.plots import correlation_matrix, curves, head_matrix, scatter

Drawn = Callable[[str], Figure]
"""From a theme's name ("light" or "dark") to a figure."""


def title_of(metric: str) -> str:
    """A metric's or score's title."""
    return METRICS[metric].title if metric in METRICS else SCORES.get(metric, metric.replace("_", " "))


def _blocks(count: int) -> list[str]:
    return [str(block) for block in range(count)]


def importance_matrix(table: HeadTable, metric: str, second: str | None = None) -> Drawn:
    """Blocks x heads, one metric as colour, a second one as the square in each cell; numbered from 0."""
    L, H = table.shape

    def draw(theme: str) -> Figure:
        figure = head_matrix(
            table.mean(metric),
            label=title_of(metric),
            block_labels=_blocks(L),
            theme=theme,
            second=None if second is None else np.abs(table.mean(second)),
            second_label="" if second is None else f"|{title_of(second)}|",
        )
        figure.axes[0].set_xticks(range(H), _blocks(H))
        return figure

    return draw


def metric_scatter(table: HeadTable, first: str, second: str, named: int = 6) -> Drawn:
    """Head against head: two metrics; the most important heads of either carry their names."""
    x, y = table.mean(first).ravel(), table.mean(second).ravel()
    H = table.shape[1]
    chosen = {
        int(i) for scores in (x, y) for i in np.argsort(-np.nan_to_num(scores, nan=-np.inf))[: named // 2]
    }
    names = [f"{i // H}.{i % H}" if i in chosen else "" for i in range(len(x))]
    return lambda theme: scatter(
        x,
        y,
        names=names,
        x_label=title_of(first),
        y_label=title_of(second),
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
    name = f"{frame['block'].iloc[0]}.{frame['head'].iloc[0]}"
    return lambda theme: curves(
        hops,
        series,
        title=f"Head {name} without the keys at k hops",
        x_label="k (hops)",
        y_label=title_of(metric),
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
        label = "random order" if order == "random" else title_of(str(order))
        series[label] = table.mean(1)
        if table.shape[1] > 1:
            bands[label] = (table.min(1), table.max(1))
    words = {
        "probability": "mean probability",
        "accuracy": "accuracy",
        "agreement": "same prediction as the full model",
        "js_divergence": "Jensen-Shannon divergence (bits)",
    }
    return lambda theme: curves(
        x,
        series,
        bands,
        title="Removing heads, least important first",
        theme=theme,
        x_label="heads removed",
        y_label=words.get(column, column),
    )


def strength_curves(
    profile: StrengthProfile, name: str = "strength", chosen: Sequence[tuple[int, int]] = ()
) -> Drawn:
    """k-hop curves of all heads (grey) with some of them, and the mean per block third, in colour."""
    values = profile[name]
    rings = np.arange(values.shape[2])
    series = {
        f"{block}.{head}": values[row, head]
        for row, block in enumerate(profile.blocks)
        for head in range(values.shape[1])
    }
    highlight = [f"{block}.{head}" for block, head in chosen]
    series["uniform"] = profile.uniform[name]
    bands = {}
    for block, head in chosen:
        row, spread = profile.blocks.index(block), profile.spreads[name]
        bands[f"{block}.{head}"] = (
            values[row, head] - spread[row, head],
            values[row, head] + spread[row, head],
        )
    return lambda theme: curves(
        rings,
        series,
        bands,
        highlight=[*highlight, "uniform"],
        theme=theme,
        x_label="k (hops)",
        y_label="attention per key at k hops" if name == "strength" else "attention mass at k hops",
        title="Attention strength by distance" if name == "strength" else "Attention mass by distance",
    )


def distance_trend(profile: StrengthProfile) -> Drawn:
    """Expected distance of every head over the blocks, with the block mean and the uniform baseline."""

    def draw(theme: str) -> Figure:
        look = theme_of(theme)
        figure, axes = new_figure(6.4, 3.6, look)
        values = profile["patch_distance"]
        blocks = np.asarray(profile.blocks)
        for head in range(values.shape[1]):
            axes.scatter(blocks, values[:, head], s=22, color=look.muted, zorder=2)
        axes.plot(blocks, np.nanmean(values, 1), color=look.accent, linewidth=2, marker="o", zorder=3)
        axes.axhline(
            float(profile.uniform["patch_distance"]), color=look.soft, linewidth=0.9, linestyle=(0, (4, 3))
        )
        axes.annotate(
            "uniform attention",
            (blocks[0], float(profile.uniform["patch_distance"])),
            fontsize=8,
            color=look.soft,
            xytext=(0, 4),
            textcoords="offset points",
        )
        axes.set_ylim(bottom=0)
        axes.set_xticks(blocks)
        style_axes(
            axes,
            look,
            title="How far heads look, block by block",
            x="block",
            y="expected hops to the patch looked at",
        )
        return figure

    return draw


def image_grid(
    images: NDArray[np.float64],
    titles: Sequence[str],
    *,
    columns: int,
    title: str,
    colour: str = "viridis",
    size: float = 1.55,
) -> Drawn:
    """Small square maps side by side, each on its own scale from 0 to its largest value, with a line of text."""

    def draw(theme: str) -> Figure:
        from matplotlib.backends.backend_agg import FigureCanvasAgg

        look = theme_of(theme)
        rows = -(-len(images) // columns)
        figure = Figure(figsize=(size * columns, size * 1.2 * rows + 0.5), dpi=100, facecolor=look.paper)
        FigureCanvasAgg(figure)
        figure.set_layout_engine("constrained", w_pad=0.03, h_pad=0.06)
        for index in range(rows * columns):
            axes = figure.add_subplot(rows, columns, index + 1)
            axes.set_axis_off()
            if index < len(images):
                top = float(np.nanmax(images[index]))
                axes.imshow(
                    images[index], cmap=colour, vmin=0, vmax=top if top > 0 else 1, interpolation="nearest"
                )
                axes.set_title(titles[index], fontsize=7.5, color=look.ink)
        figure.suptitle(title, x=0.01, ha="left", fontsize=11, fontweight="bold", color=look.ink)
        return figure

    return draw


def offset_grid(profile: StrengthProfile) -> Drawn:
    """Relative-offset maps of all heads, square root scale: the query in the middle."""
    values = profile["offsets"]
    L, H = values.shape[:2]
    images = np.sqrt(values.reshape(L * H, *values.shape[2:]))
    titles = [f"{profile.blocks[i // H]}.{i % H}" for i in range(L * H)]
    return image_grid(
        images,
        titles,
        columns=min(12, L) if H <= 3 else H,
        size=0.95,
        title="Where heads look relative to the query (square root; block.head)",
    )


def prototype_grid(atlas: PatternAtlas) -> Drawn:
    """Decoded cluster centres with their names and sizes."""
    titles = [
        f"{name}\n{pattern.maps} maps" for name, pattern in zip(atlas.names, atlas.patterns, strict=True)
    ]
    return image_grid(
        np.sqrt(atlas.prototypes.numpy()),
        titles,
        columns=min(6, len(titles)),
        size=1.75,
        title=f"Prototypes, decoded from the {atlas.coder_name}'s codes (square root)",
    )


def code_map(atlas: PatternAtlas) -> Drawn:
    """All maps in two dimensions (for display only), coloured by pattern."""
    frame = atlas.maps
    return lambda theme: scatter(
        frame["x"],
        frame["y"],
        groups=list(frame["pattern"]),
        theme=theme,
        title=f"All maps by code ({atlas.report['display']})",
    )


def pattern_mix(atlas: PatternAtlas) -> Drawn:
    """Heads x patterns: the share of a head's maps in every cluster, first model."""
    model = atlas.metadata["models"][0]["name"]
    frame = atlas.heads[atlas.heads["model"] == model]
    shares = frame[[f"share_{c}" for c in range(len(atlas.patterns))]].to_numpy()
    names = [f"{b}.{h}" for b, h in zip(frame["block"], frame["head"], strict=True)]

    def draw(theme: str) -> Figure:
        look = theme_of(theme)
        figure, axes = new_figure(max(6.4, 0.24 * len(names) + 1.6), 0.34 * shares.shape[1] + 1.4, look)
        drawn = axes.imshow(shares.T, cmap="cividis", vmin=0, vmax=1, aspect="auto", interpolation="nearest")
        axes.set_yticks(range(shares.shape[1]), atlas.names)
        step = max(1, len(names) // 48)
        axes.set_xticks(range(0, len(names), step), names[::step], rotation=90)
        style_axes(axes, look, title="Mix of patterns per head (share of pictures)", x="block.head", lines="")
        bar = figure.colorbar(drawn, ax=axes, fraction=0.03, pad=0.02)
        bar.ax.tick_params(labelsize=8, colors=look.soft)
        return figure

    return draw


def agreement_matrix(found: Agreement, statistic: str = "spearman") -> Drawn:
    """The matrix of rank correlations."""
    return lambda theme: correlation_matrix(
        found.matrices[statistic][0],
        [title_of(name) for name in found.names],
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
        f"{b}.{h}" if value >= 0.85 else ""
        for b, h, value in zip(frame["block"], frame["head"], y, strict=True)
    ]
    return lambda theme: scatter(
        frame["content_dependence"],
        y,
        groups=list(frame["pattern"]),
        names=names,
        theme=theme,
        x_label="dependence on content (variance over pictures)",
        y_label=f"importance rank by {title_of(metric)}",
        title="Importance and pattern",
    )
