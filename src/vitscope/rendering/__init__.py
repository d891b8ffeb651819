"""Drawing: overlays, flow strips, animations, sheets, plots and HTML pages. Takes arrays and pictures only."""

from __future__ import annotations

from vitscope.rendering.animation import save_animation
from vitscope.rendering.colour import categories, check_colour, colourise, default_colour
from vitscope.rendering.figure import figure_png, figure_svg, save_figure
from vitscope.rendering.files import save_png, write_atomically
from vitscope.rendering.flow import flow_frames, flow_strip
from vitscope.rendering.html import Column, Measure, Page
from vitscope.rendering.overlay import overlay
from vitscope.rendering.plots import bars, correlation_matrix, curves, head_matrix, scatter
from vitscope.rendering.report import (
    Report,
    ReportFlow,
    ReportHeads,
    ReportMap,
    ReportMethod,
    ReportPicture,
)
from vitscope.rendering.scaling import SCALINGS, ScaledMaps, scale
from vitscope.rendering.sheet import grid, method_sheet

__all__ = [
    "SCALINGS",
    "Column",
    "Measure",
    "Page",
    "Report",
    "ReportFlow",
    "ReportHeads",
    "ReportMap",
    "ReportMethod",
    "ReportPicture",
    "ScaledMaps",
    "bars",
    "categories",
    "check_colour",
    "colourise",
    "correlation_matrix",
    "curves",
    "default_colour",
    "figure_png",
    "figure_svg",
    "flow_frames",
    "flow_strip",
    "grid",
    "head_matrix",
    "method_sheet",
    "overlay",
    "save_animation",
    "save_figure",
    "save_png",
    "scale",
    "scatter",
    "write_atomically",
]
