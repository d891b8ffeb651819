"""docs/dependencies.md lists every package that pyproject.toml names, and no other."""

from __future__ import annotations

import importlib
import re
import tomllib
from pathlib import Path

import pytest
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


def test_every_extra_of_what_is_brought_along_is_counted_once(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(repository / "scripts"))
    script = importlib.import_module("weigh_dependencies")
    requires = {
        "top": ["Kit[one,two]", "kit[two,three]; python_version > '3'", "kit[four]; python_version < '3'"],
        "Kit": ["plain", *(f"of-{extra}; extra == '{extra}'" for extra in ("one", "two", "three", "four"))],
    }
    monkeypatch.setattr(
        script.metadata, "requires", lambda name: requires.get("Kit" if name == "kit" else name)
    )
    found = script.with_brought("top", frozenset(), set())
    assert sorted(found) == ["Kit", "of-one", "of-three", "of-two", "plain", "top"]
    assert script.with_brought("top", frozenset(), {"top", "top[]"}) == []
