"""How a result shows itself: the rooms of reports and of the app know how, and are asked when it is first looked at."""

from __future__ import annotations

import importlib
from typing import Any

from vitscope.errors import MissingExtraError


def drawn_by(module: str, function: str) -> Any:
    """A function of the reports room, such as ``drawn_by("explanations.single", "overlay")``.

    Results lie below the pictures that are made of them, so this is the one place where an arrow points upwards, and it
    is followed only when somebody wants to see."""
    return getattr(importlib.import_module(f"vitscope.reports.{module}"), function)


def served_by(module: str, function: str) -> Any:
    """A function of the app, such as ``served_by("site.making", "write_site")``; for the same reason.

    Raises MissingExtraError where the packages of the server are not installed."""
    try:
        return getattr(importlib.import_module(f"vitscope.app.{module}"), function)
    except ModuleNotFoundError as error:
        if error.name in ("fastapi", "uvicorn", "starlette"):
            raise MissingExtraError(error.name, "app", "the app") from None
        raise
