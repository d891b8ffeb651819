"""What ``vitscope evaluate`` alone can be told: worlds instead of pictures, and mosaics."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import typer

from vitscope.cli.shared.judging_options import ProtocolOptions
from vitscope.cli.shared.options import MODEL, PICTURES, ModelOptions, PictureOptions
from vitscope.cli.shared.parameters import SameAs


@dataclass(frozen=True, kw_only=True)
class EvaluatedModel(ModelOptions):
    """A world brings a model of its own, so ``--model`` may be left out beside it."""

    model: Annotated[str | None, MODEL] = None  # type: ignore[assignment]


@dataclass(frozen=True, kw_only=True)
class EvaluatedPictures(PictureOptions):
    """A world stands for pictures, so they may be left out beside it."""

    pictures: Annotated[list[str] | None, PICTURES] = None  # type: ignore[assignment]


@dataclass(frozen=True, kw_only=True)
class EvaluatedProtocol(ProtocolOptions):
    """How maps are judged, mosaics of several pictures among them."""

    mosaic: Annotated[
        int | None,
        SameAs("vitscope.evaluation", "Protocol", "mosaic"),
        typer.Option("--mosaic", help="Cells along a side of grid pointing's mosaics: 2."),
    ] = None

    def settings(self, in_world: bool = False) -> dict[str, Any]:
        """As for every command, and how large mosaics are."""
        return {**super().settings(in_world), "mosaic": self.mosaic or 2}
