"""docs/peers.md and the table of README.md show the runs that are kept, and in these the maps of both sides agree."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import pytest

from vitscope.evaluation.metric import all_metrics
from vitscope.methods import methods

ASKED_FOR = {
    "grad-cam",
    "Captum",
    "torchcam",
    "LeGrad",
    "LXT",
    "vit-explain",
    "Quantus",
    "BertViz",
    "ViT-Prisma",
}


@pytest.fixture
def facts(repository: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Any, dict[str, Any]]:
    """The script, and what it found."""
    monkeypatch.syspath_prepend(str(repository / "benchmarks"))
    script = importlib.import_module("peer_facts")
    return script, json.loads(script.RESULTS.read_text(encoding="utf-8"))


def test_the_page_shows_the_run(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(repository / "benchmarks"))
    document = json.loads((repository / "benchmarks" / "results" / "peers.json").read_text())
    assert document["left_out"] == [] and len(document["pairs"]) == 11
    page = importlib.import_module("peers").page(document)
    assert page == (repository / "docs" / "peers.md").read_text(encoding="utf-8")
    for pair in document["pairs"]:
        if pair["another_reading"]:
            assert pair["another_reading"] in page and pair["smallest_correlation"] < 0.99
            continue
        assert pair["largest_difference"] < 1e-3 and pair["smallest_correlation"] > 0.9999, pair["method"]


def test_the_table_of_the_readme_shows_what_was_found(
    repository: Path, facts: tuple[Any, dict[str, Any]]
) -> None:
    script, document = facts
    readme = (repository / "README.md").read_text(encoding="utf-8")
    assert script.between(readme, script.compact(document)) == readme
    assert {"vitscope", *ASKED_FOR} == set(document) | set(script.NOT_INSTALLABLE)
    for name, found in document.items():
        assert f"{name} {found['version']} |" in readme and found["with"]["torch"]
    document["grad-cam"]["metrics"] = []
    assert script.between(readme, script.compact(document)) != readme


def test_our_own_row_is_of_today(facts: tuple[Any, dict[str, Any]]) -> None:
    ours = facts[1]["vitscope"]
    assert set(ours["methods"]) == {info.name for info in methods() if info.family != "control"}
    assert ours["metrics"] == sorted(info.name for info in all_metrics())
    assert ours["changed"] == [] and ours["bare"]["ok"]
