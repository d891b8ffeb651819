"""How a result shows itself: the reports room knows how, and is asked for when a result is first looked at."""

from __future__ import annotations

import importlib
from typing import Any


def drawn_by(module: str, function: str) -> Any:
    """A function of the reports room, such as ``drawn_by("explanations.single", "overlay")``.

    Results lie below the pictures that are made of them, so this is the one place where an arrow points upwards, and it
    is followed only when somebody wants to see."""
    return getattr(importlib.import_module(f"vitscope.reports.{module}"), function)
