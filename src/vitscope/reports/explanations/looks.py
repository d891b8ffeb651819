"""How maps are drawn, chosen once for many drawings."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vitscope.errors import RenderingError
from vitscope.options.door import check_fields
from vitscope.rendering.maps.overlay import check_size
from vitscope.rendering.maps.panel import check_style
from vitscope.rendering.maps.resample import check_upsampling
from vitscope.rendering.maps.scaling import scale


@dataclass(frozen=True)
class Looks:
    """How maps are drawn; checked when it is made, so that a wrong name is found before any work.

    Args:
        style: How map and picture go together, such as "alpha", "contour" or "map".
        scaling: How values become colours; None: what suits the method, zero in the middle for signed maps.
        upsampling: "nearest" shows the model's own cells.
        size: 1, 2 or 4 times the usual size.

    Raises:
        RenderingError: a name or size that there is not.

    Example:
        >>> from dataclasses import asdict
        >>> asdict(Looks(style="contour"))
        {'style': 'contour', 'scaling': None, 'upsampling': 'nearest', 'size': 1}
    """

    style: str = "alpha"
    scaling: str | None = None
    upsampling: str = "nearest"
    size: int = 1

    def __post_init__(self) -> None:
        check_fields(self, RenderingError)
        check_style(self.style)
        check_upsampling(self.upsampling)
        check_size(self.size)
        if self.scaling is not None:
            scale(np.zeros((1, 1, 1)), self.scaling)
