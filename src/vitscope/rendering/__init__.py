"""Drawing: overlays, flow strips, animations, sheets, plots and HTML pages. Takes arrays and pictures only.

A name is imported when it is first used, so that nobody waits for plots that are not drawn.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vitscope.rendering.colour import categories as categories
    from vitscope.rendering.colour import check_colour as check_colour
    from vitscope.rendering.colour import colourise as colourise
    from vitscope.rendering.colour import default_colour as default_colour
    from vitscope.rendering.files import save_png as save_png
    from vitscope.rendering.files import write_atomically as write_atomically
    from vitscope.rendering.maps.animation import save_animation as save_animation
    from vitscope.rendering.maps.flow import flow_frames as flow_frames
    from vitscope.rendering.maps.flow import flow_strip as flow_strip
    from vitscope.rendering.maps.overlay import overlay as overlay
    from vitscope.rendering.maps.scaling import SCALINGS as SCALINGS
    from vitscope.rendering.maps.scaling import ScaledMaps as ScaledMaps
    from vitscope.rendering.maps.scaling import scale as scale
    from vitscope.rendering.maps.sheet import grid as grid
    from vitscope.rendering.maps.sheet import method_sheet as method_sheet
    from vitscope.rendering.pages.page import Page as Page
    from vitscope.rendering.pages.tables import Column as Column
    from vitscope.rendering.pages.tables import Measure as Measure
    from vitscope.rendering.plots.charts import bars as bars
    from vitscope.rendering.plots.charts import correlation_matrix as correlation_matrix
    from vitscope.rendering.plots.charts import curves as curves
    from vitscope.rendering.plots.charts import head_matrix as head_matrix
    from vitscope.rendering.plots.charts import scatter as scatter
    from vitscope.rendering.plots.figure import figure_png as figure_png
    from vitscope.rendering.plots.figure import figure_svg as figure_svg
    from vitscope.rendering.plots.figure import save_figure as save_figure

_HOMES = {
    "Column": "pages.tables",
    "Measure": "pages.tables",
    "Page": "pages.page",
    "SCALINGS": "maps.scaling",
    "ScaledMaps": "maps.scaling",
    "bars": "plots.charts",
    "categories": "colour",
    "check_colour": "colour",
    "colourise": "colour",
    "correlation_matrix": "plots.charts",
    "curves": "plots.charts",
    "default_colour": "colour",
    "figure_png": "plots.figure",
    "figure_svg": "plots.figure",
    "flow_frames": "maps.flow",
    "flow_strip": "maps.flow",
    "grid": "maps.sheet",
    "overlay": "maps.overlay",
    "head_matrix": "plots.charts",
    "method_sheet": "maps.sheet",
    "save_animation": "maps.animation",
    "save_figure": "plots.figure",
    "save_png": "files",
    "scale": "maps.scaling",
    "scatter": "plots.charts",
    "write_atomically": "files",
}

__all__ = [
    "SCALINGS",
    "Column",
    "Measure",
    "Page",
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
