"""Results as what a person looks at: pictures, animations and pages, the same for Python, a notebook and the shell.

``overlay``, ``overlay_svg``, ``tile``, ``strip``, ``frames``, ``animation``, ``sheet``, ``card`` and ``page`` are of
explanations, ``leaderboard_page`` and ``protocols_page`` of leaderboards, ``models_sheet`` and ``models_page`` of
compared models, ``heads_sheet`` of heads on one picture, ``HeadsReport`` of what is known of heads. Results offer the
same as methods: ``explanation.overlay()``, ``leaderboard.to_html()``. Names are imported when first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vitscope.reports.explanations.cards import card as card
    from vitscope.reports.explanations.files import write_flow as write_flow
    from vitscope.reports.explanations.files import write_maps as write_maps
    from vitscope.reports.explanations.looks import Looks as Looks
    from vitscope.reports.explanations.page import Report as Report
    from vitscope.reports.explanations.page import page as page
    from vitscope.reports.explanations.sheets import sheet as sheet
    from vitscope.reports.explanations.single import overlay as overlay
    from vitscope.reports.explanations.single import overlay_svg as overlay_svg
    from vitscope.reports.explanations.steps import animation as animation
    from vitscope.reports.explanations.steps import frames as frames
    from vitscope.reports.explanations.steps import strip as strip
    from vitscope.reports.explanations.tiles import tile as tile
    from vitscope.reports.heads.look import heads_sheet as heads_sheet
    from vitscope.reports.heads.page import HeadsReport as HeadsReport
    from vitscope.reports.leaderboard.models import models_page as models_page
    from vitscope.reports.leaderboard.models import models_sheet as models_sheet
    from vitscope.reports.leaderboard.page import leaderboard_page as leaderboard_page
    from vitscope.reports.leaderboard.protocols import protocols_page as protocols_page

_HOMES = {
    "HeadsReport": "heads.page",
    "Looks": "explanations.looks",
    "Report": "explanations.page",
    "animation": "explanations.steps",
    "card": "explanations.cards",
    "frames": "explanations.steps",
    "heads_sheet": "heads.look",
    "leaderboard_page": "leaderboard.page",
    "models_page": "leaderboard.models",
    "models_sheet": "leaderboard.models",
    "overlay": "explanations.single",
    "overlay_svg": "explanations.single",
    "page": "explanations.page",
    "protocols_page": "leaderboard.protocols",
    "sheet": "explanations.sheets",
    "strip": "explanations.steps",
    "tile": "explanations.tiles",
    "write_flow": "explanations.files",
    "write_maps": "explanations.files",
}

__all__ = [
    "HeadsReport",
    "Looks",
    "Report",
    "animation",
    "card",
    "frames",
    "heads_sheet",
    "leaderboard_page",
    "models_page",
    "models_sheet",
    "overlay",
    "overlay_svg",
    "page",
    "protocols_page",
    "sheet",
    "strip",
    "tile",
    "write_flow",
    "write_maps",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'vitscope.reports' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"vitscope.reports.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
