"""What an explanation draws of itself, when somebody looks: pictures and pages made by the reports room."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from PIL import Image
from torch import Tensor

from vitscope.errors import PictureError
from vitscope.methods.explaining.original import on_original
from vitscope.options.door import checked
from vitscope.shown import drawn_by


class Drawable:
    """The drawings of an explanation; every look, caption and colour is decided in ``vitscope.reports``."""

    def overlay(self, index: int = 0, **options: Any) -> Image.Image:
        """Draw the map of one picture over it.

        Args:
            index: The picture, from 0.
            options: Those of :func:`vitscope.reports.overlay`.

        Returns:
            An RGB image.

        Raises:
            PictureError: The explanation holds no pictures (explain with ``keep_pictures=True``), or is of films.
        """
        drawn: Image.Image = drawn_by("explanations.single", "overlay")(self, index, **options)
        return drawn

    @checked(PictureError)
    def on_original(self, index: int = 0) -> Tensor:
        """The map of one picture on the picture's own pixels: the model's resize and crop undone.

        Args:
            index: The picture, from 0.

        Returns:
            (H, W) float32 of the upright picture's size, raw: each pixel has the value of its patch, NaN where no patch
            lies because the model's crop left it out.

        Raises:
            PictureError: There is no such picture, or the maps were made of ready tensors.

        Example:
            >>> import vitscope as vs
            >>> from PIL import Image
            >>> e = vs.explain(vs.open_model("bundled/shapes"), [Image.new("RGB", (300, 200))], "rollout")
            >>> e.on_original(0).shape
            torch.Size([200, 300])
        """
        made: Any = self
        if not -len(made) <= index < len(made):
            raise PictureError(
                f"expected a picture from 0 to {len(made) - 1}, got {index}; pictures are counted from 0"
            )
        return on_original(made, index % len(made))

    def strip(self, index: int = 0, **options: Any) -> Image.Image:
        """Draw one picture's flow in a row, block by block, with one colour bar; of a film, one map for each time step.

        Args:
            index: The picture, from 0.
            options: Those of :func:`vitscope.reports.strip`.

        Returns:
            An RGB image.

        Raises:
            MethodError: The method has no flow.
        """
        drawn: Image.Image = drawn_by("explanations.steps", "strip")(self, index, **options)
        return drawn

    def frames(self, index: int = 0, **options: Any) -> list[Image.Image]:
        """Draw one picture's flow, or one film, as images of one size, one for each block or time step.

        Args:
            index: The picture, from 0.
            options: Those of :func:`vitscope.reports.frames`.

        Returns:
            The images, RGB.

        Raises:
            MethodError: The method has no flow.
        """
        drawn: list[Image.Image] = drawn_by("explanations.steps", "frames")(self, index, **options)
        return drawn

    def animation(
        self, index: int, path: str | os.PathLike[str], *, seconds_per_frame: float = 0.5, **options: Any
    ) -> Path:
        """Write the frames of one picture's flow, or of one film, as an animation.

        Args:
            index: The picture, from 0.
            path: A file that ends in .gif, .webp, .mp4 or .webm.
            seconds_per_frame: How long each frame is shown.
            options: Those of :func:`vitscope.reports.frames`.

        Returns:
            The path of the file.

        Raises:
            MethodError: The method has no flow.
        """
        animation = drawn_by("explanations.steps", "animation")
        made: Path = animation(self, index, path, seconds_per_frame=seconds_per_frame, **options)
        return made

    def to_html(self, path: str | os.PathLike[str] | None = None, **options: Any) -> str:
        """A self-contained page with a card for each picture; written to ``path`` when one is given.

        Args:
            path: Where to write it; None writes nothing.
            options: Those of :func:`vitscope.reports.page`, which can show several methods on one page.

        Returns:
            The HTML text.
        """
        text: str = drawn_by("explanations.page", "page")(self, path, **options)
        return text

    def _repr_html_(self) -> str:
        return str(drawn_by("explanations.notebook", "explanation_html")(self))
