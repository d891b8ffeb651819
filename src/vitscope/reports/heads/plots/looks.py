"""Plots of what heads look at: distance, offsets, patterns."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from vitscope.heads.atlas.atlas import PatternAtlas
from vitscope.heads.atlas.mapping import PatternMapping
from vitscope.heads.distance.strength_profile import StrengthProfile
from vitscope.rendering.plots.charts import curves, scatter
from vitscope.rendering.plots.figure import new_figure, style_axes, theme_of
from vitscope.reports import words
from vitscope.reports.heads.plots.labels import Drawn, few_groups


def strength_curves(
    profile: StrengthProfile, name: str = "strength", chosen: Sequence[tuple[int, int]] = ()
) -> Drawn:
    """k-hop curves of all heads (grey); in colour the chosen ones, else the one that looks nearest and the furthest."""
    values, chosen = profile[name], chosen or profile.nearest_and_furthest()
    rings = np.arange(values.shape[2])
    series = {
        words.head_name(block, head): values[row, head]
        for row, block in enumerate(profile.blocks)
        for head in range(values.shape[1])
    }
    highlight = [words.head_name(block, head) for block, head in chosen]
    series["uniform"] = profile.uniform[name]
    bands = {}
    for block, head in chosen:
        row, spread = profile.blocks.index(block), profile.spreads[name]
        bands[words.head_name(block, head)] = (
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


LETTERS_PER_INCH = 10
"""How many letters of a bold title of 11 points are sure to fit."""


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
        lines = textwrap.fill(title, max(12, int(size * columns * LETTERS_PER_INCH)))
        figure.suptitle(lines, x=0.01, ha="left", fontsize=11, fontweight="bold", color=look.ink)
        return figure

    return draw


def offset_grid(profile: StrengthProfile) -> Drawn:
    """Relative-offset maps of all heads, square root scale: the query in the middle."""
    values = profile["offsets"]
    L, H = values.shape[:2]
    images = np.sqrt(values.reshape(L * H, *values.shape[2:]))
    titles = [words.head_name(profile.blocks[i // H], i % H) for i in range(L * H)]
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
        groups=few_groups(frame["pattern"]),
        theme=theme,
        title=f"All maps by code ({atlas.report['display']})",
    )


def pattern_mix(atlas: PatternAtlas, placed: PatternMapping | None = None) -> Drawn:
    """Heads x patterns: the share of a head's maps in every cluster, of the first model or of what was placed."""
    frame = atlas.heads[atlas.heads["model"] == atlas.metadata["models"][0]["name"]]
    frame = frame if placed is None else placed.heads
    shares = frame[[f"share_{c}" for c in range(len(atlas.patterns))]].to_numpy()
    names = [words.head_name(b, h) for b, h in zip(frame["block"], frame["head"], strict=True)]

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
