"""Every head's attention on one picture, as a sheet of blocks × heads."""

from __future__ import annotations

import html

import numpy as np
from PIL import Image, ImageDraw

from vitscope.errors import RenderingError
from vitscope.heads.head_look import HeadLook
from vitscope.options.door import checked
from vitscope.rendering.maps.blending import OPACITY
from vitscope.rendering.maps.overlay import check_size
from vitscope.rendering.maps.panel import draw_panel, fit
from vitscope.rendering.maps.scaling import scale
from vitscope.rendering.maps.sheet import CELL_SIDE, grid
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
    opacity: float = OPACITY,
    size: int = 1,
    title: str | None = None,
) -> Image.Image:
    """Draw what every head looks at on one picture: a row per block, a column per head, both counted from 0.

    Each head has its own scale; its largest share of attention on one patch stands under its map. A patch that asks is
    framed in red.

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
    check_size(size)
    picture = Image.fromarray(np.ascontiguousarray(seen.picture))
    place = fit(picture.size, CELL_SIDE * size)
    cells: list[list[Image.Image | None]] = []
    captions = []
    for row in seen.maps:
        drawn: list[Image.Image | None] = []
        for one in row:
            panel = None
            if np.isfinite(one).any():  # else the block has fewer heads
                scaled = scale(one[None], scaling, extent=seen.extent).at(0)
                panel = draw_panel(
                    scaled, picture, place, style=style, colour=colour, upsampling=upsampling, opacity=opacity
                )
                mark_query(panel, seen)
            drawn.append(panel)
        cells.append(drawn)
        captions.append(
            [f"up to {100 * float(one.max()):.3g} %" if np.isfinite(one).any() else "" for one in row]
        )
    asked = f"What each head attends to, asked by {'all tokens' if seen.query == 'mean' else seen.query}"
    made = f"{seen.metadata.get('model', '')}, weights {seen.metadata.get('fingerprint', '')}"
    note = f"below each map the largest share of attention on one patch; each head on a scale of its own ({scaling})"
    return grid(
        cells, [f"block {block}" for block in seen.blocks], [f"head {head}" for head in range(seen.maps.shape[1])],
        cell_captions=captions, size=size, title=(asked if title is None else title) or None,
        caption="\n".join([*([made] if seen.metadata else []), note]),
    )  # fmt: skip


def mark_query(panel: Image.Image, seen: HeadLook) -> None:
    """Draw a frame around the patch that asks; the panel is changed."""
    if seen.place is None:
        return
    (row, column), (rows, columns) = seen.place, seen.maps.shape[2:]
    top, left, bottom, right = seen.extent
    height, width = (bottom - top) * panel.height / rows, (right - left) * panel.width / columns
    x, y = left * panel.width + column * width, top * panel.height + row * height
    box = (round(x), round(y), round(x + width) - 1, round(y + height) - 1)
    ImageDraw.Draw(panel).rectangle(box, outline=MARK, width=max(1, min(panel.size) // 80))


def look_html(seen: HeadLook) -> str:
    """The sheet, as an image that is as wide as there is room."""
    name = html.escape(f"attention of {seen.query}, blocks × heads")
    source = png_uri(heads_sheet(seen).quantize(128, dither=Image.Dither.NONE))
    head = html.escape(repr(seen)[1:-1])
    return f'<div><b>{head}</b><br/><img alt="{name}" style="max-width:100%" src="{source}"/></div>'
