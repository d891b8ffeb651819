"""A result in a notebook: a short table beside a small plot, a few kilobytes in all."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from PIL import Image

from vitscope.rendering.pages.markup import png_uri
from vitscope.rendering.pages.templating import fill
from vitscope.rendering.plots.figure import figure_pixels
from vitscope.rendering.typography import numeral

ROWS = 6
"""Rows of a table that are shown; the rest is counted."""
_DOTS, _COLOURS = 72, 64
"""Dots per inch of a small plot, and how many colours it keeps."""


def result_html(
    title: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[Any]],
    figure: Figure | None = None,
    alt: str = "",
) -> str:
    """The first rows of a table beside a plot; all text is escaped."""
    source, width = (None, 0) if figure is None else _small(figure)
    return fill(
        "vitscope.reports",
        "notebook.html",
        title=title,
        columns=list(columns),
        rows=[[_text(cell) for cell in row] for row in rows[:ROWS]],
        more=max(0, len(rows) - ROWS),
        source=source,
        width=width,
        alt=alt,
    )


def frame_html(words: object, frame: pd.DataFrame, most: int = 12) -> str:
    """HTML of a result that has no picture of its own: a line of words and its first rows, for a notebook."""
    rows = frame.head(most).to_html(index=False, border=0, na_rep="")
    more = f"<br/>and {len(frame) - most} rows more" if len(frame) > most else ""
    return f"<div><b>{html.escape(str(words))}</b>{rows}{more}</div>"


def _text(cell: Any) -> str:
    return numeral(cell) if isinstance(cell, float) else str(cell)


def _small(figure: Figure) -> tuple[str, int]:
    """The plot as a data URI of few colours, and its width on the page."""
    few = figure_pixels(figure, dots_per_inch=_DOTS).quantize(_COLOURS, dither=Image.Dither.NONE)
    return png_uri(few), few.width
