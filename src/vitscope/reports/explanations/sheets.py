"""The maps of several methods side by side on one sheet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from PIL import Image

from vitscope.errors import RenderingError
from vitscope.methods import Explanation
from vitscope.options.door import checked
from vitscope.rendering.maps.blending import OPACITY
from vitscope.rendering.maps.scaling import ScaledMaps, scale
from vitscope.rendering.maps.sheet import method_sheet
from vitscope.reports import words
from vitscope.reports.explanations.contents import On, by_method, drawn_on, place_of, refuse_film, values_of

PER_ROW = 7
"""Methods in a row of a sheet; more go on below."""


@checked(RenderingError)
def sheet(
    explanations: Explanation | Sequence[Explanation] | Mapping[str, Explanation],
    rows: Sequence[int] | None = None,
    *,
    on: On = "input",
    pictures: Sequence[Image.Image] | None = None,
    names: Sequence[str] | None = None,
    style: str = "alpha",
    scaling: str | None = None,
    colour: str | None = None,
    upsampling: str = "nearest",
    opacity: float = OPACITY,
    size: int = 1,
    title: str = "",
    caption: str | None = None,
) -> Image.Image:
    """Draw the maps of several methods side by side: a row per picture, a column per method, at most seven in a row.

    Args:
        explanations: One for each method, of the same pictures, as ``vs.explain`` gives for several methods.
        rows: Which of the pictures, from 0; None takes all.
        on: "input" is what the model saw; "original" the picture before resize and crop, of one picture.
        pictures: What to draw on, one for each row; None takes what the explanations keep, or reads files again.
        names: Names of the rows; None takes what is explained on each picture.
        style: How map and picture are combined, as for :func:`vitscope.reports.overlay`.
        scaling: How values become colours, likewise.
        colour: A colour map, likewise.
        upsampling: How maps are enlarged, likewise.
        opacity: How far the highest values cover the picture, 0 to 1; lower ones cover less.
        size: 1, 2 or 4 times the usual size.
        title: Printed above; an empty text leaves it out.
        caption: None is the model with its weights.

    Returns:
        An RGB image.

    Raises:
        PictureError: Explanations of different pictures, films, or no pictures to draw on.
        RenderingError: An unknown name, or a number out of bounds.

    Example:
        >>> import vitscope as vs
        >>> vit = vs.open_model("bundled/shapes")
        >>> pictures = vs.worlds.world("shapes").sample(2, seed=1).images()
        >>> vs.reports.sheet(vs.explain(vit, pictures, ["dart", "rollout"])).mode
        'RGB'
    """
    given = by_method(explanations)
    first = next(iter(given.values()))
    for each in given.values():
        refuse_film(each)
    chosen = [place_of(first, row) for row in (range(len(first)) if rows is None else rows)]
    if on == "original" and len(chosen) != 1:
        raise RenderingError(
            f"a sheet on the original shows one picture, got {len(chosen)}; give rows=[index], or draw on the input"
        )
    given_pictures = [None] * len(chosen) if pictures is None else list(pictures)
    if len(given_pictures) != len(chosen):
        raise RenderingError(f"expected {len(chosen)} pictures, one for each row, got {len(given_pictures)}")
    shown = [drawn_on(first, row, on, each) for row, each in zip(chosen, given_pictures, strict=True)]
    called = [words.explained(first, row) for row in chosen] if names is None else list(names)
    maps = {
        name: scale(
            values_of(each.maps[chosen]),
            scaling or words.map_scaling(each.method),
            extent=shown[0][1] if on == "original" else each.extent,
        )
        for name, each in given.items()
    }
    made = words.made_by(first)
    closing = f"{made['model']}, weights {made['weights']}" if caption is None else caption
    columns = list(maps)
    lines = -(-len(columns) // PER_ROW)
    width = -(-len(columns) // lines)
    parts = []
    for start in range(0, len(columns), width):
        part: dict[str, ScaledMaps] = {name: maps[name] for name in columns[start : start + width]}
        parts.append(
            method_sheet(
                part,
                [picture for picture, _ in shown],
                called,
                style=style,
                colour=colour,
                upsampling=upsampling,
                opacity=opacity,
                size=size,
                title=title if start == 0 and title else None,
                caption=closing if start + width >= len(columns) else "",
            )
        )
    return _below_each_other(parts)


def _below_each_other(parts: Sequence[Image.Image]) -> Image.Image:
    if len(parts) == 1:
        return parts[0]
    size = (max(part.width for part in parts), sum(part.height for part in parts))
    page = Image.new("RGB", size, "white")
    down = 0
    for part in parts:
        page.paste(part, (0, down))
        down += part.height
    return page
