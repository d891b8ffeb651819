"""What can be asked of the model, as records that go to its process: everything that an answer depends on."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from typing import Any, ClassVar

from vitscope.app.answers.attention import CLASS, Direction
from vitscope.app.answers.importance import DEFAULT
from vitscope.app.pictures.reference import PictureReference
from vitscope.storage.recipe import digest_of

Head = tuple[int, int]
"""Block and head, both from 0."""
Off = tuple[Head, ...]
"""Heads that are switched off."""
PREDICTED = "predicted"
"""The target that is the class which the model predicts."""


@dataclass(frozen=True)
class Asked:
    """One question about one picture. ``off``: heads that are switched off."""

    what: ClassVar[str] = "looking"

    picture: PictureReference
    off: Off = ()

    @property
    def tag(self) -> str:
        """Equal for equal questions, whatever the picture is called or wherever it lies."""
        told = {each.name: getattr(self, each.name) for each in fields(self) if each.name != "picture"}
        return digest_of(
            [type(self).__name__, self.picture.content, json.loads(json.dumps(told, default=vars))]
        )


@dataclass(frozen=True)
class MapAsked(Asked):
    """A map. method: None for the default. options: JSON of what was chosen, by name. target: ``predicted``, the number
    of a class, or another target in writing."""

    what: ClassVar[str] = "explaining"

    method: str | None = None
    options: str = "{}"
    target: str = PREDICTED

    def chosen(self) -> dict[str, Any]:
        """The options by name."""
        found: dict[str, Any] = json.loads(self.options)
        return found


@dataclass(frozen=True)
class PredictionAsked(Asked):
    """The most likely classes; with heads off, those of the whole model beside them. label: the true class."""

    what: ClassVar[str] = "predicting"

    count: int = 5
    label: int | None = None


@dataclass(frozen=True)
class BlocksAsked(Asked):
    """What every head of every block does."""

    what: ClassVar[str] = "measuring blocks"


@dataclass(frozen=True)
class RowsAsked(Asked):
    """One token's attention in every head of a block."""

    what: ClassVar[str] = "reading attention"

    block: int = 0
    query: str = CLASS
    direction: Direction = "out"


@dataclass(frozen=True)
class MatrixAsked(Asked):
    """One head's matrix."""

    what: ClassVar[str] = "reading attention"

    block: int = 0
    head: int = 0


@dataclass(frozen=True)
class ImportanceAsked(Asked):
    """What every head matters."""

    what: ClassVar[str] = "head importance"

    metric: str = DEFAULT


@dataclass(frozen=True)
class TileAsked(Asked):
    """A small picture with the map of a method on it."""

    what: ClassVar[str] = "drawing"

    method: str = ""
    side: int = 96


@dataclass(frozen=True)
class DrawingLooks:
    """How a map is drawn on its way into a file. block: which map of the flow; None is the whole. scaling: how values
    become colours, None what suits the method. scope: what shares one scale. query, direction: whose attention rows are
    drawn in place of the explanation. heads: of these heads alone."""

    block: int | None = None
    scaling: str | None = None
    scope: str = "map"
    upsampling: str = "nearest"
    opacity: float | None = None
    colour: str | None = None
    query: str | None = None
    direction: Direction = "out"
    heads: Off = ()


@dataclass(frozen=True)
class ExportAsked(MapAsked):
    """A file of what is seen. form: png, svg, gif, webm, csv, parquet. size: 1, 2 or 4 times the usual size."""

    what: ClassVar[str] = "exporting"

    form: str = "png"
    size: int = 1
    looks: DrawingLooks = DrawingLooks()


@dataclass(frozen=True)
class AblationAsked(Asked):
    """What happens to the pictures without ``off``, together and one by one."""

    what: ClassVar[str] = "switching heads off"


@dataclass(frozen=True)
class PartialAsked(Asked):
    """What happens to the pictures without parts of one head. queries: patches whose own row is taken away."""

    what: ClassVar[str] = "dissecting a head"

    block: int = 0
    head: int = 0
    queries: tuple[int, ...] = ()


@dataclass(frozen=True)
class CumulativeAsked(Asked):
    """What remains of the answers without more and more heads. orders: of each a metric, whether from its largest down,
    and all heads, first removed first. steps: points of a curve besides the whole model. random: orders at random."""

    what: ClassVar[str] = "removing heads one after the other"

    orders: tuple[tuple[str, bool, tuple[Head, ...]], ...] = ()
    steps: int = 12
    random: int = 3
