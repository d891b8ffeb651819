"""Which class ``vitscope evaluate`` explains: the model's own choice, the true one, or one and the same everywhere."""

from __future__ import annotations

import re

import typer

from vitscope.cli.shared.values import whole_number
from vitscope.errors import EvaluationError


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
