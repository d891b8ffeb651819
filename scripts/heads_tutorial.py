"""The tutorial docs/tutorials/heads-in-the-app.md: its steps, and the page made of them and of measured figures.

Each step is a view of the app, what is there to be seen when its link is opened, and which panels are drawn. The words
of the page are in ``heads_tutorial.txt``; ``draw_heads_tutorial.py`` measures, draws and writes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

ROOT = Path(__file__).resolve().parents[1]
TEXT = ROOT / "scripts" / "heads_tutorial.txt"
PAGE = ROOT / "docs" / "tutorials" / "heads-in-the-app.md"
FIGURES = ROOT / "benchmarks" / "results" / "heads_in_the_app.json"
IMAGES = ROOT / "docs" / "images" / "heads-in-the-app"
SERVER = "http://127.0.0.1:7860/"
B, C, D = "B Importance", "C Attention strength", "D Attention patterns"


def brush(op: str = "and", **what: Any) -> dict[str, Any]:
    """A brush as it stands in a link."""
    return {"op": op, **what}


@dataclass(frozen=True)
class Step:
    """name: of its picture. view: what differs from the Heads screen as it opens. panels: drawn, by their headings.
    there: selectors of what must be seen when the link is opened. click: a button that is pressed for the picture."""

    name: str
    words: str
    view: Mapping[str, Any]
    panels: tuple[str, ...]
    there: tuple[str, ...]
    click: str | None = None
    size: tuple[int, int] = (1440, 1000)
    also: Mapping[str, Any] = field(default_factory=dict)

    @property
    def address(self) -> dict[str, Any]:
        """What stands behind # in its link."""
        view = {"heads": json.dumps(dict(self.view), separators=(",", ":"))} if self.view else {}
        return {"v": 1, "screen": "heads", **self.also, **view}

    def link(self, server: str = SERVER) -> str:
        """The link."""
        return f"{server}#{urlencode(self.address)}"


NEIGHBOURS = ("1.2", "2.0", "2.1", "3.2", "6.1")
LOCAL = brush(kind="hops", **{"from": 0, "to": 2, "least": 0.5})
STEPS = (
    Step(
        "matrix",
        "open the matrix with head 1.1 pinned",
        {"pinned": "1.1"},
        (B, "Head 1.1"),
        ("[role=gridcell][data-head='1.1'].pinned", "tr[data-metric=js_divergence]"),
    ),
    Step(
        "local",
        "open the heads that look at most two hops far",
        {"brushes": [LOCAL]},
        (B, C),
        ("button[data-head] svg rect", "[role=gridcell][aria-selected=true]", "text=0 to 2 hops ≥"),
    ),
    Step(
        "trend",
        "open the trend over the blocks",
        {"strength": "trend", "brushes": [LOCAL]},
        (C,),
        ("[aria-label='Mean distance that heads look at, by block']", "[data-testid=trend-words]"),
    ),
    Step(
        "neighbours",
        "open the five neighbour heads among all maps",
        {"pinned": "2.1", "detail": "patterns", "brushes": [brush(kind="heads", heads=list(NEIGHBOURS))]},
        (D, "Head 2.1"),
        (
            *(f"[role=gridcell][data-head='{head}'][aria-selected=true]" for head in NEIGHBOURS),
            "[data-testid=dependence]",
            "[data-testid=prototype]",
        ),
    ),
    Step(
        "offsets",
        "open where head 2.1 looks from a patch",
        {"pinned": "2.1", "detail": "offsets"},
        ("Head 2.1",),
        ("[data-testid=offsets]", "[aria-label='Attention by hops']"),
    ),
    Step(
        "hurting",
        "open the list by what the label loses",
        {"metric": "probability_drop_label", "importance": "list", "pinned": "5.1"},
        (B, "Head 5.1"),
        ("tbody tr.pinned", "tr.hurts[data-metric]"),
    ),
    Step(
        "common",
        "open what the five most important heads have in common",
        {"patterns": "mixes", "brushes": [brush(kind="heads", heads=["1.1", "3.0", "2.2", "4.1", "3.2"])]},
        (D,),
        ("[data-mix='1.1']", "[data-cluster]", "[role=gridcell][data-head='3.0'][aria-selected=true]"),
    ),
    Step(
        "disagree",
        "open two metrics against each other",
        {"importance": "scatter", "second": "class_cosine_block", "pinned": "11.2"},
        (B,),
        ("[data-testid=pair-agreement]", "circle.pinned[data-head='11.2']"),
    ),
    Step(
        "removed",
        "open the curves, and press Remove heads",
        {"metric": "probability_drop_label", "importance": "cumulative"},
        (B,),
        ("[data-testid=removal-estimate], [data-testid=removal-words]", "text=Remove heads"),
        click="Remove heads",
        size=(1440, 1300),
    ),
)


def page_of(figures: Mapping[str, Any]) -> str:
    """The page, with what was measured."""
    links = {f"link_{step.name}": f"[{step.words}]({step.link()})" for step in STEPS}
    return TEXT.read_text(encoding="utf-8").format(
        **{name: str(value) for name, value in figures.items()}, **links
    )
