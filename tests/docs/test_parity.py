"""docs/parity.md shows the figures of the run that is kept."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import pytest


def test_the_page_shows_the_run(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(repository / "benchmarks"))
    document = json.loads((repository / "benchmarks" / "results" / "parity.json").read_text())
    assert document["not_run"] == {}
    page = (repository / "docs" / "parity.md").read_text(encoding="utf-8")
    assert importlib.import_module("parity_bench").figures(document) in page
    same = [row for row in document["rows"] if not row["note"].startswith("differs")]
    assert len(same) >= 12
    assert all(row["max_relative_difference"] < 1e-4 for row in same)
