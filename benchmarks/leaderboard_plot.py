"""The plot of docs/leaderboard: every method by two measures on two models."""

from __future__ import annotations

from pathlib import Path

from matplotlib.figure import Figure

from vitscope.evaluation.running.subjects import CONTROLS

Rows = dict[tuple[str, str], dict[str, tuple[float, float, float]]]
"""By (model, measure), for each method value, low and high."""
COLOURS = {True: "#9a9a9a", False: "#1f5fa8"}


def draw(rows: Rows, path: Path, digest: str) -> None:
    """A panel for each measure and model, methods down, ordered by the first measure's mean over models."""
    panels = list(rows)
    order = ordered(rows)
    figure = Figure(figsize=(3.1 * max(1, len(panels)) + 1.6, 0.22 * len(order) + 1.1), dpi=110)
    for place, panel in enumerate(panels):
        axes = figure.add_subplot(1, len(panels), place + 1)
        for row, method in enumerate(order):
            if method in rows[panel]:
                value, low, high = rows[panel][method]
                colour = COLOURS[is_control(method)]
                axes.plot([low, high], [row, row], color=colour, linewidth=1.4)
                axes.plot(value, row, "o", color=colour, markersize=4)
        axes.set_title("\n".join(panel), fontsize=9)
        axes.set_yticks(range(len(order)), order if place == 0 else [""] * len(order), fontsize=7)
        axes.set_ylim(len(order) - 0.5, -0.5)
        axes.tick_params(axis="x", labelsize=7)
        axes.grid(axis="both", color="#e4e4e4", linewidth=0.6)
        axes.set_axisbelow(True)
        for side in ("top", "right", "left"):
            axes.spines[side].set_visible(False)
    figure.tight_layout()
    figure.savefig(path, metadata={"figures": digest, "Software": "vitscope"})


def ordered(rows: Rows) -> list[str]:
    """Methods by the mean of the first measure over the models, the largest first; the others behind."""
    measure = next(iter(rows))[1] if rows else ""
    own = [of for (_, title), of in rows.items() if title == measure]
    names = list(dict.fromkeys(method for of in rows.values() for method in of))

    def mean(method: str) -> float:
        known = [of[method][0] for of in own if method in of]
        return sum(known) / len(known) if known else float("-inf")

    return sorted(names, key=lambda method: -mean(method))


def is_control(method: str) -> bool:
    """Whether a row is one of the controls."""
    return method in CONTROLS or method.startswith("inverse of ")
