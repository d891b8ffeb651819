"""How maps are drawn, in every command that draws some."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

import typer

from vitscope.cli.shared.parameters import SameAs
from vitscope.options.door import check_argument

if TYPE_CHECKING:
    from vitscope.reports import Looks


@dataclass(frozen=True, kw_only=True)
class DrawingOptions:
    """How maps are drawn."""

    title: ClassVar[str] = "Drawing"
    style: Annotated[
        str, typer.Option("--style", help="alpha, spotlight, contour, side-by-side or map (the map alone).")
    ] = "alpha"
    scaling: Annotated[
        str | None,
        typer.Option(
            "--scaling",
            help="Display scaling: minmax, percentile, sqrt, rank or signed; of a flow also daam (one scale for the "
            "whole flow) and daam-sigmoid (a scale per block).",
        ),
    ] = None
    upsampling: Annotated[
        str, typer.Option("--upsampling", help="nearest (the model's own grid), bilinear or bicubic.")
    ] = "nearest"
    size: Annotated[int, typer.Option("--size", help="Size of the drawings: 1, 2 or 4.")] = 1
    colour: Annotated[
        str | None,
        typer.Option(
            "--colour",
            help="Colour map: viridis, cividis, magma or grey; of signed maps blue-red or purple-orange.",
        ),
    ] = None
    on: Annotated[
        str,
        SameAs("vitscope.reports", "Looks", "on"),
        typer.Option("--on", help="Draw on the input (what the model saw) or on the original picture."),
    ] = "input"
    opacity: Annotated[
        float,
        SameAs("vitscope.reports", "Looks", "opacity"),
        typer.Option("--opacity", help="How far the highest values cover the picture; lower ones cover less."),
    ] = 0.85  # fmt: skip

    def looks(self) -> Looks:
        """The same for the room that draws; a wrong word is refused at once."""
        from vitscope.reports import Looks

        return Looks(
            self.style, self.scaling, self.upsampling, self.size, self.colour, self.opacity,
            check_argument(Looks, "on", self.on),
        )  # fmt: skip
