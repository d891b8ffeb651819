"""Maps as pictures: one over its picture, all steps of a flow or a film in a row or one after the other, and sheets.

Titles, scales and captions come from ``vitscope.reports.words``; every function takes another where it is given.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vitscope.errors import MethodError, PictureError, RenderingError
from vitscope.methods import Explanation
from vitscope.options.door import checked
from vitscope.rendering.maps import animation as animations
from vitscope.rendering.maps import flow as flows
from vitscope.rendering.maps import overlay as overlays
from vitscope.rendering.maps.scaling import ScaledMaps, scale
from vitscope.rendering.maps.sheet import method_sheet
from vitscope.reports import words

PER_ROW = 7
"""Methods in a row of a sheet; more go on below."""


@checked(RenderingError)
def overlay(
    explanation: Explanation,
    index: int = 0,
    *,
    picture: Image.Image | None = None,
    style: str = "alpha",
    scaling: str | None = None,
    colour: str | None = None,
    upsampling: str = "nearest",
    opacity: float = 0.6,
    size: int = 1,
    title: str | None = None,
    caption: str | None = None,
    colour_bar: bool = True,
    notes: bool = True,
) -> Image.Image:
    """The map of one picture drawn over it, with a colour bar of its raw values.

    Args:
        explanation: Maps of pictures.
        index: Which of its pictures.
        picture: What to draw on; None: what the model saw, which the explanation keeps.
        style: "alpha", "contour", "spotlight", "side-by-side" or "map".
        scaling: How values become colours; None: what suits the method, zero in the middle for signed maps.
        colour: A colour map; None: the one that suits the scaling.
        upsampling: "nearest" shows the model's own cells.
        opacity: Of the map over the picture, 0 to 1.
        size: 1, 2 or 4 times the usual size.
        title: None: the method and what it explains; an empty text: none.
        caption: None: which channels are shown, where that must be said; an empty text: none.
        colour_bar: Whether the bar is drawn.
        notes: Whether a line says how the map is displayed.

    Returns:
        An RGB picture.

    Raises:
        PictureError: no such picture, no picture to draw on, or a film.
        RenderingError: an unknown name or a number out of bounds.

    Example:
        ``vs.reports.overlay(vs.explain(vit, "heron.jpg"), style="contour").save("heron.png")``
    """
    index = place_of(explanation, index)
    refuse_film(explanation)
    return overlays.overlay(
        _values(explanation.maps[index]),
        picture if picture is not None else kept_picture(explanation, index),
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
        extent=explanation.extent,
    )


@checked(RenderingError)
def strip(
    explanation: Explanation,
    index: int = 0,
    *,
    picture: Image.Image | Sequence[Image.Image] | None = None,
    style: str = "alpha",
    scaling: str | None = None,
    colour: str | None = None,
    upsampling: str = "nearest",
    opacity: float = 0.6,
    size: int = 1,
    columns: int | None = None,
    title: str | None = None,
    caption: str | None = None,
) -> Image.Image:
    """One picture's flow, block by block, as a row of small maps with one colour bar; of a film its steps in time.

    Args:
        picture: What to draw on, for a film one picture per step; None: what the explanation keeps.
        columns: Maps in a row; None: all up to 12, else rows of equal length.

    The other arguments are those of :func:`overlay`.

    Raises:
        MethodError: the method has no flow. PictureError: no such picture.
        RenderingError: an unknown name or a number out of bounds.

    Example:
        ``vs.reports.strip(vs.explain(vit, "heron.jpg", "daam"))``
    """
    index = place_of(explanation, index)
    values, kind, count, first = _steps(explanation, index)
    return flows.flow_strip(
        values,
        _picture_of_steps(explanation, index, picture),
        style=style,
        scaling=scaling or words.flow_scaling(explanation.method),
        colour=colour,
        upsampling=upsampling,
        opacity=opacity,
        size=size,
        columns=columns,
        labels=words.step_names(kind, count, first),
        title=words.map_title(explanation, index) if title is None else title,
        caption=words.map_caption(explanation) if caption is None else caption,
        extent=explanation.extent,
    )


@checked(RenderingError)
def frames(
    explanation: Explanation,
    index: int = 0,
    *,
    picture: Image.Image | Sequence[Image.Image] | None = None,
    style: str = "alpha",
    scaling: str | None = None,
    colour: str | None = None,
    upsampling: str = "nearest",
    opacity: float = 0.6,
    size: int = 1,
    beside_picture: bool | None = None,
    title: str | None = None,
    caption: str | None = None,
) -> list[Image.Image]:
    """One picture's flow as pictures of one size, one per block; of a film one per step in time.

    Args:
        beside_picture: Whether the plain picture stands to the left; None: for a flow, where there is a picture.

    The other arguments are those of :func:`strip`, and so is what is raised.

    Example:
        ``vs.reports.frames(vs.explain(vit, "heron.jpg", "daam"))[-1]``
    """
    index = place_of(explanation, index)
    values, kind, count, first = _steps(explanation, index)
    return flows.flow_frames(
        values,
        _picture_of_steps(explanation, index, picture),
        style=style,
        scaling=scaling or words.flow_scaling(explanation.method),
        colour=colour,
        upsampling=upsampling,
        opacity=opacity,
        size=size,
        beside_picture=not is_film(explanation) if beside_picture is None else beside_picture,
        labels=words.step_places(kind, count, first),
        title=words.map_title(explanation, index) if title is None else title,
        caption=words.map_caption(explanation) if caption is None else caption,
        extent=explanation.extent,
    )


@checked(RenderingError)
def animation(
    explanation: Explanation,
    index: int,
    path: str | os.PathLike[str],
    *,
    seconds_per_frame: float = 0.5,
    **looks: Any,
) -> Path:
    """Write the pictures that :func:`frames` draws as .gif, .webp or .mp4; returns the path.

    Args:
        path: Where to; its ending says the format.
        seconds_per_frame: How long each picture stays. The last of a flow stays longer, a film goes on at once.
        looks: The arguments of :func:`frames`.

    Raises:
        MissingExtraError: .mp4 is wanted and PyAV is not installed.
        OutputError: the file cannot be written. Else as :func:`frames`.

    Example:
        ``vs.reports.animation(vs.explain(vit, "heron.jpg", "daam"), 0, "heron.gif")``
    """
    drawn = frames(explanation, index, **looks)
    return animations.save_animation(
        drawn,
        Path(path),
        seconds_per_frame=seconds_per_frame,
        hold_last=0 if is_film(explanation) else 1.5,
        metadata=words.made_by(explanation),
    )


@checked(RenderingError)
def sheet(
    explanations: Explanation | Sequence[Explanation] | Mapping[str, Explanation],
    rows: Sequence[int] | None = None,
    *,
    pictures: Sequence[Image.Image] | None = None,
    names: Sequence[str] | None = None,
    style: str = "alpha",
    scaling: str | None = None,
    colour: str | None = None,
    upsampling: str = "nearest",
    opacity: float = 0.6,
    size: int = 1,
    title: str = "",
    caption: str | None = None,
) -> Image.Image:
    """The maps of several methods side by side: a row per picture, a column per method, seven methods in a row.

    Args:
        explanations: One for each method, of the same pictures, such as ``vs.explain`` gives for several methods.
        rows: Which of the pictures; None: all.
        pictures: What to draw on, one for each row; None: what the explanations keep.
        names: What each row is called; None: what is explained on the picture.
        caption: None: the model and its weights.

    The other arguments are those of :func:`overlay`.

    Raises:
        PictureError: explanations of other pictures, films, or no pictures to draw on.
        RenderingError: an unknown name or a number out of bounds.

    Example:
        ``vs.reports.sheet(vs.explain(vit, "photos", ["gmar", "dart"])).save("sheet.png")``
    """
    given = by_method(explanations)
    first = next(iter(given.values()))
    for each in given.values():
        refuse_film(each)
    chosen = [place_of(first, row) for row in (range(len(first)) if rows is None else rows)]
    drawn_on = [kept_picture(first, row) for row in chosen] if pictures is None else list(pictures)
    called = [words.explained(first, row) for row in chosen] if names is None else list(names)
    maps = {
        name: scale(_values(each.maps[chosen]), scaling or words.map_scaling(each.method), extent=each.extent)
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
                drawn_on,
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


def by_method(
    explanations: Explanation | Sequence[Explanation] | Mapping[str, Explanation],
) -> dict[str, Explanation]:
    """Explanations of the same pictures by the name of their method, in any of the forms in which they are given.

    Raises PictureError for none, and for explanations of different numbers of pictures."""
    if isinstance(explanations, Explanation):
        explanations = [explanations]
    if not isinstance(explanations, Mapping):
        explanations = {each.method: each for each in explanations}
    found = dict(explanations)
    counts = {len(each) for each in found.values()}
    if len(counts) != 1 or 0 in counts:
        raise PictureError(
            f"expected explanations of the same pictures, got {len(found)} of {sorted(counts)} pictures; "
            "explain all methods at once"
        )
    return found


def kept_picture(explanation: Explanation, index: int) -> Image.Image:
    """What the model saw of a picture. Raises PictureError when the explanation holds no pictures."""
    if explanation.pictures is None:
        raise PictureError("this explanation holds no pictures to draw on; explain with keep_pictures=True")
    return Image.fromarray(explanation.pictures[index].numpy())


def is_film(explanation: Explanation) -> bool:
    """Whether the maps are of films: one map for each step in time."""
    return explanation.maps.dim() == 4


def place_of(explanation: Explanation, index: int) -> int:
    """The place of a picture, counted from 0. Raises PictureError when there is none."""
    count = len(explanation)
    if not -count <= index < count:
        raise PictureError(
            f"expected a picture from 0 to {count - 1}, got {index}; pictures are counted from 0"
        )
    return int(index) % count


def refuse_film(explanation: Explanation) -> None:
    """Raise PictureError for the explanation of films, which has more than one map to draw."""
    if is_film(explanation):
        raise PictureError(
            "this is the explanation of a film: draw it with strip(index) or animation(index, path)"
        )


def _steps(explanation: Explanation, index: int) -> tuple[NDArray[np.float32], str, int, int]:
    """The maps of one picture's flow or one film, the kind of step, how many there are, and the first one's number."""
    if is_film(explanation):
        return _values(explanation.maps[index]), "time", int(explanation.maps.shape[1]), 0
    if explanation.flow is None:
        raise MethodError(
            f"{explanation.method} has no flow, it makes one map and not one per block; try daam or dart"
        )
    return _values(explanation.flow[index]), *words.flow_steps(explanation)


def _picture_of_steps(
    explanation: Explanation, index: int, given: Image.Image | Sequence[Image.Image] | None
) -> Image.Image | Sequence[Image.Image] | None:
    """What steps are drawn on; nothing where no pictures were kept."""
    if given is not None or explanation.pictures is None:
        return given
    if is_film(explanation):
        return [Image.fromarray(frame.numpy()) for frame in explanation.pictures[index]]
    return kept_picture(explanation, index)


def _values(maps: Any) -> NDArray[np.float32]:
    return np.asarray(maps, dtype=np.float32)


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
