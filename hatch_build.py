"""Puts the built web page into the wheel and the sdist: ``scripts/build_page.py`` makes it where that is needed.

An editable install goes without: the API starts, and ``/`` says how to get the page.
"""

from __future__ import annotations

import os
import re
import runpy
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from hatchling.metadata.plugin.interface import MetadataHookInterface

HOME = "VITSCOPE_HOME_PAGE"
"""The environment variable with the address of the public repository, such as the one a release is made from."""


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


def for_an_index(readme: str, home: str) -> str:
    """README.md as an index of packages can show it, where no file lies beside it.

    Pictures and links to files get their address in the public repository. Without one, pictures are left out and links
    become their words, so that nothing on the page leads nowhere."""

    def picture(found: re.Match[str]) -> str:
        words, target = found.groups()
        return f"![{words}]({home}/raw/main/{target})" if home else ""

    def link(found: re.Match[str]) -> str:
        words, target = found.groups()
        return f"[{words}]({home}/blob/main/{target})" if home else words

    relative = r"\]\((?!\w+:|#)([^)\s]+)\)"
    readme = re.sub(r"!\[([^]]*)" + relative, picture, readme)
    return re.sub(r"(?<!!)\[([^]]*)" + relative, link, readme)


class IndexHook(MetadataHookInterface):
    """What an index shows of a release: the page, and where the project lives when that is known."""

    PLUGIN_NAME = "custom"

    def update(self, metadata: dict[str, Any]) -> None:
        """Fill in what pyproject.toml calls dynamic."""
        home = os.environ.get(HOME, "").rstrip("/")
        text = (Path(self.root) / "README.md").read_text(encoding="utf-8")
        metadata["readme"] = {"content-type": "text/markdown", "text": for_an_index(text, home)}
        metadata["urls"] = (
            {
                "Homepage": home,
                "Documentation": f"{home}/blob/main/docs/README.md",
                "Changelog": f"{home}/blob/main/CHANGELOG.md",
                "Issues": f"{home}/issues",
            }
            if home
            else {}
        )
