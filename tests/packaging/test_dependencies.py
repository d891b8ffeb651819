"""docs/dependencies.md lists every package that pyproject.toml names, and no other."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from packaging.requirements import Requirement


def test_every_package_stands_on_the_page_with_its_weight(repository: Path) -> None:
    project = tomllib.loads((repository / "pyproject.toml").read_text())["project"]
    parts = {"(every user)": project["dependencies"], **project["optional-dependencies"]}
    wanted = {
        (part, Requirement(each).name)
        for part, listed in parts.items()
        if part not in ("all", "dev")
        for each in listed
    }
    page = (repository / "docs" / "dependencies.md").read_text()
    found = re.findall(
        r"^\| (\(every user\)|\w+) \| ([\w-]+) \| ([\d.]+) \| \d+ \| [\d.]+ \|$", page, re.MULTILINE
    )
    assert {(part, name) for part, name, _ in found} == wanted and len(found) == len(wanted)
    assert all(float(size) > 0 for *_, size in found)
