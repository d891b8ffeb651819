"""What an explanation holds to draw: its pictures, its maps, whether they are of films."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vitscope.errors import PictureError
from vitscope.methods import Explanation
from vitscope.methods.explaining.original import Extent, extent_on_original, geometry_of
from vitscope.pictures import picture_source

On = Literal["input", "original"]
"""What maps are drawn on: what the model saw, or the picture before resize and crop."""


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


def drawn_on(
    explanation: Explanation, index: int, on: On, picture: Image.Image | None
) -> tuple[Image.Image, Extent]:
    """What a map is drawn on, and which part of it the map covers: what the model saw, or the picture as it is.

    Raises PictureError where the picture is not at hand, is another one, or has another aspect."""
    if on == "input":
        return (kept_picture(explanation, index) if picture is None else picture), explanation.extent
    known = geometry_of(explanation, index)
    if picture is None:
        picture = _read_again(explanation, index)
    height, width = known.original
    if abs(picture.width * height - picture.height * width) > max(height, width, *picture.size):
        raise PictureError(
            f"the picture that was explained is {width}×{height} (width × height), this one {picture.width}×"
            f"{picture.height}, of another shape; give the same picture, at any size"
        )
    return picture, extent_on_original(explanation, index)


def _read_again(explanation: Explanation, index: int) -> Image.Image:
    """The file of a picture, where it was one and still is the same. Raises PictureError otherwise."""
    file = explanation.metadata["originals"][index]["file"]
    if file is None:
        raise PictureError("the picture was no file, so it is not kept as it was; give it with picture=")
    source = picture_source([Path(file)])
    opened = source.open(0)
    if opened.id != explanation.metadata["ids"][index]:
        raise PictureError(f"{file} is not the picture any more that was explained; give it with picture=")
    assert isinstance(opened.image, Image.Image)
    return opened.image


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


def values_of(maps: Any) -> NDArray[np.float32]:
    """Maps as an array."""
    return np.asarray(maps, dtype=np.float32)
