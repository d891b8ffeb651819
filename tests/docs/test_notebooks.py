"""Notebooks run from top to bottom, show what is kept in them, and stay light."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted((REPOSITORY / "docs" / "notebooks").glob("*.ipynb"))
MOST = 300_000
"""Bytes of a notebook with its outputs."""


@pytest.fixture(scope="module")
def script() -> Iterator[ModuleType]:
    sys.path.insert(0, str(REPOSITORY / "scripts"))
    try:
        import run_notebooks

        yield run_notebooks
    finally:
        sys.path.pop(0)


def test_there_are_three_each_with_the_interactive_view() -> None:
    assert len(NOTEBOOKS) == 3
    for path in NOTEBOOKS:
        assert "vs.view(" in path.read_text(), path.name


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_runs_and_shows_what_is_kept(path: Path) -> None:
    pytest.importorskip("anywidget")
    command = [sys.executable, str(REPOSITORY / "scripts" / "run_notebooks.py"), "--check", str(path)]
    done = subprocess.run(
        command, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"}, timeout=900
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(path.name)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_is_whole_and_light(path: Path) -> None:
    notebook = json.loads(path.read_text())
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    ids = [cell["id"] for cell in notebook["cells"]]
    assert len(set(ids)) == len(ids)
    assert path.stat().st_size < MOST
    shown = [each for cell in notebook["cells"] for each in cell.get("outputs", [])]
    kinds = {kind for each in shown for kind in each.get("data", ["stream"])}
    assert {"text/plain", "image/jpeg"} <= kinds
    text = json.dumps([cell["source"] for cell in notebook["cells"]])
    for target in re.findall(r"\]\(([^)#\s]+)", text):
        assert "://" in target or (path.parent / target).exists(), f"{path.name} points to {target}"


def test_a_kept_output_that_the_code_no_longer_gives_is_noticed(script: ModuleType) -> None:
    stream = {"output_type": "stream", "name": "stdout", "text": ["blocks: 6, share 0.25\n"]}
    notebook = {"cells": [{"cell_type": "code", "source": ["1"], "outputs": [stream]}]}
    script.check(notebook, [[{**stream, "text": ["blocks: 6, share 0.2501\n"]}]])
    for text in ("blocks: 7, share 0.25\n", "blocks: 6, share 0.31\n", "heads: 6, share 0.25\n"):
        with pytest.raises(script.NotebookError, match="cell 1, text"):
            script.check(notebook, [[{**stream, "text": [text]}]])
    with pytest.raises(script.NotebookError, match="shows"):
        script.check(notebook, [[]])


def test_a_kept_picture_of_another_map_is_noticed(script: ModuleType) -> None:
    import base64
    import io

    from PIL import Image

    def kept(level: int) -> str:
        buffer = io.BytesIO()
        Image.new("RGB", (8, 8), (level, level, level)).save(buffer, "PNG")
        return str(script.picture_text(base64.b64encode(buffer.getvalue()).decode()))

    assert script.apart("image/jpeg", kept(100), kept(101)) == ""
    assert "differ" in script.apart("image/jpeg", kept(100), kept(140))
