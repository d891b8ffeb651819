"""Puts the built web page into the wheel and the sdist: ``scripts/build_page.py`` makes it where that is needed.

An editable install goes without: the API starts, and ``/`` says how to get the page.
"""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class PageHook(BuildHookInterface[Any]):
    """Before a wheel or an sdist is packed. Without Node the page must be there already, as it is in an sdist."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Make the page, or end the build with one line."""
        if version == "editable":
            return
        root = Path(self.root)
        page = runpy.run_path(str(root / "scripts" / "build_page.py"))
        try:
            page["build_page"](root)
        except page["PageError"] as error:
            self.app.abort(f"error: {error}")
