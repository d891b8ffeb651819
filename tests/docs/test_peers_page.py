"""docs/peers.md shows the run that is kept, and in that run the maps of both sides are the same."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import pytest


def test_the_page_shows_the_run(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(repository / "benchmarks"))
    document = json.loads((repository / "benchmarks" / "results" / "peers.json").read_text())
    assert document["left_out"] == [] and len(document["pairs"]) == 7
    page = importlib.import_module("peers").page(document)
    assert page == (repository / "docs" / "peers.md").read_text(encoding="utf-8")
    for pair in document["pairs"]:
        assert pair["largest_difference"] < 1e-3 and pair["smallest_correlation"] > 0.9999, pair["method"]
