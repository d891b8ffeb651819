"""What is on the screen, as the page writes it into its address: read here for exports and for Python."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, get_args
from urllib.parse import parse_qsl

from vitscope.app.answers.attention import CLASS, Direction
from vitscope.app.model.asked import PREDICTED, DrawingLooks, Off
from vitscope.errors import DataError

CURVES = {"linear": None, "sqrt": "sqrt", "rank": "rank"}
"""The scaling of magnitudes by what the page calls its curve; signed maps keep zero in the middle."""
SCOPES = {"map": "map", "block": "flow", "global": "flow"}
"""What shares one scale, by what the page calls it: one picture's blocks are all that is on the screen."""
LONGEST = 20_000


@dataclass(frozen=True)
class View:
    """The state of the page, as far as it decides what is shown. block: None is the whole map. query: whose attention
    is asked. heads: those that are pinned. off: those that are switched off."""

    picture: str
    method: str | None = None
    options: str = "{}"
    target: str = PREDICTED
    block: int | None = None
    query: str = CLASS
    direction: Direction = "out"
    heads: Off = ()
    off: Off = ()
    scale: str = "map"
    curve: str = "linear"
    smooth: bool = False
    opacity: float | None = None
    colour: str | None = None

    @property
    def attends(self) -> bool:
        """Whether attention is shown in the place of an explanation: heads are pinned, or a patch asks."""
        return bool(self.heads) or self.query != CLASS

    def looks(self, signed: bool) -> DrawingLooks:
        """How it is drawn."""
        return DrawingLooks(
            block=self.block,
            scaling=None if signed and not self.attends else CURVES[self.curve],
            scope=SCOPES[self.scale],
            upsampling="bilinear" if self.smooth else "nearest",
            opacity=self.opacity,
            colour=self.colour,
            query=self.query if self.attends else None,
            direction=self.direction,
            heads=self.heads,
        )


def read_view(text: str, heads: Any) -> View:
    """The view that an address holds; keys that nobody knows are left out.

    Args:
        text: What stands behind ``#``: ``v=1&picture=...&method=dart``.
        heads: Reads ``3.1,5.0``.

    Raises:
        DataError: No picture, or a value that is none of those that the page writes.
    """
    if len(text) > LONGEST:
        raise DataError("this view is too long for an address; open the page and export from there")
    said = dict(parse_qsl(text.lstrip("#"), keep_blank_values=True))
    if not said.get("picture"):
        raise DataError("this view names no picture; export from the page when a picture is shown")
    return View(
        said["picture"],
        said.get("method") or None,
        said.get("options") or "{}",
        said.get("target") or PREDICTED,
        None if not said.get("block") else _number(said, "block", int, 0, 10_000),
        said.get("query") or CLASS,
        _word(said, "direction", get_args(Direction), "out"),  # type: ignore[arg-type]
        heads(said.get("head", "")),
        heads(said.get("off", "")),
        _word(said, "scale", tuple(SCOPES), "map"),
        _word(said, "curve", tuple(CURVES), "linear"),
        said.get("smooth") == "1",
        None if not said.get("opacity") else _number(said, "opacity", float, 0, 1),
        said.get("colour") or None,
    )


def _word(said: Mapping[str, str], name: str, known: tuple[str, ...], default: str) -> str:
    value = said.get(name) or default
    if value not in known:
        raise DataError(f"{name} of a view is one of {', '.join(known)}, got {value[:40]!r}")
    return value


def _number(said: Mapping[str, str], name: str, kind: Any, low: float, high: float) -> Any:
    try:
        value = kind(said[name])
    except ValueError:
        value = None
    if value is None or not low <= value <= high:
        raise DataError(f"{name} of a view is a number from {low:g} to {high:g}, got {said[name][:40]!r}")
    return value
