"""docs/methods/dart.md shows what was measured, and its differences are those of the pictures."""

from __future__ import annotations

import importlib
import json
import re
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest


@pytest.fixture
def page(repository: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(repository / "benchmarks"))
    return importlib.import_module("dart_page")


def figures(
    page: ModuleType, name: str
) -> dict[str, dict[str, dict[str, dict[str, dict[str, list[float]]]]]]:
    """SRG per picture, by model and part."""
    found: dict[str, dict[str, dict[str, dict[str, dict[str, list[float]]]]]] = json.loads(
        (page.RESULTS / "dart_second_model.json").read_text(encoding="utf-8")
    )[name]
    return found


def cell(values: np.ndarray, sign: str = "") -> str:
    """Mean and half an interval, by hand."""
    half = 1.96 * values.std(ddof=1) / len(values) ** 0.5
    return f"{values.mean():{sign}.2f} ± {half:.2f}".replace("-", "−")


def test_the_page_shows_what_was_measured(page: ModuleType) -> None:
    text = page.PAGE.read_text(encoding="utf-8")
    assert page.with_tables(text) == text, "run `python benchmarks/dart_page.py`"
    marks = re.findall(r"<!-- ([a-z ]+): begin -->", text)
    assert sorted(marks) == sorted(page.TABLES)


def test_the_page_of_sinks_shows_what_was_measured(page: ModuleType) -> None:
    sinks = importlib.import_module("sink_ratings")
    document = json.loads((page.RESULTS / "sink_ratings.json").read_text(encoding="utf-8"))
    text = sinks.PAGE.read_text(encoding="utf-8")
    assert sinks.between(text, sinks.BEGIN, sinks.END, sinks.page_table(document)) == text
    line = next(each for each in text.splitlines() if each.startswith("| `legrad` |"))
    assert cell(np.array(document["augreg"]["over-rated"]["legrad"]), "+") in line


def test_differences_by_hand(page: ModuleType) -> None:
    values = figures(page, "confirmation")["augreg"]["drop"]["values"]["srg"]
    apart = np.subtract(values["dart"], values["dart-removal"])
    line = next(each for each in page.two_models().splitlines() if each.startswith("| | `dart` |"))
    own = re.escape(f"{np.mean(values['dart']):.2f}")
    assert re.search(rf"\| {own} ± [\d.]+ \| {re.escape(cell(apart))} \|$", line), line


def test_what_a_weight_adds_by_hand(page: ModuleType) -> None:
    found = figures(page, "development")
    lines = page.weights().splitlines()
    for place, model in enumerate(("deit", "augreg")):
        values = found[model]["drop"]["values"]["srg"]
        assert lines[2].split("|")[2 + place].strip() == cell(np.array(values["dart"]))
        apart = np.subtract(values["dart-removal@1"], values["dart"])
        line = next(each for each in lines if each.startswith("| w = 1 |"))
        assert line.split("|")[2 + place].strip() == cell(apart, "+")
