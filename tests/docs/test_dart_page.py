"""docs/methods/dart.md shows what was measured on two models, and its differences are those of the pictures."""

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
    return importlib.import_module("dart_second_model_page")


def test_the_page_shows_what_was_measured(page: ModuleType) -> None:
    found = json.loads(page.RESULT.read_text(encoding="utf-8"))["confirmation"]
    text = page.PAGE.read_text(encoding="utf-8")
    assert page.with_table(text, page.table(found)) == text, (
        "run `python benchmarks/dart_second_model_page.py`"
    )


def test_differences_by_hand(page: ModuleType) -> None:
    found = json.loads(page.RESULT.read_text(encoding="utf-8"))["confirmation"]
    values = found["augreg"]["drop"]["values"]["srg"]
    apart = np.subtract(values["dart"], values["dart-removal"])
    half = 1.96 * apart.std(ddof=1) / len(apart) ** 0.5
    cells = f"{apart.mean():.2f} ± {half:.2f}".replace("-", "−")
    line = next(each for each in page.table(found).splitlines() if each.startswith("|  | `dart` |"))
    own = re.escape(f"{np.mean(values['dart']):.2f}")
    assert re.search(rf"\| {own} ± [\d.]+ \| {re.escape(cells)} \|$", line), (line, cells)
