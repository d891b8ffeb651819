"""What a release says of itself: an index can show its page, cited pages are in it, and its papers hold."""

from __future__ import annotations

import re
import runpy
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest
import yaml

from vitscope.methods import methods
from vitscope.version import __version__

HOME = "https://example.org/someone/vitscope"


@pytest.fixture(scope="module")
def project(repository: Path) -> dict[str, Any]:
    found: dict[str, Any] = tomllib.loads((repository / "pyproject.toml").read_text())
    return found


def targets(text: str) -> list[str]:
    return re.findall(r"\]\(([^)\s]+)", text)


@pytest.mark.parametrize("home", ["", HOME])
def test_nothing_on_the_page_of_an_index_leads_nowhere(home: str, repository: Path) -> None:
    readme = (repository / "README.md").read_text()
    shown = runpy.run_path(str(repository / "hatch_build.py"))["for_an_index"](readme, home)
    assert all("://" in target or target.startswith("#") for target in targets(shown))
    pictures = re.findall(r"!\[[^]]*\]\(([^)]+)\)", shown)
    assert [each.removeprefix(f"{HOME}/raw/main/") for each in pictures] == (
        re.findall(r"!\[[^]]*\]\(([^)]+)\)", readme) if home else []
    )
    assert 'find_pictures(["demo/pictures"])' in shown, "code is as it was"


@pytest.fixture(scope="module")
def wheel(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """The wheel's own files, without building the page anew."""
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)], cwd=repository, check=True,
        capture_output=True,
    )  # fmt: skip
    [made] = folder.glob("*.whl")
    return zipfile.ZipFile(made)


def test_pages_that_methods_cite_are_in_the_wheel(wheel: zipfile.ZipFile) -> None:
    names = set(wheel.namelist())
    cited = {found for info in methods() for found in re.findall(r"docs/[\w/]+\.md", info.citation)}
    assert "docs/methods/dart.md" in cited and {f"vitscope/{page}" for page in cited} <= names
    for page in cited:
        text = wheel.read(f"vitscope/{page}").decode()
        for picture in re.findall(r"!\[[^]]*\]\(\.\./(images/methods/[^)]+)\)", text):
            assert f"vitscope/docs/{picture}" in names


def test_its_metadata(wheel: zipfile.ZipFile, project: dict[str, Any]) -> None:
    [name] = [each for each in wheel.namelist() if each.endswith(".dist-info/METADATA")]
    head, _, page = wheel.read(name).decode().partition("\n\n")
    assert f"Version: {__version__}" in head and "Description-Content-Type: text/markdown" in head
    assert "Requires-Python: >=3.11" in head and "License-Expression: Apache-2.0" in head
    assert page.lstrip().startswith("# vitscope") and "](docs/" not in page
    known = subprocess.run(
        [sys.executable, "-c", "import trove_classifiers as t; print(*t.classifiers, sep='\\n')"],
        capture_output=True, text=True, check=True,
    ).stdout.splitlines()  # fmt: skip
    assert set(project["project"]["classifiers"]) <= set(known)


def test_the_sdist_ships_no_tests_that_would_fail_there(project: dict[str, Any]) -> None:
    included = project["tool"]["hatch"]["build"]["targets"]["sdist"]["include"]
    assert "/tests" not in included
    assert all(each.startswith("/") for each in included), "docs alone would be tests/docs, too"


def test_version_is_one_everywhere(repository: Path, project: dict[str, Any]) -> None:
    assert project["project"]["version"] == __version__
    assert f"## {__version__}" in (repository / "CHANGELOG.md").read_text()
    citation = yaml.safe_load((repository / "CITATION.cff").read_text())
    assert citation["version"] == __version__ and citation["license"] == project["project"]["license"]
    assert {"cff-version", "message", "title", "authors"} <= set(citation)


def test_issue_forms_are_whole(repository: Path) -> None:
    forms = sorted((repository / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))
    assert len(forms) == 3
    for form in forms:
        found = yaml.safe_load(form.read_text())
        assert {"name", "description", "body"} <= set(found)
        ids = [each["id"] for each in found["body"]]
        assert len(set(ids)) == len(ids) and all(each["attributes"]["label"] for each in found["body"])
