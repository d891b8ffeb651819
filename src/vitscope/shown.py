"""How a result shows itself: the reports room knows how, and is asked for when a result is first looked at."""

from __future__ import annotations

import html
import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd


def drawn_by(module: str, function: str) -> Any:
    """A function of the reports room, such as ``drawn_by("explanations.single", "overlay")``.

    Results lie below the pictures that are made of them, so this is the one place where an arrow points upwards, and it
    is followed only when somebody wants to see."""
    return getattr(importlib.import_module(f"vitscope.reports.{module}"), function)


def as_table(words: object, frame: pd.DataFrame, most: int = 12) -> str:
    """HTML of a result that has no picture of its own: a line of words and its first rows, for a notebook."""
    rows = frame.head(most).to_html(index=False, border=0, na_rep="")
    more = f"<br/>and {len(frame) - most} rows more" if len(frame) > most else ""
    return f"<div><b>{html.escape(str(words))}</b>{rows}{more}</div>"
