"""One map over its picture, in pixels or as SVG. What is not said comes from ``vitscope.reports.words``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from PIL import Image

from vitscope.errors import RenderingError
from vitscope.methods import Explanation
from vitscope.methods.explaining.original import Extent
from vitscope.options.door import checked
from vitscope.rendering.maps import overlay as overlays
from vitscope.rendering.maps import vector
from vitscope.rendering.maps.blending import OPACITY
from vitscope.rendering.maps.resample import check_upsampling
from vitscope.rendering.maps.scaling import ScaledMaps, scale
from vitscope.reports import words
from vitscope.reports.explanations.contents import On, drawn_on, place_of, refuse_film, values_of


@checked(RenderingError)
def overlay(
    explanation: Explanation,
    index: int = 0,
    *,
    block: int | None = None,
    scope: str = "map",
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
        block: The map of the flow after this block, in the place of the whole map.
        scope: What shares one scale: the "map" alone, or all maps of its "flow".
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
        MethodError: The method has no map after that block.
        RenderingError: An unknown name, or a number out of bounds.

    Example:
        >>> import vitscope as vs
        >>> vit = vs.open_model("bundled/shapes")
        >>> explained = vs.explain(vit, vs.worlds.world("shapes").sample(1, seed=1).images())
        >>> vs.reports.overlay(explained, style="contour").mode
        'RGB'
    """
    index, scaled, shown = _placed(explanation, index, block, scope, scaling, on, picture)
    return overlays.overlay(
        scaled,
        shown,
        style=style,
        colour=colour,
        upsampling=upsampling,
        opacity=opacity,
        size=size,
        **_said(explanation, index, block, title, caption),
        colour_bar=colour_bar,
        notes=notes,
    )


@checked(RenderingError)
def overlay_svg(
    explanation: Explanation,
    index: int = 0,
    *,
    block: int | None = None,
    scope: str = "map",
    on: On = "input",
    picture: Image.Image | None = None,
    scaling: str | None = None,
    colour: str | None = None,
    upsampling: str = "nearest",
    opacity: float = OPACITY,
    size: int = 1,
    title: str | None = None,
    caption: str | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> str:
    """Draw the map of one picture over it as SVG: a rectangle for every cell, letters as letters.

    Args:
        explanation: Maps of pictures.
        index: Which of its pictures, from 0.
        block: The map of the flow after this block, in the place of the whole map.
        scope: What shares one scale: the "map" alone, or all maps of its "flow".
        on: "input" is what the model saw, "original" the picture before resize and crop.
        picture: What to draw on, at any size; None takes what the explanation keeps.
        scaling: How values become colours, as for :func:`vitscope.reports.overlay`.
        colour: A colour map, likewise.
        upsampling: A vector drawing shows the model's own cells, whatever is asked for here.
        opacity: How far the highest values cover the picture, 0 to 1.
        size: 1, 2 or 4 times the usual size.
        title: None is the method and what it explains; an empty text leaves it out.
        caption: None says which channels are shown, where that is needed.
        metadata: What is kept inside; None is what made the map.

    Returns:
        The SVG text, with what made the map in its element ``metadata``.

    Raises:
        PictureError: There is no such picture, or no picture to draw on.
        MethodError: The method has no map after that block.
        RenderingError: An unknown name, or a number out of bounds.

    Example:
        >>> import vitscope as vs
        >>> vit = vs.open_model("bundled/shapes")
        >>> explained = vs.explain(vit, vs.worlds.world("shapes").sample(1, seed=1).images())
        >>> vs.reports.overlay_svg(explained).count("data-row=")  # 12 x 12 cells
        144
    """
    check_upsampling(upsampling)
    index, scaled, shown = _placed(explanation, index, block, scope, scaling, on, picture)
    return vector.overlay_svg(
        scaled,
        shown,
        colour=colour,
        opacity=opacity,
        size=size,
        **_said(explanation, index, block, title, caption),
        metadata=words.made_by(explanation, index) if metadata is None else metadata,
    )


def scaled_map(
    explanation: Explanation, index: int, block: int | None, scope: str, scaling: str | None, extent: Extent
) -> ScaledMaps:
    """A map of one picture, ready to be coloured. Raises MethodError where the method has none after that block."""
    chosen = scaling or words.map_scaling(explanation.method)
    if block is None:
        return scale(values_of(explanation.maps[index]), chosen, extent=extent)
    step = words.step_of(explanation, block)
    assert explanation.flow is not None
    return scale(values_of(explanation.flow[index]), chosen, scope=scope, extent=extent).at(step)


def _placed(
    explanation: Explanation,
    index: int,
    block: int | None,
    scope: str,
    scaling: str | None,
    on: On,
    picture: Image.Image | None,
) -> tuple[int, ScaledMaps, Image.Image]:
    """Which picture it is, its map ready to be coloured, and what that is drawn on."""
    index = place_of(explanation, index)
    refuse_film(explanation)
    shown, extent = drawn_on(explanation, index, on, picture)
    return index, scaled_map(explanation, index, block, scope, scaling, extent), shown


def _said(
    explanation: Explanation, index: int, block: int | None, title: str | None, caption: str | None
) -> dict[str, Any]:
    """What stands beside a map: title, caption, and the shares of prefix tokens, which are those of the whole map."""
    return {
        "title": _title(explanation, index, block) if title is None else title,
        "caption": words.map_caption(explanation) if caption is None else caption,
        "prefix": words.prefix_shares(explanation, index) if block is None else None,
    }


def _title(explanation: Explanation, index: int, block: int | None) -> str:
    title = words.map_title(explanation, index)
    return title if block is None else f"{title}, after {words.flow_steps(explanation)[0]} {block}"
