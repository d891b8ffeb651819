"""What docs/performance.md says of GPUs is what the files of the measurements hold."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest


@pytest.fixture
def page(repository: Path) -> str:
    return (repository / "docs" / "performance.md").read_text(encoding="utf-8")


@pytest.fixture
def agreement(repository: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(repository / "benchmarks"))
    return importlib.import_module("device_agreement")


def test_the_page_shows_how_far_maps_depend_on_the_device(agreement: ModuleType, page: str) -> None:
    found = json.loads(agreement.RESULT.read_text(encoding="utf-8"))
    text = agreement.table(found)
    assert agreement.between(page, agreement.START, agreement.END, text) == page
    shown = {line.split("`")[1] for line in text.splitlines() if line.startswith("| `")}
    others = [told for name, told in found["methods"].items() if name not in shown]
    lowest = min(told["bf16"]["correlation"] for told in others)
    assert f"{lowest:.4f}" in text.splitlines()[-1]


def test_the_page_shows_what_explanations_cost_on_a_gpu(agreement: ModuleType, page: str) -> None:
    cost = importlib.import_module("explain_cost")
    assert agreement.between(page, cost.GPU_BEGIN, cost.GPU_END, cost.gpu_table()) == page


def test_maps_are_compared_picture_by_picture(agreement: ModuleType) -> None:
    one = np.array([[[1.0, 2.0], [3.0, 4.0]], [[4.0, 0.0], [0.0, 0.0]]])
    other = np.array([[[2.0, 4.0], [6.0, 8.0]], [[3.0, 0.0], [1.0, 0.0]]])
    by_hand = np.corrcoef(one[1].ravel(), other[1].ravel())[0, 1]
    assert agreement.apart(one, other) == {"correlation": round(by_hand, 6), "difference": 1.0}
