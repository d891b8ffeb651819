"""A flow block by block, and a film step by step: in a row, one after the other, as an animation."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vitscope.errors import MethodError, PictureError, RenderingError
from vitscope.methods import Explanation
from vitscope.methods.explaining.original import Extent
from vitscope.options.bounds import Range
from vitscope.options.door import checked
from vitscope.rendering.maps import animation as animations
from vitscope.rendering.maps import flow as flows
from vitscope.rendering.maps.blending import OPACITY
from vitscope.reports import words
from vitscope.reports.explanations.contents import On, drawn_on, is_film, kept_picture, place_of, values_of


@checked(RenderingError)
def strip(
    explanation: Explanation,
    index: int = 0,
    *,
    on: On = "input",
    picture: Image.Image | Sequence[Image.Image] | None = None,
    style: str = "alpha",
    scaling: str | None = None,
    colour: str | None = None,
    upsampling: str = "nearest",
    opacity: float = OPACITY,
    size: int = 1,
    columns: int | None = None,
    title: str | None = None,
    caption: str | None = None,
) -> Image.Image:
    """Draw one picture's flow, block by block, as a row of small maps with one colour bar; of a film its time steps.

    Args:
        explanation: Maps of pictures, by a method that has a flow.
        index: Which of its pictures, from 0.
        on: "input" is what the model saw, "original" the picture before resize and crop.
        picture: What to draw on, for a film one image per step; None takes what the explanation keeps.
        style: How map and picture are combined, as for :func:`vitscope.reports.overlay`.
        scaling: How values become colours, likewise.
        colour: A colour map, likewise.
        upsampling: How maps are enlarged, likewise.
        opacity: How far the highest values cover the picture, 0 to 1; lower ones cover less.
        size: 1, 2 or 4 times the usual size.
        columns: Maps in a row; None takes all up to 12, else rows of equal length.
        title: None is the method and what it explains; an empty text leaves it out.
        caption: None says which channels are shown, where that is needed.

    Returns:
        An RGB image.

    Raises:
        MethodError: The method has no flow.
        PictureError: There is no such picture.
        RenderingError: An unknown name, or a number out of bounds.

    Example:
        >>> import vitscope as vs
        >>> vit = vs.open_model("bundled/shapes")
        >>> explained = vs.explain(vit, vs.worlds.world("shapes").sample(1, seed=1).images(), "daam")
        >>> vs.reports.strip(explained).mode
        'RGB'
    """
    index = place_of(explanation, index)
    values, kind, count, first = _steps(explanation, index)
    shown, extent = _picture_of_steps(explanation, index, on, picture)
    return flows.flow_strip(
        values,
        shown,
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
        extent=extent,
    )


@checked(RenderingError)
def frames(
    explanation: Explanation,
    index: int = 0,
    *,
    on: On = "input",
    picture: Image.Image | Sequence[Image.Image] | None = None,
    style: str = "alpha",
    scaling: str | None = None,
    colour: str | None = None,
    upsampling: str = "nearest",
    opacity: float = OPACITY,
    size: int = 1,
    beside_picture: bool | None = None,
    title: str | None = None,
    caption: str | None = None,
) -> list[Image.Image]:
    """Draw one picture's flow as images of one size, one per block; of a film one per time step.

    Args:
        explanation: Maps of pictures, by a method that has a flow.
        index: Which of its pictures, from 0.
        on: "input" is what the model saw, "original" the picture before resize and crop.
        picture: What to draw on, for a film one image per step; None takes what the explanation keeps.
        style: How map and picture are combined, as for :func:`vitscope.reports.overlay`.
        scaling: How values become colours, likewise.
        colour: A colour map, likewise.
        upsampling: How maps are enlarged, likewise.
        opacity: How far the highest values cover the picture, 0 to 1; lower ones cover less.
        size: 1, 2 or 4 times the usual size.
        beside_picture: True shows the plain picture to the left; None shows it for a flow, where there is a picture.
        title: None is the method and what it explains; an empty text leaves it out.
        caption: None says which channels are shown, where that is needed.

    Returns:
        The images, RGB.

    Raises:
        MethodError: The method has no flow.
        PictureError: There is no such picture.
        RenderingError: An unknown name, or a number out of bounds.

    Example:
        >>> import vitscope as vs
        >>> vit = vs.open_model("bundled/shapes")
        >>> explained = vs.explain(vit, vs.worlds.world("shapes").sample(1, seed=1).images(), "daam")
        >>> len(vs.reports.frames(explained))
        6
    """
    index = place_of(explanation, index)
    values, kind, count, first = _steps(explanation, index)
    shown, extent = _picture_of_steps(explanation, index, on, picture)
    return flows.flow_frames(
        values,
        shown,
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
        extent=extent,
    )


@checked(RenderingError)
def animation(
    explanation: Explanation,
    index: int,
    path: str | os.PathLike[str],
    *,
    seconds_per_frame: Annotated[float, Range(0, 60, above=True)] = 0.5,
    metadata: Mapping[str, Any] | None = None,
    **looks: Any,
) -> Path:
    """Write the images that :func:`vitscope.reports.frames` draws as an animation.

    Args:
        explanation: Maps of pictures, by a method that has a flow.
        index: Which of its pictures, from 0.
        path: A file that ends in .gif, .webp, .mp4 or .webm.
        seconds_per_frame: How long each image is shown. The last one of a flow is shown longer.
        metadata: What is kept inside; None is what made the maps.
        looks: Arguments of :func:`vitscope.reports.frames`.

    Returns:
        The path of the file.

    Raises:
        MissingExtraError: .mp4 or .webm was asked for and PyAV is not installed.
        MethodError: The method has no flow.
        OutputError: The file cannot be written.

    Example:
        >>> import vitscope as vs
        >>> vit = vs.open_model("bundled/shapes")
        >>> explained = vs.explain(vit, vs.worlds.world("shapes").sample(1, seed=1).images(), "daam")
        >>> vs.reports.animation(explained, 0, "flow.gif").name
        'flow.gif'
    """
    drawn = frames(explanation, index, **looks)
    return animations.save_animation(
        drawn,
        Path(path),
        seconds_per_frame=seconds_per_frame,
        hold_last=0 if is_film(explanation) else 1.5,
        metadata=words.made_by(explanation, index) if metadata is None else metadata,
    )


def _steps(explanation: Explanation, index: int) -> tuple[NDArray[np.float32], str, int, int]:
    """The maps of one picture's flow or one film, the kind of step, how many there are, and the first one's number."""
    if is_film(explanation):
        return values_of(explanation.maps[index]), "time", int(explanation.maps.shape[1]), 0
    if explanation.flow is None:
        raise MethodError(
            f"{explanation.method} has no flow, it makes one map and not one per block; try daam or dart"
        )
    return values_of(explanation.flow[index]), *words.flow_steps(explanation)


def _picture_of_steps(
    explanation: Explanation, index: int, on: On, given: Image.Image | Sequence[Image.Image] | None
) -> tuple[Image.Image | Sequence[Image.Image] | None, Extent]:
    """What steps are drawn on, nothing where no pictures were kept, and which part of it they cover."""
    if on == "original":
        if is_film(explanation) or not (given is None or isinstance(given, Image.Image)):
            raise PictureError('a film is drawn on what the model saw; leave on="original" out')
        return drawn_on(explanation, index, on, given)
    if given is not None or explanation.pictures is None:
        return given, explanation.extent
    if is_film(explanation):
        frames = [Image.fromarray(frame.numpy()) for frame in explanation.pictures[index]]
        return frames, explanation.extent
    return kept_picture(explanation, index), explanation.extent
