"""Above so many pictures the results of a study are sums; they say what the rows of the same study say."""

from __future__ import annotations

import numpy as np
import pytest

from tests.studies.worlds import QUICK, folder_of_pictures, made
from vitscope.evaluation.board.records import CurveRecord
from vitscope.evaluation.metric_state import Metric
from vitscope.heads import HeadTable
from vitscope.heads.summed_table import SummedHeadTable
from vitscope.studies import Study
from vitscope.sums import poisson_bootstrap


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    place = tmp_path_factory.mktemp("sums")
    pictures = folder_of_pictures(place / "pictures", 10, bad=1)
    analyses = {
        "evaluate": {"protocol": QUICK, "controls": ("random",)},
        "importance": {"representation": "none"},
        "strength": {},
    }
    found = made(place / "study", pictures, methods=["gmar"], analyses=analyses, arrays=())
    assert found.run().whole
    return found


def test_leaderboard(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = study.leaderboard()
    monkeypatch.setattr(poisson_bootstrap, "EXACT", 4)
    sums = study.leaderboard()
    assert all(isinstance(state, Metric) for state in rows.states.values())
    assert not any(isinstance(state, Metric) for state in sums.states.values())
    expected, found = rows.to_pandas(), sums.to_pandas()
    assert found["n"].tolist() == expected["n"].tolist() == [10] * len(expected)
    np.testing.assert_allclose(found["value"].to_numpy(float), expected["value"].to_numpy(float), rtol=1e-9)
    assert (found["low"] <= found["value"]).all() and (found["value"] <= found["high"]).all()
    assert sums.recipe == rows.recipe
    for place, curve in rows.curves.items():
        assert isinstance(curve, CurveRecord)
        np.testing.assert_allclose(
            sums.curves[place].mean(), curve.values.double().mean(0).numpy(), rtol=1e-5, atol=1e-6
        )


def test_heads(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = study.heads()
    monkeypatch.setattr(poisson_bootstrap, "EXACT", 4)
    sums = study.heads()
    assert isinstance(rows, HeadTable) and isinstance(sums, SummedHeadTable)
    assert sums.count == rows.count == 10
    for name, values in rows.values.items():
        np.testing.assert_allclose(sums.mean(name), values.mean(0), rtol=1e-5, atol=1e-7, err_msg=name)
    assert sums.metadata["full_forwards"] == rows.metadata["full_forwards"] > 0
    assert set(sums.origin.skipped) == {"000-bad.png"}


def test_strength(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = study.strength()
    monkeypatch.setattr(poisson_bootstrap, "EXACT", 4)
    sums = study.strength()
    assert sums.count == rows.count == 10
    for name, values in rows.values.items():
        np.testing.assert_array_equal(sums[name], values, err_msg=name)
    assert len(rows.scalars) and not len(sums.scalars)
