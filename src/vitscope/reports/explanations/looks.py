"""How maps are drawn, chosen once for many drawings."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Annotated, Any

import numpy as np

from vitscope.errors import RenderingError
from vitscope.options.bounds import Range
from vitscope.options.door import check_fields
from vitscope.rendering.colour import MAGNITUDE_COLOURS, SIGNED_COLOURS, check_colour
from vitscope.rendering.maps.blending import OPACITY
from vitscope.rendering.maps.overlay import check_size
from vitscope.rendering.maps.panel import check_style
from vitscope.rendering.maps.resample import check_upsampling
from vitscope.rendering.maps.scaling import scale
from vitscope.reports import words
from vitscope.reports.explanations.contents import On


@dataclass(frozen=True)
class Looks:
    """How maps are drawn; checked when it is made, so that a wrong name is found before any work.

    Args:
        style: How map and picture go together, such as "alpha", "contour" or "map".
        scaling: How values become colours; None: what suits the method, zero in the middle for signed maps.
        upsampling: "nearest" shows the model's own cells.
        size: 1, 2 or 4 times the usual size.
        colour: A colour map, for the maps that it suits (signed or not); None: what suits the map.
        on: "input", what the model saw, or "original", the picture before resize and crop.
        opacity: How far the highest values cover the picture, 0 to 1.

    Raises:
        RenderingError: a name or size that there is not.

    Example:
        >>> from dataclasses import asdict
        >>> asdict(Looks(style="contour"))
        {'style': 'contour', 'scaling': None, 'upsampling': 'nearest', 'size': 1, 'colour': None, 'opacity': 0.85,
         'on': 'input'}
    """

    style: str = "alpha"
    scaling: str | None = None
    upsampling: str = "nearest"
    size: int = 1
    colour: str | None = None
    opacity: Annotated[float, Range(0, 1)] = OPACITY
    on: On = "input"

    def __post_init__(self) -> None:
        check_fields(self, RenderingError)
        check_style(self.style)
        check_upsampling(self.upsampling)
        check_size(self.size)
        if self.colour is not None and self.colour not in SIGNED_COLOURS:
            check_colour(self.colour, diverging=False)
        if self.scaling is not None:
            scale(np.zeros((1, 1, 1)), self.scaling)


def scaling_of(method: str, looks: Looks | None) -> str:
    """How values of a method's map become colours."""
    return words.map_scaling(method) if looks is None or looks.scaling is None else looks.scaling


def colour_of(method: str, looks: Looks | None) -> str | None:
    """The colour map that was asked for where it suits the map, signed or not; None for the map's own."""
    asked = None if looks is None else looks.colour
    suits = SIGNED_COLOURS if scaling_of(method, looks) == "signed" else MAGNITUDE_COLOURS
    return asked if asked in suits else None


def arguments_for(method: str, looks: Looks) -> dict[str, Any]:
    """What a method's map is drawn with."""
    return {**asdict(looks), "colour": colour_of(method, looks)}
