"""The look of every plot, and plots to PNG and SVG; figures are objects, pyplot's global state is never used."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from vitscope.errors import RenderingError
from vitscope.rendering.files import Metadata, metadata_text, write_atomically


@dataclass(frozen=True)
class Theme:
    """Colours of a plot's paper, text, helping lines and single-series marks."""

    paper: str
    ink: str
    soft: str
    line: str
    accent: str
    muted: str


THEMES = {
    "light": Theme(
        paper="#ffffff", ink="#1c2026", soft="#586069", line="#d9dde2", accent="#1f6fb2", muted="#c4cad1"
    ),
    "dark": Theme(
        paper="#171b20", ink="#e7eaee", soft="#a3adb8", line="#333b44", accent="#62a8e5", muted="#4a545f"
    ),
}
"""Light for print and pages by day, dark for pages that follow the reader's preference."""

SUFFIXES = (".png", ".svg")


def theme_of(name: str) -> Theme:
    """The theme of that name; raises ``RenderingError`` for another."""
    if name not in THEMES:
        raise RenderingError(f"unknown theme {name!r}; use one of {', '.join(THEMES)}")
    return THEMES[name]


def new_figure(width: float, height: float, theme: Theme) -> tuple[Figure, Axes]:
    """A figure of ``width`` × ``height`` inches with one set of axes, on the Agg canvas."""
    figure = Figure(figsize=(width, height), dpi=100, facecolor=theme.paper)
    FigureCanvasAgg(figure)
    figure.set_layout_engine("constrained", w_pad=0.1, h_pad=0.1)
    return figure, figure.add_subplot()


def style_axes(
    axes: Axes, theme: Theme, *, title: str | None, x: str = "", y: str = "", lines: str = "y"
) -> None:
    """Titles at the left, thin helping lines along ``lines`` ("x", "y", "both" or ""), no box."""
    axes.set_facecolor("none")
    if title:
        axes.set_title(title, loc="left", fontsize=11, fontweight="bold", color=theme.ink, pad=10)
    axes.set_xlabel(x, fontsize=9, color=theme.soft)
    axes.set_ylabel(y, fontsize=9, color=theme.soft)
    axes.tick_params(colors=theme.soft, labelsize=8, length=3, width=0.7)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(theme.line)
        spine.set_linewidth(0.8)
    axes.set_axisbelow(True)
    if lines in ("x", "y", "both"):
        axes.grid(True, axis=lines, color=theme.line, linewidth=0.6)  # type: ignore[arg-type]


def figure_png(figure: Figure, *, dots_per_inch: int = 200, metadata: Metadata | None = None) -> bytes:
    """The figure as PNG, with its metadata as text chunks."""
    buffer = io.BytesIO()
    notes = {str(key): str(value) for key, value in (metadata or {}).items()}
    figure.savefig(buffer, format="png", dpi=dots_per_inch, metadata=notes or None)
    return buffer.getvalue()


def figure_pixels(figure: Figure, *, dots_per_inch: int = 200) -> Image.Image:
    """The figure as an RGB image."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="rgba", dpi=dots_per_inch)
    width = int(figure.get_figwidth() * dots_per_inch)  # whole dots, as the canvas has them
    pixels = np.frombuffer(buffer.getvalue(), np.uint8).reshape(-1, width, 4)
    return Image.fromarray(pixels).convert("RGB")


def figure_svg(figure: Figure, *, transparent: bool = False, metadata: Metadata | None = None) -> str:
    """The figure as SVG text: letters as outlines, so that it looks the same everywhere; no date, so that the same
    figure gives the same file."""
    buffer = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": "vitscope", "svg.fonttype": "path"}):
        figure.savefig(
            buffer,
            format="svg",
            transparent=transparent,
            metadata={"Date": None, "Creator": "vitscope", "Description": metadata_text(metadata) or None},
        )
    return buffer.getvalue()


def save_figure(
    figure: Figure, path: str | Path, *, metadata: Metadata | None = None, dots_per_inch: int = 200
) -> Path:
    """Write a figure as .png or .svg, by the suffix; returns the path.

    Raises ``RenderingError`` for another suffix and ``OutputError`` when the place cannot be written.
    """
    suffix = Path(path).suffix.lower()
    if suffix == ".png":
        return write_atomically(path, figure_png(figure, dots_per_inch=dots_per_inch, metadata=metadata))
    if suffix == ".svg":
        return write_atomically(path, figure_svg(figure, metadata=metadata))
    raise RenderingError(
        f"expected a path ending in {', '.join(SUFFIXES)}, got {Path(path).name!r}; rename it"
    )
