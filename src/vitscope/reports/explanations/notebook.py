"""Explanations in a notebook: a row of small pictures."""

from __future__ import annotations

import html

from vitscope.methods import Explanation, Explanations
from vitscope.rendering.pages.markup import png_uri
from vitscope.reports import words
from vitscope.reports.explanations.contents import is_film
from vitscope.reports.explanations.sheets import sheet
from vitscope.reports.explanations.single import overlay
from vitscope.reports.explanations.steps import strip

MOST = 8
"""Pictures that are shown; the rest is counted."""
ROWS = 4
"""Pictures that are shown of several methods side by side."""


def explanation_html(explanation: Explanation) -> str:
    """The first maps over their pictures, each with what it explains and its score."""
    shown = min(len(explanation), MOST)
    figures = []
    if explanation.pictures is not None:
        for index in range(shown):
            drawn = strip(explanation, index) if is_film(explanation) else overlay(explanation, index)
            score = f"{float(explanation.scores[index]):.3g}"
            name = html.escape(f"{words.explained(explanation, index)} {score}")
            figures.append(
                f'<figure style="display:inline-block;margin:4px"><img alt="{name}" src="{png_uri(drawn)}"/>'
                f"<figcaption>{name}</figcaption></figure>"
            )
    model = html.escape(str(explanation.metadata.get("model", "")))
    head = f"<b>{html.escape(explanation.method)}</b> on {model}"
    more = f", {shown} of {len(explanation)} shown" if shown < len(explanation) else ""
    return f"<div>{head}{more}<br/>{''.join(figures)}</div>"


def explanations_html(found: Explanations) -> str:
    """The first pictures as rows, the methods as columns; without pictures, or of films, each method by itself."""
    first = next(iter(found.values()), None)
    if first is None:
        return "<div><b>no method</b></div>"
    if first.pictures is None or is_film(first):
        return f"<div>{''.join(explanation_html(each) for each in found.values())}</div>"
    shown = min(len(first), ROWS)
    source = png_uri(sheet(found, range(shown), caption=""))
    names = html.escape(", ".join(found))
    more = f", {shown} of {len(first)} shown" if shown < len(first) else ""
    head = f"<b>{names}</b> on {html.escape(str(first.metadata.get('model', '')))}{more}"
    return f'<div>{head}<br/><img alt="{names}" src="{source}"/></div>'
