"""A picture as PNG: as it is, small, as the model sees it, or small with a map on it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray
from PIL import Image

from vitscope.app.pictures.reference import PictureReference
from vitscope.errors import PictureError
from vitscope.models.preparing.inputs import drawable, to_batch
from vitscope.models.preparing.preprocessor import Preprocessor
from vitscope.rendering.files import png_bytes
from vitscope.reports.explanations.tiles import map_tile


def whole_png(reference: PictureReference) -> bytes:
    """The upright picture. Raises PictureError when it cannot be read any more."""
    return png_bytes(_whole(reference))


def thumbnail_png(reference: PictureReference, side: int) -> bytes:
    """The upright picture, neither side longer than ``side`` pixels."""
    picture = _whole(reference)
    picture.thumbnail((side, side))
    return png_bytes(picture)


def framed(reference: PictureReference, preprocessor: Preprocessor) -> Image.Image:
    """Exactly the pixels that the model sees, as explanations keep them to draw on."""
    seen = to_batch(reference.source(), preprocessor)[0]
    return Image.fromarray(drawable(seen, preprocessor).numpy())


def framed_png(reference: PictureReference, preprocessor: Preprocessor) -> bytes:
    """The same as PNG."""
    return png_bytes(framed(reference, preprocessor))


def tile_png(
    values: NDArray[Any],
    method: str,
    reference: PictureReference,
    preprocessor: Preprocessor | None,
    extent: Sequence[float] | None,
    side: int,
) -> bytes:
    """A small picture with a map on it; the map alone where nobody knows how the model frames pictures."""
    picture = None if preprocessor is None else framed(reference, preprocessor)
    top, left, bottom, right = extent or (0.0, 0.0, 1.0, 1.0)
    return png_bytes(map_tile(values, method, picture, extent=(top, left, bottom, right), side=side))


def _whole(reference: PictureReference) -> Image.Image:
    image = reference.source().open(0).image
    if not isinstance(image, Image.Image):
        raise PictureError(f"{reference.key} is no picture that can be shown; choose another")
    return image
