"""What a page of explanations shows, as plain records: raw arrays and words, from which the page is made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import ArrayLike
from PIL import Image

from vitscope.rendering.maps.scaling import WHOLE, Extent


@dataclass(frozen=True)
class CardMap:
    """One method's map of one picture.

    ``values`` (h, w) raw; ``scaling`` a name of ``scaling.SCALINGS``; ``prefix`` the prefix tokens' share of the
    whole by name; ``note`` one line shown under the map; ``extent`` the part of the picture that the cells cover (top,
    left, bottom, right, as shares of its sides).
    """

    method: str
    values: ArrayLike
    scaling: str = "minmax"
    colour: str | None = None
    prefix: Mapping[str, float] | None = None
    note: str = ""
    extent: Extent = WHOLE


@dataclass(frozen=True)
class CardFlow:
    """One method's map after every block: ``values`` (L, h, w) raw.

    ``step`` is what a map stands for ("block", "stage"), ``labels`` name the steps and ``places`` also say among which
    they are ("block 3 of 0–11"), one per step.
    ``accumulated`` says that each map holds all steps so far, so that what a step adds can be shown as a share.
    """

    method: str
    values: ArrayLike
    labels: Sequence[str]
    places: Sequence[str]
    scaling: str = "daam"
    colour: str | None = None
    accumulated: bool = True
    note: str = ""
    extent: Extent = WHOLE
    step: str = "block"


@dataclass(frozen=True)
class CardHeads:
    """One number per head: ``values`` (L, H), NaN where a block has fewer heads; ``label`` says what it is.

    ``blocks`` and ``heads`` name the rows and columns."""

    method: str
    values: ArrayLike
    blocks: Sequence[str]
    heads: Sequence[str]
    label: str = "weight of each head"
    note: str = ""


@dataclass(frozen=True)
class Card:
    """All that is shown of one picture.

    ``picture`` is what the model saw, without normalisation. ``predictions`` are (label, probability), the most
    probable first. ``target`` says in words what the maps explain, ``label`` the true class where it is known.
    """

    name: str
    picture: Image.Image
    predictions: Sequence[tuple[str, float]] = ()
    target: str = ""
    label: str | None = None
    maps: Sequence[CardMap] = ()
    flows: Sequence[CardFlow] = ()
    heads: Sequence[CardHeads] = ()
    note: str = ""

    @property
    def right(self) -> bool | None:
        """Whether the most probable class is the true one; None where either is unknown."""
        return None if self.label is None or not self.predictions else self.predictions[0][0] == self.label


@dataclass(frozen=True)
class MethodSummary:
    """What a reader should know of a method: title, what it does in a sentence or two, cost, source."""

    name: str
    title: str
    description: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)
