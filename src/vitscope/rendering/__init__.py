"""Drawing: overlays, flow strips, animations, sheets, plots and HTML pages. Takes arrays and pictures only.

A name is imported when it is first used, so that nobody waits for plots that are not drawn.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

# At once, because the function has the name of its module: importing the module later would hide the function.
from vitscope.rendering.overlay import overlay

if TYPE_CHECKING:
    from vitscope.rendering.animation import save_animation as save_animation
    from vitscope.rendering.colour import categories as categories
    from vitscope.rendering.colour import check_colour as check_colour
    from vitscope.rendering.colour import colourise as colourise
    from vitscope.rendering.colour import default_colour as default_colour
    from vitscope.rendering.figure import figure_png as figure_png
    from vitscope.rendering.figure import figure_svg as figure_svg
    from vitscope.rendering.figure import save_figure as save_figure
    from vitscope.rendering.files import save_png as save_png
    from vitscope.rendering.files import write_atomically as write_atomically
    from vitscope.rendering.flow import flow_frames as flow_frames
    from vitscope.rendering.flow import flow_strip as flow_strip
    from vitscope.rendering.html import Page as Page
    from vitscope.rendering.plots import bars as bars
    from vitscope.rendering.plots import correlation_matrix as correlation_matrix
    from vitscope.rendering.plots import curves as curves
    from vitscope.rendering.plots import head_matrix as head_matrix
    from vitscope.rendering.plots import scatter as scatter
    from vitscope.rendering.report import Report as Report
    from vitscope.rendering.report import ReportFlow as ReportFlow
    from vitscope.rendering.report import ReportHeads as ReportHeads
    from vitscope.rendering.report import ReportMap as ReportMap
    from vitscope.rendering.report import ReportMethod as ReportMethod
    from vitscope.rendering.report import ReportPicture as ReportPicture
    from vitscope.rendering.scaling import SCALINGS as SCALINGS
    from vitscope.rendering.scaling import ScaledMaps as ScaledMaps
    from vitscope.rendering.scaling import scale as scale
    from vitscope.rendering.sheet import grid as grid
    from vitscope.rendering.sheet import method_sheet as method_sheet
    from vitscope.rendering.tables import Column as Column
    from vitscope.rendering.tables import Measure as Measure

_HOMES = {
    "Column": "tables",
    "Measure": "tables",
    "Page": "html",
    "Report": "report",
    "ReportFlow": "report",
    "ReportHeads": "report",
    "ReportMap": "report",
    "ReportMethod": "report",
    "ReportPicture": "report",
    "SCALINGS": "scaling",
    "ScaledMaps": "scaling",
    "bars": "plots",
    "categories": "colour",
    "check_colour": "colour",
    "colourise": "colour",
    "correlation_matrix": "plots",
    "curves": "plots",
    "default_colour": "colour",
    "figure_png": "figure",
    "figure_svg": "figure",
    "flow_frames": "flow",
    "flow_strip": "flow",
    "grid": "sheet",
    "head_matrix": "plots",
    "method_sheet": "sheet",
    "save_animation": "animation",
    "save_figure": "figure",
    "save_png": "files",
    "scale": "scaling",
    "scatter": "plots",
    "write_atomically": "files",
}

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


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'vitscope.rendering' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"vitscope.rendering.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
