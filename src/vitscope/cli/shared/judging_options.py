"""Options of what methods are judged by, for every command that judges them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar

import typer

from vitscope.cli.shared.parameters import SameAs
from vitscope.cli.shared.values import whole_number
from vitscope.errors import EvaluationError


@dataclass(frozen=True, kw_only=True)
class ObjectOptions:
    """Where the object of each picture lies."""

    title: ClassVar[str] = "Pictures"
    boxes: Annotated[
        Path | None,
        typer.Option("--boxes", help="CSV, COCO JSON or folder of VOC XML files; else boxes.csv."),
    ] = None
    masks: Annotated[
        Path | None,
        typer.Option("--masks", help="Folder of masks, named like the pictures; not 0 is the object."),
    ] = None


@dataclass(frozen=True, kw_only=True)
class MetricOptions:
    """What is measured."""

    title: ClassVar[str] = "Protocol"
    metrics: Annotated[
        str | None,
        typer.Option("--metrics", "--metric", help="Comma list of metrics; --list-metrics lists them."),
    ] = None


@dataclass(frozen=True, kw_only=True)
class ProtocolOptions:
    """How maps are judged."""

    title: ClassVar[str] = "Protocol"
    removal: Annotated[
        str, typer.Option("--removal", help="mask, drop, mean, blur, zero, black; or several.")
    ] = "mask"
    score: Annotated[
        str, typer.Option("--score", help="logit, probability, log_probability; or several.")
    ] = "logit"
    steps: Annotated[
        int | None,
        SameAs("vitscope.evaluation", "Protocol", "steps"),
        typer.Option("--steps", help="Steps of a removal curve: 20; 12 in a world.", show_default=False),
    ] = None
    random_draws: Annotated[
        int,
        SameAs("vitscope.evaluation", "Protocol", "random_draws"),
        typer.Option("--random-draws", help="Seeds of the random control."),
    ] = 10
    mean_colour: Annotated[
        str | None,
        typer.Option("--mean-colour", help="RGB for --removal mean, 0.5,0.4,0.3, or data; else ImageNet's."),
    ] = None

    def settings(self, in_world: bool = False) -> dict[str, Any]:
        """The fields of a Protocol that are the same in all protocols of a run."""
        return {
            "steps": self.steps or (12 if in_world else 20),
            "random_draws": self.random_draws,
            "mean_colour": parse_colour(self.mean_colour),
        }


def parse_colour(text: str | None) -> tuple[float, float, float] | None:
    """``"0.5,0.4,0.3"`` to three numbers in 0..1; None for nothing and for ``data``, which the pictures tell."""
    if text is None or text == "data":
        return None
    try:
        red, green, blue = (float(part) for part in text.split(","))
    except ValueError:
        red = green = blue = -1.0
    if not all(0 <= part <= 1 for part in (red, green, blue)):
        raise typer.BadParameter(f"--mean-colour is data or three numbers from 0 to 1, not {text!r}")
    return red, green, blue


def read_aim(text: str) -> str | int:
    """The target of a protocol. Raises a usage error for what maps cannot be compared by."""
    from vitscope.evaluation.running.aim import check_aim

    text = text.strip()
    if re.fullmatch(r"[-+]?[0-9]+", text):
        return whole_number(text, "--target")
    try:
        check_aim(text)
    except EvaluationError as error:
        raise typer.BadParameter(f"--target {text}: {error}") from None
    return text
