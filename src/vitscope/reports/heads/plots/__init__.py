"""The plots of this room, built from its records and drawn by the rendering room."""

from vitscope.reports.heads.plots.labels import Drawn
from vitscope.reports.heads.plots.looks import (
    code_map,
    distance_trend,
    image_grid,
    offset_grid,
    pattern_mix,
    prototype_grid,
    strength_curves,
)
from vitscope.reports.heads.plots.scores import (
    agreement_matrix,
    cumulative_curves,
    importance_by_pattern,
    importance_matrix,
    metric_scatter,
    partial_curves,
    partial_frame_curves,
)

__all__ = [
    "Drawn",
    "agreement_matrix",
    "code_map",
    "cumulative_curves",
    "distance_trend",
    "image_grid",
    "importance_by_pattern",
    "importance_matrix",
    "metric_scatter",
    "offset_grid",
    "partial_curves",
    "partial_frame_curves",
    "pattern_mix",
    "prototype_grid",
    "strength_curves",
]
