"""docs/heads.md shows the correlations that the kept scores give, and they are Spearman's."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from scipy.stats import spearmanr


@pytest.fixture
def study(repository: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(repository / "benchmarks"))
    return importlib.import_module("head_scores_study")


def test_the_page_shows_what_was_measured(study: ModuleType) -> None:
    page = study.PAGE.read_text(encoding="utf-8")
    assert study.with_tables(page) == page, "run `python benchmarks/head_scores_study.py table`"


def test_correlations_are_those_of_scipy(study: ModuleType) -> None:
    random = np.random.default_rng(0)
    exact = random.standard_normal((20, 12))
    score = exact + random.standard_normal((20, 12))
    score[:, :3] = score[:, :1]  # equal values share a rank
    found = study.correlation(score, exact, rounds=200)
    alone = np.mean([spearmanr(one, other).statistic for one, other in zip(score, exact, strict=True)])
    assert found["alone"][0] == pytest.approx(alone)
    assert found["over"][0] == pytest.approx(spearmanr(score.mean(0), exact.mean(0)).statistic)
    for value, low, high in found.values():
        assert low < value < high
