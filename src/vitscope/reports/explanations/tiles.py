"""Small pictures with a map on them, without title, bar or words: for lists of many pictures."""

from __future__ import annotations

from typing import Annotated, Any

from PIL import Image

from vitscope.errors import RenderingError
from vitscope.methods import Explanation
from vitscope.methods.explaining.original import Extent
from vitscope.options.bounds import Range
from vitscope.options.door import checked
from vitscope.rendering.maps.panel import draw_panel, fit
from vitscope.rendering.maps.scaling import WHOLE, scale
from vitscope.reports import words
from vitscope.reports.explanations.contents import kept_picture, place_of, refuse_film, values_of


@checked(RenderingError)
def tile(
    explanation: Explanation, index: int = 0, *, side: Annotated[int, Range(1, 4_096)] = 96
) -> Image.Image:
    """Draw the map of one picture over it, small and bare.

    Args:
        explanation: Maps of pictures.
        index: Which of its pictures, from 0.
        side: Of the longer side, in pixels.

    Returns:
        An RGB image.

    Raises:
        PictureError: There is no such picture, the explanation keeps none, or it is of a film.

    Example:
        >>> import vitscope as vs
        >>> vit = vs.open_model("bundled/shapes")
        >>> explained = vs.explain(vit, vs.worlds.world("shapes").sample(1, seed=1).images())
        >>> vs.reports.tile(explained).size
        (96, 96)
    """
    index = place_of(explanation, index)
    refuse_film(explanation)
    picture = kept_picture(explanation, index)
    return map_tile(
        explanation.maps[index], explanation.method, picture, extent=explanation.extent, side=side
    )


def map_tile(
    values: Any, method: str, picture: Image.Image | None, *, extent: Extent = WHOLE, side: int = 96
) -> Image.Image:
    """The same of a map (h, w) that is no explanation any more; without a picture the map alone."""
    scaled = scale(values_of(values), words.map_scaling(method), extent=extent)
    shape = picture.size if picture is not None else scaled.values.shape[::-1]
    style = "map" if picture is None else "alpha"
    return draw_panel(scaled, picture, fit((shape[0], shape[1]), side), style=style)
