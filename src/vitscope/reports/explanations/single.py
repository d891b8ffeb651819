"""One map over its picture. Title, scale and caption come from ``vitscope.reports.words`` where none is given."""

from __future__ import annotations

from PIL import Image

from vitscope.errors import RenderingError
from vitscope.methods import Explanation
from vitscope.options.door import checked
from vitscope.rendering.maps import overlay as overlays
from vitscope.rendering.maps.blending import OPACITY
from vitscope.reports import words
from vitscope.reports.explanations.contents import On, drawn_on, place_of, refuse_film, values_of


@checked(RenderingError)
def overlay(
    explanation: Explanation,
    index: int = 0,
    *,
    on: On = "input",
    picture: Image.Image | None = None,
    style: str = "alpha",
    scaling: str | None = None,
    colour: str | None = None,
    upsampling: str = "nearest",
    opacity: float = OPACITY,
    size: int = 1,
    title: str | None = None,
    caption: str | None = None,
    colour_bar: bool = True,
    notes: bool = True,
) -> Image.Image:
    """Draw the map of one picture over it, with a colour bar of the raw values.

    Args:
        explanation: Maps of pictures.
        index: Which of its pictures, from 0.
        on: "input" is what the model saw, "original" the picture before the model's resize and crop; what the crop left
            out stays bare.
        picture: What to draw on, at any size; None takes what the model saw, which the explanation keeps, or reads the
            picture's file again.
        style: "alpha", "contour", "spotlight", "side-by-side" or "map".
        scaling: How values become colours; None takes what suits the method, with zero in the middle for signed maps.
        colour: A colour map; None takes the one that suits the scaling.
        upsampling: "nearest" shows the model's own patches.
        opacity: How far the highest values cover the picture, 0 to 1; lower ones cover less.
        size: 1, 2 or 4 times the usual size.
        title: None is the method and what it explains; an empty text leaves it out.
        caption: None says which channels are shown, where that is needed; an empty text leaves it out.
        colour_bar: True draws the colour bar.
        notes: True adds a line on how the map is displayed.

    Returns:
        An RGB image.

    Raises:
        PictureError: There is no such picture, no picture to draw on, one of another shape than the
            explained one, or the explanation is of a film.
        RenderingError: An unknown name, or a number out of bounds.

    Example:
        >>> import vitscope as vs
        >>> vit = vs.open_model("bundled/shapes")
        >>> explained = vs.explain(vit, vs.worlds.world("shapes").sample(1, seed=1).images())
        >>> vs.reports.overlay(explained, style="contour").mode
        'RGB'
    """
    index = place_of(explanation, index)
    refuse_film(explanation)
    shown, extent = drawn_on(explanation, index, on, picture)
    return overlays.overlay(
        values_of(explanation.maps[index]),
        shown,
        style=style,
        scaling=scaling or words.map_scaling(explanation.method),
        colour=colour,
        upsampling=upsampling,
        opacity=opacity,
        size=size,
        title=words.map_title(explanation, index) if title is None else title,
        caption=words.map_caption(explanation) if caption is None else caption,
        prefix=words.prefix_shares(explanation, index),
        colour_bar=colour_bar,
        notes=notes,
        extent=extent,
    )
