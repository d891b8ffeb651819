"""What the page is told of methods beside each other: numbers of the study's own tables, or why there are none."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import vitscope as vs
from tests.app.compare.asking import answered
from vitscope.app.settings import Settings
from vitscope.evaluation.map_agreement import map_agreement


def asked(study: Path | None, path: str, **parameters: str) -> Any:
    """The answer of an address, of a study without its model."""
    return answered(Settings(study=None if study is None else str(study)), path, parameters)


def test_the_board_is_the_studys_own(study: Path) -> None:
    told = asked(study, "api/compare/board")
    opened = vs.Study.open(study)
    scores = opened.table("scores")
    means = scores[scores["defined"]].groupby(["method", "metric"], observed=True)["value"].mean()
    assert len(told["scores"]) == len(means) == 3
    for each in told["scores"]:
        assert each["value"] == pytest.approx(means[each["method"], each["metric"]])
        assert each["low"] < each["value"] < each["high"] and each["n"] == 12
    pairs = opened.leaderboard().compare("srg")
    assert [(each["first"], each["second"], each["verdict"]) for each in told["verdicts"]] == list(
        zip(pairs["first"], pairs["second"], pairs["verdict"], strict=True)
    )
    np.testing.assert_allclose([each["p"] for each in told["verdicts"]], pairs["p_holm"])
    assert told["missing"] is None
    assert {each["name"]: (each["control"], each["maps"]) for each in told["methods"]} == {
        "dart": (False, True),
        "daam": (False, True),
        "random": (True, False),
    }


def test_curves_are_means_of_the_table(study: Path) -> None:
    told = asked(study, "api/compare/board")["curves"]
    curves = vs.Study.open(study).table("curves")
    assert len(told) == 6
    for each in told:
        rows = curves[(curves["method"] == each["method"]) & (curves["curve"] == each["curve"])]
        np.testing.assert_allclose(each["values"], np.stack(rows["values"].to_list()).mean(0), rtol=1e-5)
        assert each["fractions"][0] == 0 and each["fractions"][-1] == 1


@pytest.mark.parametrize("measure", ["rank", "iou"])
def test_agreement_is_what_pandas_and_sets_say(study: Path, measure: str) -> None:
    told = asked(study, "api/compare/agreement", measure=measure)
    opened = vs.Study.open(study)
    rows = opened.table("pictures").query("status == 'ok'")["picture"].to_numpy()
    maps = {name: opened.array(f"maps/{name}")[:][rows] for name in told["methods"]}
    assert (told["methods"], told["n"], told["total"]) == (["dart", "daam"], 12, 12)
    each = []
    for first, second in zip(maps["daam"], maps["dart"], strict=True):
        if measure == "rank":
            each.append(pd.Series(first.ravel()).corr(pd.Series(second.ravel()), method="spearman"))
        else:
            top = [set(np.argsort(-side.ravel(), kind="stable")[:29]) for side in (first, second)]
            each.append(len(top[0] & top[1]) / len(top[0] | top[1]))
    assert told["values"][0][1] == told["values"][1][0] == pytest.approx(np.mean(each))
    assert told["values"][0][0] == pytest.approx(1)


def test_a_constant_map_has_no_order_and_counts_in_no_pair() -> None:
    draw = torch.Generator().manual_seed(0)
    maps = {name: torch.rand(3, 4, 5, generator=draw) for name in ("a", "b")}
    maps["flat"] = torch.ones(3, 4, 5)
    for measure in ("rank", "iou"):
        found = map_agreement(maps, measure)  # type: ignore[arg-type]
        assert np.isnan(found[2]).all() and np.isnan(found[:, 2]).all()
        assert found[0, 1] == found[1, 0] and found[0, 0] == pytest.approx(1)
    half = {**maps, "b": torch.cat([maps["b"][:2], torch.full((1, 4, 5), torch.nan)])}
    whole = {name: values[:2] for name, values in maps.items()}
    assert map_agreement(half)[0, 1] == pytest.approx(map_agreement(whole)[0, 1])


def test_a_study_that_is_half_written_says_what_goes_on(study: Path, tmp_path: Path) -> None:
    half = tmp_path / "half"
    shutil.copytree(study, half)
    for record in (half / "shards" / "main").glob("000001*"):
        record.unlink()
    told = asked(half, "api/compare/board")
    assert told["scores"] == [] and [each["name"] for each in told["methods"]] == ["dart", "daam"]
    assert told["missing"]["command"] == f"vitscope study run {half}"
    assert "finished" in told["missing"]["reason"] and "\n" not in told["missing"]["reason"]
    agreement = asked(half, "api/compare/agreement")
    assert (agreement["n"], agreement["total"]) == (7, 7)  # of the first shard, one could not be read


def test_a_study_with_nothing_in_it_yet_says_so(study: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    shutil.copytree(study, empty)
    shutil.rmtree(empty / "shards")
    assert asked(empty, "api/compare/board")["missing"]["command"] == f"vitscope study run {empty}"
    told = asked(empty, "api/compare/agreement")["missing"]
    assert told == {
        "reason": "no picture of this study is computed yet",
        "command": f"vitscope study run {empty}",
    }


def test_a_study_without_scores_and_a_server_without_a_study_name_the_command(
    study: Path, tmp_path: Path
) -> None:
    plain = vs.Study.create(
        tmp_path / "plain", model="bundled/shapes", images=study.parent / "pictures", methods=["gmar"]
    )
    plain.run()
    told = asked(tmp_path / "plain", "api/compare/board")["missing"]
    assert "without the analysis evaluate" in told["reason"]
    assert "--analyses explain,evaluate --methods gmar" in told["command"]
    assert "maps of gmar alone" in asked(tmp_path / "plain", "api/compare/agreement")["missing"]["reason"]
    assert "no study is shown" in asked(None, "api/compare/board")["missing"]["reason"]
