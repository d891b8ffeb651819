"""Every head's attention on one picture, as a sheet of blocks × heads."""

from __future__ import annotations

import html

import numpy as np
from PIL import Image, ImageDraw

from vitscope.errors import RenderingError
from vitscope.heads.head_look import HeadLook
from vitscope.options.door import checked
from vitscope.rendering.maps.scaling import scale
from vitscope.rendering.maps.sheet import method_sheet
from vitscope.rendering.pages.markup import png_uri

MARK = (255, 64, 64)
"""Colour of the frame around the patch that asks."""


@checked(RenderingError)
def heads_sheet(
    seen: HeadLook,
    *,
    style: str = "alpha",
    scaling: str = "minmax",
    colour: str | None = None,
    upsampling: str = "nearest",
    opacity: float = 0.6,
    size: int = 1,
    title: str | None = None,
) -> Image.Image:
    """Draw what every head looks at on one picture: a row per block, a column per head, both counted from 0.

    Each head has its own scale; its smallest and largest share of attention stand under its map.

    Args:
        seen: What :func:`vitscope.heads.look` found.
        style: How map and picture are combined, as for :func:`vitscope.reports.overlay`.
        scaling: How values become colours, likewise.
        colour: A colour map, likewise.
        upsampling: How maps are enlarged, likewise.
        opacity: Opacity of the maps, 0 to 1.
        size: 1, 2 or 4 times the usual size.
        title: None says what asks; an empty text leaves it out.

    Returns:
        An RGB image.

    Raises:
        RenderingError: An unknown name, or a number out of bounds.

    Example:
        >>> import vitscope as vs
        >>> vit = vs.open_model("bundled/shapes")
        >>> seen = vs.heads.look(vit, vs.worlds.world("shapes").sample(1, seed=1).images())
        >>> vs.reports.heads_sheet(seen, style="map").mode
        'RGB'
    """
    picture = marked(seen)
    maps = {
        f"head {head}": scale(seen.maps[:, head], scaling, extent=seen.extent)
        for head in range(seen.maps.shape[1])
    }
    asked = f"What each head attends to, asked by {'all tokens' if seen.query == 'mean' else seen.query}"
    made = f"{seen.metadata.get('model', '')}, weights {seen.metadata.get('fingerprint', '')}"
    return method_sheet(
        maps, [picture] * len(seen.blocks), [f"block {block}" for block in seen.blocks], style=style, colour=colour,
        upsampling=upsampling, opacity=opacity, size=size, show_pictures=False,
        title=(asked if title is None else title) or None, caption=made if seen.metadata else "",
    )  # fmt: skip


def marked(seen: HeadLook) -> Image.Image:
    """The picture, with a frame around the patch that asks."""
    picture = Image.fromarray(np.ascontiguousarray(seen.picture))
    if seen.place is None:
        return picture
    (row, column), (rows, columns) = seen.place, seen.maps.shape[2:]
    top, left, bottom, right = seen.extent
    height, width = (bottom - top) * picture.height / rows, (right - left) * picture.width / columns
    x, y = left * picture.width + column * width, top * picture.height + row * height
    thick = max(1, min(picture.size) // 100)
    ImageDraw.Draw(picture).rectangle(
        (round(x), round(y), round(x + width) - 1, round(y + height) - 1), outline=MARK, width=thick
    )
    return picture


def look_html(seen: HeadLook) -> str:
    """The sheet, as an image that is as wide as there is room."""
    name = html.escape(f"attention of {seen.query}, blocks × heads")
    source = png_uri(heads_sheet(seen).quantize(128, dither=Image.Dither.NONE))
    head = html.escape(repr(seen)[1:-1])
    return f'<div><b>{head}</b><br/><img alt="{name}" style="max-width:100%" src="{source}"/></div>'
