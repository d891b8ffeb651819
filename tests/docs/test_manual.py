"""The documentation as HTML: built without a warning, complete, and asking for nothing from elsewhere."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import vitscope as vs

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("sphinx")
    out = tmp_path_factory.mktemp("manual") / "html"
    command = [sys.executable, str(REPOSITORY / "scripts" / "build_docs.py"), "--out", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=out.parent)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [str(out / "README.html")]
    return out


def test_every_public_name_is_in_the_reference(pages: Path) -> None:
    reference = (pages / "reference" / "vitscope.html").read_text(encoding="utf-8")
    classes_and_functions = [name for name in vs.__all__ if hasattr(getattr(vs, name), "__qualname__")]
    assert len(classes_and_functions) > 15
    missing = [name for name in classes_and_functions if f">{name}<" not in reference]
    assert not missing
    assert "Example" in reference and "Raises" in reference


def test_nothing_is_asked_for_from_elsewhere(pages: Path) -> None:
    found = sorted(pages.rglob("*.html"))
    assert len(found) > 40
    for page in found:
        text = page.read_text(encoding="utf-8")
        loaded = re.findall(r"<(?:script|img|iframe|source)[^>]+src=\"(https?:|//)", text)
        loaded += re.findall(r"<link[^>]+rel=\"(?:stylesheet|preload|icon)\"[^>]+href=\"(https?:|//)", text)
        assert not loaded, page.name
    for sheet in pages.rglob("*.css"):
        assert not re.search(r"url\(['\"]?(https?:)?//", sheet.read_text(encoding="utf-8")), sheet.name


def test_every_page_of_the_repository_is_there(pages: Path) -> None:
    for source in (REPOSITORY / "docs").rglob("*.md"):
        assert (pages / source.relative_to(REPOSITORY)).with_suffix(".html").is_file(), source.name


def test_the_drawing_of_the_rooms_is_that_of_the_contracts() -> None:
    sys.path.insert(0, str(REPOSITORY / "scripts"))
    try:
        import draw_architecture
    finally:
        sys.path.pop(0)
    assert draw_architecture.PLACE.read_text(encoding="utf-8") == draw_architecture.drawing()
    rooms = {room for row in draw_architecture.layers() for room in row}
    there = {path.stem for path in (REPOSITORY / "src" / "vitscope").iterdir() if path.name[0] not in "_."}
    assert rooms == there - {"assets", "py"}
