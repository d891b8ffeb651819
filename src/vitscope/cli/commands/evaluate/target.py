"""Which class ``vitscope evaluate`` explains: the model's own choice, the true one, or one and the same everywhere."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

import typer

from vitscope.cli.shared.session import resolve_target
from vitscope.cli.shared.values import whole_number

if TYPE_CHECKING:
    from vitscope.evaluation import Protocol
    from vitscope.tracing import Vit


def before_opening(text: str) -> str | int:
    """The target of a protocol as far as it is known without a model: a class's name is put in by `aimed`.

    Raises a usage error for what maps cannot be compared by: a table is about one class of each picture.
    """
    text = text.strip()
    if text in ("top1", "label"):
        return text
    if re.fullmatch(r"class:[^:]+", text):
        return "top1"
    if re.fullmatch(r"[-+]?[0-9]+", text):
        return whole_number(text, "--target")
    raise typer.BadParameter(
        f"--target of evaluate is top1, label, a class number or class:NAME, not {text!r}; explain takes more forms"
    )


def aimed(protocols: dict[str, Protocol], text: str, vit: Vit) -> dict[str, Protocol]:
    """The protocols with the number of a class that was named. Raises TargetError for a name that no class has."""
    from vitscope.tracing import ClassIndex

    if not text.strip().startswith("class:"):
        return protocols
    found = resolve_target(text, vit.class_names)
    if not isinstance(found, ClassIndex) or not isinstance(found.index, int):
        raise typer.BadParameter(
            f"--target of evaluate names one class, not {text!r}; for example class:star"
        )
    return {key: replace(each, target=found.index) for key, each in protocols.items()}
